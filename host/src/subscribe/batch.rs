//! Batches: messages handed over together, when the batch is full or has waited long enough.

use std::time::{Duration, Instant};

use mistersmith_core::config::BatchSpec;
use mistersmith_core::limits;
use mistersmith_nats::Message;

/// The bounds of one batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchRule {
    /// Most messages.
    pub size: usize,
    /// Longest wait of the first message for others.
    pub wait: Duration,
    /// Most bytes of payload, unless a single message has more.
    pub bytes: usize,
}

impl BatchRule {
    /// The manifest's batch, bounded by the memory of an agent.
    pub fn new(spec: BatchSpec, memory: u64) -> Self {
        let fits = usize::try_from(memory / 4).unwrap_or(usize::MAX);
        Self {
            size: spec.size,
            wait: spec.wait,
            bytes: fits.min(limits::MAX_BATCH_BYTES),
        }
    }
}

/// The messages collected so far.
#[derive(Debug, Default)]
pub(super) struct Batch {
    messages: Vec<Message>,
    bytes: usize,
    due: Option<Instant>,
}

impl Batch {
    /// Adds a message. Returns the batches to hand over now: the one it has no room in, and the one
    /// it fills.
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

    /// When the batch is handed over even if not full; none while it is empty.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Takes the collected messages.
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
            headers: mistersmith_nats::Headers::default(),
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

    /// The sizes of the batches handed over for messages of these sizes.
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
