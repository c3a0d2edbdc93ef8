//! The data of one store, and the limits that the engine checks while guest code runs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use wasmtime::component::ResourceTable;
use wasmtime::{Engine, ResourceLimiter, Result, Store, StoreContextMut, UpdateDeadline};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use super::cpu::{ComputeSlots, CpuMeter};
use super::exit_reason::OutOfCpu;
use super::standstill;
use super::ticker::EpochSignal;
use crate::capabilities::{AgentContext, Guest, wasi_context};
use mistersmith_core::limits::{HOSTCALL_FUEL_EXTRA, MAX_BATCH_BYTES, MESSAGE_OVERHEAD};

/// The size of a table element, in bytes.
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
        slots: ComputeSlots,
        epochs: EpochSignal,
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
                meter: Arc::new(CpuMeter::new(epochs)),
                budget: Duration::ZERO,
                deadline: Instant::now(),
                stood: 0,
                slots,
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

/// The most bytes that a guest may pass in one call, for this payload limit.
pub(super) fn hostcall_fuel(payload: usize) -> usize {
    payload.saturating_add(HOSTCALL_FUEL_EXTRA)
}

/// The most bytes that a guest may pass in one call that answers so many messages: each of its
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

/// The CPU budget of a call. Checked after every turn, so a call may exceed it by one.
#[derive(Debug)]
pub(super) struct Cpu {
    pub(super) meter: Arc<CpuMeter>,
    pub(super) budget: Duration,
    /// When the call must be over.
    pub(super) deadline: Instant,
    /// How long the process had stood still before it.
    pub(super) stood: u64,
    pub(super) slots: ComputeSlots,
}

/// How long a call that computes goes on before others that do have their turn, in ticks. The first
/// time it is one tick: then it moves to the background.
const TURN: u64 = 5;

/// Every tick ends a call whose budget is used up, and lets other agents run before this one goes
/// on.
fn tick(store: StoreContextMut<'_, State>) -> Result<UpdateDeadline> {
    let cpu = &store.data().cpu;
    let now = Instant::now();
    let computes = cpu.meter.goes_on(now);
    let used = cpu.meter.used(now);
    if used >= cpu.budget && used.saturating_sub(standstill::since(cpu.stood)) >= cpu.budget {
        return Err(OutOfCpu(cpu.budget).into());
    }
    if now < cpu.deadline {
        if !computes {
            return Ok(UpdateDeadline::Continue(1));
        }
        if cpu.meter.stays(now, &cpu.slots) {
            return Ok(UpdateDeadline::Continue(TURN));
        }
    }
    // tokio's own yield polls timers and sockets; the engine's yield would be scheduled again at
    // once: https://github.com/bytecodealliance/wasmtime/issues/10667
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

    /// Whether growth was refused since this was last read: a trap that follows was caused by it.
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
