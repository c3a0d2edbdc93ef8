//! One call while it runs: what it may use, and why it did not come back.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use wasmtime::{Result as WasmResult, Store};

use super::cpu::{Aside, Stopwatch, measured};
use super::death::{Death, DeathKind};
use super::standstill;
use super::state::State;
use crate::transport::within;

/// What one call may use.
#[derive(Clone, Copy)]
pub(super) struct Budget {
    wall: Duration,
    pub(super) cpu: Duration,
    pub(super) begun: Instant,
    pub(super) deadline: Instant,
    /// How long the process had stood still before.
    pub(super) stood: u64,
}

impl Budget {
    pub(super) fn new(wall: Duration, cpu: Duration) -> Self {
        Self::since(Instant::now(), wall, cpu)
    }

    pub(super) fn since(begun: Instant, wall: Duration, cpu: Duration) -> Self {
        Self {
            wall,
            cpu,
            begun,
            deadline: begun + wall,
            stood: standstill::total(),
        }
    }
}

/// Why a call did not come back.
pub(super) enum Stopped {
    Engine(wasmtime::Error),
    Timeout(Duration),
    Panicked,
}

impl Stopped {
    pub(super) fn death(self, store: &mut Store<State>) -> Death {
        match self {
            Self::Engine(error) => {
                Death::from_error(&error, store.data_mut().memory.take_refused())
            }
            Self::Timeout(wall) => Death::timeout(wall),
            Self::Panicked => Death::new(
                DeathKind::Host,
                "the host made a mistake in a call of the agent",
            ),
        }
    }
}

/// Runs a call until it comes back or its time is over.
pub(super) async fn run<T>(
    budget: Budget,
    stopwatch: &Stopwatch,
    aside: &Aside,
    // Pinned by the caller, as all that follows: what wraps it moves a pointer, not the future.
    call: Pin<&mut (impl Future<Output = WasmResult<T>> + Send)>,
) -> Result<T, Stopped>
where
    T: Send,
{
    // What it returns is put down here: each of the wrappers would move it once more.
    let mut returned = None;
    let call = pin!(async {
        returned = Some(call.await?);
        Ok(())
    });
    run_out(budget, stopwatch, aside, call).await?;
    returned.ok_or(Stopped::Panicked)
}

/// Runs a call, whatever it returns. A panic in a host function ends this instance instead of the
/// agent's task.
async fn run_out(
    budget: Budget,
    stopwatch: &Stopwatch,
    aside: &Aside,
    call: Pin<&mut (dyn Future<Output = WasmResult<()>> + Send)>,
) -> Result<(), Stopped> {
    let mut call = pin!(AssertUnwindSafe(measured(stopwatch, aside, call)).catch_unwind());
    let mut deadline = budget.deadline;
    loop {
        return match within(deadline, call.as_mut()).await {
            Some(Ok(Ok(()))) => Ok(()),
            Some(Ok(Err(error))) => Err(Stopped::Engine(error)),
            Some(Err(_panic)) => Err(Stopped::Panicked),
            None => {
                let later = budget.deadline + standstill::since(budget.stood);
                if later > deadline {
                    deadline = later;
                    continue;
                }
                Err(Stopped::Timeout(budget.wall))
            }
        };
    }
}
