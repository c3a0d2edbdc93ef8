//! Ack progress: in-progress acks for every message that this host holds.
//!
//! JetStream delivers a message again when no ack arrives within the ack wait (30 s). One task for
//! the whole host acks each held message every third of that: a timer per message would cost more
//! than most messages do. If the acks do not arrive in time, the message is delivered again
//! although it is held; the new delivery then only replaces the acker, and the handler does not run
//! twice.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use mistersmith_core::limits;
use mistersmith_nats::{Acker, DeliveryInfo};

/// The messages that this host holds.
#[derive(Debug, Default)]
pub struct AckProgress {
    held: Mutex<HashMap<Mark, InHand>>,
}

/// The identity of a message: the first letter of its stream, which differs between the streams
/// that are pulled from; its sequence; and its storage time, since a recreated stream counts from
/// one again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Mark(u8, u64, u64);

#[derive(Debug)]
struct InHand {
    acker: Acker,
    /// Whether it was delivered again, so that `acker` belongs to a later delivery.
    again: bool,
    /// When the last in-progress ack was sent.
    sent: Instant,
}

/// Holds one message until it is dropped.
#[derive(Debug)]
pub struct InProgressGuard {
    ack_progress: Arc<AckProgress>,
    mark: Mark,
    since: Instant,
}

impl AckProgress {
    /// Starts in-progress acks for a message that arrived now; none when it is already held.
    pub fn keep(self: &Arc<Self>, info: &DeliveryInfo, acker: &Acker) -> Option<InProgressGuard> {
        let stream = info.stream.as_bytes().first().copied();
        let mark = Mark(
            stream.unwrap_or_default(),
            info.stream_sequence,
            info.stored_at_ns,
        );
        let now = Instant::now();
        match self.lock().entry(mark) {
            Entry::Occupied(mut known) => {
                let known = known.get_mut();
                (known.acker, known.again, known.sent) = (acker.clone(), true, now);
                return None;
            }
            Entry::Vacant(place) => place.insert(InHand {
                acker: acker.clone(),
                again: false,
                sent: now,
            }),
        };
        Some(InProgressGuard {
            ack_progress: self.clone(),
            mark,
            since: now,
        })
    }

    /// The number of held messages.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether no message is held.
    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// Starts the task that sends the acks; it ends when the [`AckProgress`] is dropped.
    pub fn start(self: &Arc<Self>) -> JoinHandle<()> {
        let weak = Arc::downgrade(self);
        tokio::spawn(tick(weak))
    }

    /// The messages whose next in-progress ack is due.
    fn due(&self, now: Instant) -> Vec<(Mark, Acker)> {
        let held = self.lock();
        let due = held
            .iter()
            .filter(|(_, one)| now.duration_since(one.sent) >= limits::ACK_WAIT / 3);
        due.map(|(mark, one)| (*mark, one.acker.clone())).collect()
    }

    fn mark_sent(&self, mark: Mark) {
        if let Some(one) = self.lock().get_mut(&mark) {
            one.sent = Instant::now();
        }
    }

    fn lock(&self) -> parking_lot::MutexGuard<'_, HashMap<Mark, InHand>> {
        self.held.lock()
    }
}

impl InProgressGuard {
    /// The acker of the newest delivery of the message; none if that is still the first one.
    pub fn newer(&self) -> Option<Acker> {
        let held = self.ack_progress.lock();
        let one = held.get(&self.mark).filter(|one| one.again);
        one.map(|one| one.acker.clone())
    }

    /// Whether the server still attributes the message to this host, because its last sign arrived
    /// within the ack wait. Otherwise it may have delivered the message to another host.
    pub fn is_ours(&self) -> bool {
        if self.since.elapsed() < limits::ACK_WAIT {
            return true;
        }
        let held = self.ack_progress.lock();
        let one = held.get(&self.mark);
        one.is_some_and(|one| one.sent.elapsed() < limits::ACK_WAIT)
    }
}

impl Drop for InProgressGuard {
    fn drop(&mut self) {
        self.ack_progress.lock().remove(&self.mark);
    }
}

async fn tick(ack_progress: Weak<AckProgress>) {
    // Twelve ticks per ack wait: two acks are never more than 5/12 of it apart.
    let mut clock = tokio::time::interval(limits::ACK_WAIT / 12);
    clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        clock.tick().await;
        let Some(ack_progress) = ack_progress.upgrade() else {
            return;
        };
        for (mark, acker) in ack_progress.due(Instant::now()) {
            match acker.progress().await {
                Ok(()) => ack_progress.mark_sent(mark),
                Err(error) => tracing::debug!(%error, "in-progress ack not sent"),
            }
        }
    }
}

#[cfg(test)]
mod tests;
