//! Tells the server that held messages are still worked on.
//!
//! The server delivers a message again when it heard nothing for the ack wait (30 s). One task for
//! the whole host sends an in-progress ack every third of that for each message that is still
//! held: a timer per message would cost more than most messages do.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Instant;

use tokio::task::JoinHandle;

use crate::limits;
use crate::transport::Fate;

/// The messages that this host holds.
#[derive(Debug, Default)]
pub struct Keeper {
    next: AtomicU64,
    held: Mutex<HashMap<u64, (Fate, Instant)>>,
}

/// Keeps one message until it is dropped.
#[derive(Debug)]
pub struct Kept {
    keeper: Arc<Keeper>,
    number: u64,
}

impl Keeper {
    /// Starts to keep a message that arrived just now.
    pub fn keep(self: &Arc<Self>, fate: &Fate) -> Kept {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.lock().insert(number, (fate.clone(), Instant::now()));
        Kept {
            keeper: self.clone(),
            number,
        }
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

    /// The messages whose last sign of life is old, marked as renewed now.
    fn due(&self, now: Instant) -> Vec<Fate> {
        let mut due = Vec::new();
        for (fate, last) in self.lock().values_mut() {
            if now.duration_since(*last) >= limits::ACK_WAIT / 3 {
                *last = now;
                due.push(fate.clone());
            }
        }
        due
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<u64, (Fate, Instant)>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.keeper.lock().remove(&self.number);
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
        for fate in keeper.due(Instant::now()) {
            if let Err(error) = fate.progress().await {
                tracing::debug!(%error, "in-progress ack not sent");
            }
        }
    }
}
