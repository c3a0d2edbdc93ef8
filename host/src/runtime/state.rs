//! What belongs to one store, and the limits that the engine asks while guest code runs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use wasmtime::component::ResourceTable;
use wasmtime::{Engine, ResourceLimiter, Result, Store, StoreContextMut, UpdateDeadline};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use super::cpu::{Aside, Stopwatch};
use super::death::OutOfCpu;
use super::standstill;
use super::ticker::Pulse;
use crate::capabilities::{AgentContext, Guest, wasi_context};
use crate::limits::{HOSTCALL_FUEL_EXTRA, MAX_BATCH_BYTES, MESSAGE_OVERHEAD};

/// What one element of a table counts, in bytes.
const TABLE_ELEMENT: usize = size_of::<usize>();

/// Most core instances, and most tables, in one store; a Python guest has 38 instances.
const MAX_CORE_INSTANCES: usize = 48;

/// Most linear memories in one store.
const MAX_MEMORIES: usize = 4;

/// The data of a store.
pub(super) struct State {
    pub(super) guest: Guest,
    pub(super) memory: Memory,
    pub(super) cpu: Cpu,
    wasi: WasiCtx,
    table: ResourceTable,
}

impl State {
    /// A store in which every limit of the agent is set.
    pub(super) fn store(
        engine: &Engine,
        context: Arc<AgentContext>,
        aside: Aside,
        pulse: Pulse,
    ) -> Store<Self> {
        let limits = Arc::clone(&context.limits);
        let handles = usize::try_from(limits.handles).unwrap_or(usize::MAX);
        let mut table = ResourceTable::new();
        table.set_max_capacity(handles);
        let state = Self {
            wasi: wasi_context(&context),
            guest: Guest::new(context),
            memory: Memory::new(usize::try_from(limits.memory).unwrap_or(usize::MAX)),
            cpu: Cpu {
                stopwatch: Arc::new(Stopwatch::new(pulse)),
                budget: Duration::ZERO,
                deadline: Instant::now(),
                stood: 0,
                aside,
            },
            table,
        };
        let mut store = Store::new(engine, state);
        store.limiter(|state| &mut state.memory);
        store.set_max_component_handles(handles);
        store.set_hostcall_fuel(hostcall_fuel(limits.payload));
        store.epoch_deadline_callback(tick);
        store
    }
}

/// What a guest may hand over in one call, in bytes, of so much payload.
pub(super) fn hostcall_fuel(payload: usize) -> usize {
    payload.saturating_add(HOSTCALL_FUEL_EXTRA)
}

/// What a guest may hand over in one call, in bytes, that answers so many messages: each of its
/// answers is bounded by `payload`, and all of them together by what a batch may weigh.
pub(super) fn batch_fuel(messages: usize, payload: usize) -> usize {
    let answers = payload
        .saturating_mul(messages)
        .min(payload.max(MAX_BATCH_BYTES));
    hostcall_fuel(answers.saturating_add(messages.saturating_mul(MESSAGE_OVERHEAD)))
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

impl Drop for State {
    fn drop(&mut self) {
        self.guest.context.report_unlogged();
    }
}

/// The CPU budget of a call. Looked at after every turn, so a call may exceed it by one.
#[derive(Debug)]
pub(super) struct Cpu {
    pub(super) stopwatch: Arc<Stopwatch>,
    pub(super) budget: Duration,
    /// When the call must be over.
    pub(super) deadline: Instant,
    /// How long the process had stood still before it.
    pub(super) stood: u64,
    pub(super) aside: Aside,
}

/// How long a call that computes goes on before others that do have their turn, in ticks. The first
/// time it is one tick: then it goes on aside.
const TURN: u64 = 5;

/// Every tick ends a call whose budget is used up, and lets other agents run before this one goes on.
fn tick(store: StoreContextMut<'_, State>) -> Result<UpdateDeadline> {
    let cpu = &store.data().cpu;
    let now = Instant::now();
    let computes = cpu.stopwatch.goes_on(now);
    let used = cpu.stopwatch.used(now);
    if used >= cpu.budget && used.saturating_sub(standstill::since(cpu.stood)) >= cpu.budget {
        return Err(OutOfCpu(cpu.budget).into());
    }
    if now < cpu.deadline {
        if !computes {
            return Ok(UpdateDeadline::Continue(1));
        }
        if cpu.stopwatch.stays(now, &cpu.aside) {
            return Ok(UpdateDeadline::Continue(TURN));
        }
    }
    // The runtime's own yield lets timers and sockets be looked at; a mere wake-up would not.
    Ok(UpdateDeadline::YieldCustom(
        TURN,
        Box::pin(tokio::task::yield_now()),
    ))
}

/// All memories and tables of a store, together.
#[derive(Debug)]
pub(super) struct Memory {
    used: usize,
    most: usize,
    /// The most that was asked for and not given since it was last looked at.
    refused: Option<usize>,
}

impl Memory {
    fn new(most: usize) -> Self {
        Self {
            used: 0,
            most,
            refused: None,
        }
    }

    /// Bytes in use.
    pub(super) fn used(&self) -> usize {
        self.used
    }

    /// Whether growth was refused since this was last asked: a guest that then traps died of it.
    pub(super) fn take_refused(&mut self) -> Option<String> {
        let wanted = self.refused.take()?;
        let most = self.most;
        Some(format!(
            "it wanted {wanted} bytes of memory, and [limits] memory allows {most}"
        ))
    }

    fn grow(&mut self, current: usize, desired: usize) -> bool {
        let wanted = self.used.saturating_add(desired.saturating_sub(current));
        let fits = wanted <= self.most;
        if fits {
            self.used = wanted;
        } else {
            self.refused = Some(wanted);
        }
        fits
    }
}

impl ResourceLimiter for Memory {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> Result<bool> {
        Ok(self.grow(current, desired))
    }

    fn table_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> Result<bool> {
        let bytes = |elements: usize| elements.saturating_mul(TABLE_ELEMENT);
        Ok(self.grow(bytes(current), bytes(desired)))
    }

    fn instances(&self) -> usize {
        MAX_CORE_INSTANCES
    }

    fn tables(&self) -> usize {
        MAX_CORE_INSTANCES
    }

    fn memories(&self) -> usize {
        MAX_MEMORIES
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn memories_and_tables_are_summed() {
        let mut memory = Memory::new(1000);
        assert!(memory.memory_growing(0, 400, None).unwrap());
        assert!(
            memory.memory_growing(0, 400, None).unwrap(),
            "a second memory"
        );
        assert!(memory.table_growing(0, 25, None).unwrap());
        assert_eq!(memory.used(), 1000);
        assert_eq!(memory.take_refused(), None);
        assert!(!memory.memory_growing(400, 401, None).unwrap());
        assert!(!memory.table_growing(25, 26, None).unwrap());
        assert!(memory.take_refused().unwrap().contains("1008 bytes"));
        assert_eq!(memory.take_refused(), None);
    }

    #[test]
    fn absurd_sizes_do_not_wrap_around() {
        let mut memory = Memory::new(1000);
        assert!(memory.memory_growing(0, 999, None).unwrap());
        assert!(!memory.memory_growing(0, usize::MAX, None).unwrap());
        assert!(!memory.table_growing(0, usize::MAX, None).unwrap());
        assert_eq!(memory.used(), 999);
    }
}
