//! The messages that this host has in hand, and the word to the server that they are worked on.
//!
//! The server delivers a message again when it heard nothing for the ack wait (30 s). One task for
//! the whole host sends an in-progress ack every third of that for each message that is still held:
//! a timer per message would cost more than most messages do. Where the server could not be told in
//! time, a message comes again although it is in hand: then the new delivery only replaces the way
//! to acknowledge it, and the handler does not run twice.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Instant;

use tokio::task::JoinHandle;

use crate::limits;
use crate::transport::{Fate, Meta};

/// The messages that this host holds.
#[derive(Debug, Default)]
pub struct Keeper {
    held: Mutex<HashMap<Mark, InHand>>,
}

/// Which message: the first letter of its stream, which differs between those that are pulled from;
/// its number there; and when it was stored, since a stream that is made again counts from one
/// again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Mark(u8, u64, u64);

#[derive(Debug)]
struct InHand {
    fate: Fate,
    /// It came again, and this is no longer the fate of its first delivery.
    again: bool,
    /// When the server was told last.
    told: Instant,
}

/// Keeps one message until it is dropped.
#[derive(Debug)]
pub struct Kept {
    keeper: Arc<Keeper>,
    mark: Mark,
    since: Instant,
}

impl Keeper {
    /// Starts to keep a message that arrived just now; none when it is in hand already.
    pub fn keep(self: &Arc<Self>, meta: &Meta, fate: &Fate) -> Option<Kept> {
        let stream = meta.stream.as_bytes().first().copied();
        let mark = Mark(
            stream.unwrap_or_default(),
            meta.stream_sequence,
            meta.stored_at_ns,
        );
        let now = Instant::now();
        match self.lock().entry(mark) {
            Entry::Occupied(mut known) => {
                let known = known.get_mut();
                (known.fate, known.again, known.told) = (fate.clone(), true, now);
                return None;
            }
            Entry::Vacant(place) => place.insert(InHand {
                fate: fate.clone(),
                again: false,
                told: now,
            }),
        };
        Some(Kept {
            keeper: self.clone(),
            mark,
            since: now,
        })
    }

    /// How many messages are held.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// No message is held.
    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// Starts the task that sends the in-progress acks; it ends with the keeper.
    pub fn start(self: &Arc<Self>) -> JoinHandle<()> {
        let weak = Arc::downgrade(self);
        tokio::spawn(tick(weak))
    }

    /// The messages of which the server was not told for a while.
    fn due(&self, now: Instant) -> Vec<(Mark, Fate)> {
        let held = self.lock();
        let due = held
            .iter()
            .filter(|(_, one)| now.duration_since(one.told) >= limits::ACK_WAIT / 3);
        due.map(|(mark, one)| (*mark, one.fate.clone())).collect()
    }

    fn told(&self, mark: Mark) {
        if let Some(one) = self.lock().get_mut(&mark) {
            one.told = Instant::now();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Mark, InHand>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    /// The way to acknowledge the newest delivery of the message; none when that is still the
    /// first.
    pub fn newer(&self) -> Option<Fate> {
        let held = self.keeper.lock();
        let one = held.get(&self.mark).filter(|one| one.again);
        one.map(|one| one.fate.clone())
    }

    /// Whether the server still counts the message as in this host's hands: it was told within the
    /// ack wait. Otherwise it may have given it to somebody else.
    pub fn is_ours(&self) -> bool {
        if self.since.elapsed() < limits::ACK_WAIT {
            return true;
        }
        let held = self.keeper.lock();
        let one = held.get(&self.mark);
        one.is_some_and(|one| one.told.elapsed() < limits::ACK_WAIT)
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.keeper.lock().remove(&self.mark);
    }
}

async fn tick(keeper: Weak<Keeper>) {
    // Twelve looks per ack wait: a message is never more than 5/12 of it without a sign.
    let mut clock = tokio::time::interval(limits::ACK_WAIT / 12);
    clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        clock.tick().await;
        let Some(keeper) = keeper.upgrade() else {
            return;
        };
        for (mark, fate) in keeper.due(Instant::now()) {
            match fate.progress().await {
                Ok(()) => keeper.told(mark),
                Err(error) => tracing::debug!(%error, "in-progress ack not sent"),
            }
        }
    }
}
