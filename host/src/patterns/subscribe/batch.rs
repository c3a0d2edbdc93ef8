//! Messages that are handed over together: when a batch is full, and when it has waited enough.

use std::time::{Duration, Instant};

use crate::config::BatchSpec;
use crate::limits;
use crate::transport::Message;

/// What one batch may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchRule {
    /// Messages.
    pub size: usize,
    /// How long the first one waits for others.
    pub wait: Duration,
    /// Bytes of payload, unless one message alone has more.
    pub bytes: usize,
}

impl BatchRule {
    /// What the manifest asks for, as far as an agent with so much memory can take it.
    pub fn new(spec: BatchSpec, memory: u64) -> Self {
        let fits = usize::try_from(memory / 4).unwrap_or(usize::MAX);
        Self {
            size: spec.size,
            wait: spec.wait,
            bytes: fits.min(limits::MAX_BATCH_BYTES),
        }
    }
}

/// Messages that wait for others.
#[derive(Debug, Default)]
pub(super) struct Batch {
    messages: Vec<Message>,
    bytes: usize,
    due: Option<Instant>,
}

impl Batch {
    /// Adds a message. Returns what is to be handed over now: the batch that it has no room in, and
    /// the batch that it fills.
    pub(super) fn add(&mut self, message: Message, rule: BatchRule) -> Vec<Vec<Message>> {
        let size = message.payload.len();
        let full = self.bytes.saturating_add(size) > rule.bytes;
        let mut ready = Vec::new();
        if full && !self.messages.is_empty() {
            ready.push(self.take());
        }
        self.bytes = self.bytes.saturating_add(size);
        self.messages.push(message);
        self.due.get_or_insert_with(|| Instant::now() + rule.wait);
        if self.messages.len() >= rule.size || self.bytes >= rule.bytes {
            ready.push(self.take());
        }
        ready
    }

    /// When what waits is to be handed over although it could be more; none while nothing waits.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Takes what waits.
    pub(super) fn take(&mut self) -> Vec<Message> {
        self.bytes = 0;
        self.due = None;
        std::mem::take(&mut self.messages)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(bytes: usize) -> Message {
        Message {
            subject: "a".to_owned(),
            reply: None,
            headers: crate::transport::Headers::default(),
            payload: vec![0; bytes].into(),
        }
    }

    fn rule() -> BatchRule {
        BatchRule {
            size: 3,
            wait: Duration::from_secs(1),
            bytes: 100,
        }
    }

    /// How many messages are handed over when messages of these sizes come.
    fn handed(batch: &mut Batch, sizes: &[usize]) -> Vec<usize> {
        let ready = sizes
            .iter()
            .flat_map(|size| batch.add(message(*size), rule()));
        ready.map(|batch| batch.len()).collect()
    }

    #[test]
    fn a_batch_is_full_by_number_or_by_weight() {
        let mut batch = Batch::default();
        assert_eq!(handed(&mut batch, &[1, 1, 1, 1, 1, 1, 1]), [3, 3]);
        assert_eq!(batch.take().len(), 1);
        assert_eq!(handed(&mut batch, &[60, 60, 40]), [1, 2]);
        assert_eq!(handed(&mut batch, &[500]), [1], "one message always fits");
        assert_eq!(handed(&mut batch, &[10, 500]), [1, 1]);
        assert!(batch.take().is_empty());
    }

    #[test]
    fn the_first_message_decides_when_it_is_due() {
        let mut batch = Batch::default();
        assert_eq!(batch.due(), None);
        batch.add(message(1), rule());
        let due = batch.due();
        assert!(due.is_some());
        batch.add(message(1), rule());
        assert_eq!(batch.due(), due);
        batch.take();
        assert_eq!(batch.due(), None);
    }

    #[test]
    fn a_batch_leaves_room_in_the_memory_of_an_agent() {
        let spec = BatchSpec {
            size: 1,
            wait: Duration::ZERO,
        };
        assert_eq!(BatchRule::new(spec, 1 << 20).bytes, 1 << 18);
        assert_eq!(BatchRule::new(spec, 1 << 40).bytes, limits::MAX_BATCH_BYTES);
    }
}
