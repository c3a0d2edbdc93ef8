//! The recorder: one task per process that writes registers and moves old attempts into the records
//! of their items.
//!
//! A write is delayed by a moment, so that an attempt that ends soon is never written, and keeps a
//! gap to the last write of the same register, so that a flood of short calls costs a few writes.
//! An attempt that must be stored before it begins makes the write urgent: neither delay applies
//! then.

use std::sync::{Arc, Weak};

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use mistersmith_core::limits;
use mistersmith_nats::TransportError;

use super::Inner;
use super::register::{Due, Register};

/// Registers with a pending write.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: Mutex<Vec<Arc<Register>>>,
    filled: Notify,
}

impl Queue {
    pub(super) fn push(&self, register: Arc<Register>) {
        let mut waiting = self.waiting.lock();
        waiting.push(register);
        drop(waiting);
        self.filled.notify_one();
    }

    fn take(&self) -> Vec<Arc<Register>> {
        std::mem::take(&mut *self.waiting.lock())
    }
}

/// A completed write.
struct Done {
    register: Arc<Register>,
    /// The attempt number up to which the value is complete; none when the write relieved the
    /// register.
    number: Option<u64>,
    result: Result<(), TransportError>,
}

/// Runs until the attempts are dropped.
pub(super) async fn run(log: Weak<Inner>, queue: Arc<Queue>) {
    let mut waiting: Vec<Arc<Register>> = Vec::new();
    let mut writes: FuturesUnordered<BoxFuture<'static, Done>> = FuturesUnordered::new();
    let mut complained: Option<Instant> = None;
    loop {
        let Some(inner) = log.upgrade() else { return };
        waiting.extend(queue.take());
        let next = start(&inner, &mut waiting, &mut writes);
        drop(inner);
        let due = async {
            match next {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = queue.filled.notified() => {}
            Some(done) = writes.next() => {
                let Done { register, number, result } = done;
                complain(&mut complained, result.as_ref().err());
                register.wrote(number, result.is_ok());
                waiting.push(register);
            }
            () = due => {}
            () = tokio::time::sleep(limits::ATTEMPT_SWEEP) => {}
        }
    }
}

/// Periodically moves attempts that have been open for long into the records of their items.
pub(super) async fn sweep(log: Weak<Inner>) {
    loop {
        tokio::time::sleep(limits::ATTEMPT_SWEEP).await;
        let Some(inner) = log.upgrade() else { return };
        inner.record_old().await;
    }
}

/// Starts the writes that are due; returns when the next one is.
fn start(
    inner: &Arc<Inner>,
    waiting: &mut Vec<Arc<Register>>,
    writes: &mut FuturesUnordered<BoxFuture<'static, Done>>,
) -> Option<Instant> {
    let now = Instant::now();
    let most = inner.store.largest_value();
    let mut next: Option<Instant> = None;
    waiting.retain(|register| match register.due(now, most) {
        // A busy register is queued again when its write completes.
        Due::Nothing | Due::Busy => false,
        Due::Later(at) => {
            next = Some(next.map_or(at, |next| next.min(at)));
            true
        }
        Due::Write(value, number) => {
            let (inner, register) = (inner.clone(), register.clone());
            writes.push(Box::pin(async move {
                let result = inner.store.put(&register.key, value).await;
                let number = Some(number);
                Done {
                    register,
                    number,
                    result,
                }
            }));
            false
        }
        Due::Crowded => {
            let (inner, register) = (inner.clone(), register.clone());
            writes.push(Box::pin(async move {
                let result = inner.relieve(&register).await;
                Done {
                    register,
                    number: None,
                    result,
                }
            }));
            false
        }
    });
    next
}

/// Logs that attempts are not recorded: at the first failure, then periodically.
fn complain(complained: &mut Option<Instant>, error: Option<&TransportError>) {
    let Some(error) = error else {
        *complained = None;
        return;
    };
    if complained.is_none_or(|at| at.elapsed() >= limits::COMPLAINT) {
        *complained = Some(Instant::now());
        tracing::warn!(%error,
            "attempts at work items are not recorded in the bucket ATTEMPTS; trying again");
    }
}
