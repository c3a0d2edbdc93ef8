//! A running call: its budget of time, and the reasons why it did not return.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use wasmtime::{Result as WasmResult, Store};

use super::cpu::{ComputeSlots, CpuMeter, measured};
use super::exit_reason::{ExitKind, ExitReason};
use super::standstill;
use super::state::State;
use mistersmith_nats::within;

/// The wall time and CPU time of one call.
#[derive(Clone, Copy)]
pub(super) struct CallBudget {
    wall: Duration,
    pub(super) cpu: Duration,
    pub(super) begun: Instant,
    pub(super) deadline: Instant,
    /// How long the process had stood still before.
    pub(super) stood: u64,
}

impl CallBudget {
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

/// The reason why a call did not return.
pub(super) enum Stopped {
    Engine(wasmtime::Error),
    Timeout(Duration),
    Panicked,
}

impl Stopped {
    pub(super) fn exit_reason(self, store: &mut Store<State>) -> ExitReason {
        match self {
            Self::Engine(error) => {
                ExitReason::from_error(&error, store.data_mut().memory.take_refused())
            }
            Self::Timeout(wall) => ExitReason::timeout(wall),
            Self::Panicked => ExitReason::new(
                ExitKind::Host,
                "the host made a mistake in a call of the agent",
            ),
        }
    }
}

/// Runs a call until it returns or its time is over.
pub(super) async fn run<T>(
    budget: CallBudget,
    meter: &CpuMeter,
    slots: &ComputeSlots,
    // Pinned by the caller, as all that follows: what wraps it moves a pointer, not the future.
    call: Pin<&mut (impl Future<Output = WasmResult<T>> + Send)>,
) -> Result<T, Stopped>
where
    T: Send,
{
    // The returned value is stored here: each of the wrappers would move it once more.
    let mut returned = None;
    let call = pin!(async {
        returned = Some(call.await?);
        Ok(())
    });
    run_out(budget, meter, slots, call).await?;
    returned.ok_or(Stopped::Panicked)
}

/// Runs a call, whatever it returns. A panic in a host function ends this instance instead of the
/// agent's task.
async fn run_out(
    budget: CallBudget,
    meter: &CpuMeter,
    slots: &ComputeSlots,
    call: Pin<&mut (dyn Future<Output = WasmResult<()>> + Send)>,
) -> Result<(), Stopped> {
    let mut call = pin!(AssertUnwindSafe(measured(meter, slots, call)).catch_unwind());
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
