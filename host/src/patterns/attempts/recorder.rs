//! Writes registers, and moves old attempts into the records of their items: one task for the
//! process.
//!
//! A write waits a moment, so that what ends soon is never written, and leaves a gap to the last
//! one of the same register, so that a flood of short calls costs a few writes and not one each.
//! Whoever must know that an attempt is stored before it begins makes the write urgent: neither is
//! waited for then.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Instant;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::sync::Notify;

use crate::limits;
use crate::transport::TransportError;

use super::Inner;
use super::register::{Due, Register};

/// The registers that have something to be written.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: Mutex<Vec<Arc<Register>>>,
    filled: Notify,
}

impl Queue {
    pub(super) fn push(&self, register: Arc<Register>) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.push(register);
        drop(waiting);
        self.filled.notify_one();
    }

    fn take(&self) -> Vec<Arc<Register>> {
        std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A write that has ended.
struct Done {
    register: Arc<Register>,
    /// Up to which number it wrote the register; none when it made that smaller.
    number: Option<u64>,
    result: Result<(), TransportError>,
}

/// Works until nobody has attempts to record any more.
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
                Some(at) => tokio::time::sleep_until(at.into()).await,
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

/// Moves what has been open for long into the records of the items, now and then.
pub(super) async fn sweep(log: Weak<Inner>) {
    loop {
        tokio::time::sleep(limits::ATTEMPT_SWEEP).await;
        let Some(inner) = log.upgrade() else { return };
        inner.record_old().await;
    }
}

/// Begins the writes that are due; returns when the next one will be.
fn start(
    inner: &Arc<Inner>,
    waiting: &mut Vec<Arc<Register>>,
    writes: &mut FuturesUnordered<BoxFuture<'static, Done>>,
) -> Option<Instant> {
    let now = Instant::now();
    // Half of what the server takes leaves room for what the bucket adds.
    let most = inner.link.max_payload() / 2;
    let mut next: Option<Instant> = None;
    waiting.retain(|register| match register.due(now, most) {
        // One that is busy comes back when it has been written.
        Due::Nothing | Due::Busy => false,
        Due::Later(at) => {
            next = Some(next.map_or(at, |next| next.min(at)));
            true
        }
        Due::Write(value, number) => {
            let (inner, register) = (inner.clone(), register.clone());
            writes.push(Box::pin(async move {
                let result = inner.kv.put(&register.key, value).await.map(drop);
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

/// Says that attempts are not recorded: when it begins, and now and then.
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
