//! Two engines of one configuration: one runs machine code and has no compiler, one only compiles.
//!
//! One function holds the settings that change machine code: two that disagreed would make code
//! that the host cannot load.

use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig,
    Result as WasmResult, Strategy,
};

use super::RuntimeError;
use mistersmith_core::limits::MEMORY;

/// Address space behind one linear memory, in bytes: with all that 32 bits can address reserved,
/// guest code needs no bounds checks. It costs no memory.
const RESERVED_PER_MEMORY: u64 = 4 << 30;

/// Address space after each linear memory that traps, in bytes: covers constant offsets of
/// accesses.
const GUARD: u64 = 32 << 20;

/// The same where code checks each access.
const SMALL_GUARD: u64 = 64 << 10;

/// Slots beyond the agents: for the old and the new instance while a plugin is replaced, and for
/// instances that are being torn down.
const SPARE: u32 = 32;

/// Core instances that one agent may take: a Rust guest has 3, a Python guest 38.
const CORE_INSTANCES: u32 = 48;

/// Tables that one agent may take: a Rust guest has 2.
const TABLES: u32 = 8;

/// Longest table, in elements: programs with ten thousand functions fit. The limiter counts them as
/// memory too.
const TABLE_ELEMENTS: usize = 20_000;

/// Bytes of a linear memory that are cleared by hand, instead of given back, when an instance ends:
/// what a small guest touches, so that its next instance needs no page faults.
const KEEP_RESIDENT: usize = 64 << 10;

/// The stack of a call, in bytes, and the part of it that guest code may use; the rest is for host
/// functions.
const STACK: usize = 1 << 20;
const GUEST_STACK: usize = 512 << 10;

/// Most frames in the backtrace of a trap.
const BACKTRACE_FRAMES: usize = 16;

/// Address space beyond what a linear memory has that is allocated as it grows, in bytes: within it
/// the memory grows without being copied.
const GROWTH: u64 = 1 << 20;

/// The layout of linear memories. Machine code depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// In a pool that is reserved at the start, with all that 32 bits can address behind each.
    Reserved,
    /// Wherever there is room, as large as they are: code checks each access.
    OnDemand,
}

/// Builds the engine that instances live in, with room for this many agents. It has no compiler:
/// no mistake elsewhere can make the host compile.
///
/// Where the process may not have so much address space, memory is allocated on demand.
pub(super) fn build(agents: u32) -> Result<(Engine, Layout), RuntimeError> {
    let mut config = running(Layout::Reserved);
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(agents)));
    let refused = match Engine::new(&config) {
        Ok(engine) => return Ok((engine, Layout::Reserved)),
        Err(error) => format!("{error:#}"),
    };
    let engine = Engine::new(&running(Layout::OnDemand)).map_err(|error| RuntimeError::Engine {
        detail: format!("{error:#}"),
    })?;
    tracing::warn!(
        error = refused,
        "there is no address space to reserve for {agents} agents, so that memory is allocated as \
         they use it, and their code is slower; lift the limit (`ulimit -v`), or lower [host] agents"
    );
    Ok((engine, Layout::OnDemand))
}

fn running(layout: Layout) -> Config {
    let mut config = code(layout);
    config
        .enable_compiler(false)
        .async_stack_size(STACK)
        .async_stack_zeroing(true)
        .max_wasm_stack(GUEST_STACK)
        .wasm_backtrace_max_frames(BACKTRACE_FRAMES.try_into().ok());
    config
}

/// Builds the engine that compiles. It reserves no address space.
pub(super) fn compiler(layout: Layout) -> WasmResult<Engine> {
    let mut config = code(layout);
    config.strategy(Strategy::Cranelift);
    Engine::new(&config)
}

/// The settings that machine code depends on.
pub(super) fn code(layout: Layout) -> Config {
    let mut config = Config::new();
    config
        // The async functions of components are not offered, and their support costs a third of a
        // call: https://github.com/bytecodealliance/wasmtime/issues/11209
        .concurrency_support(false)
        .epoch_interruption(true);
    match layout {
        Layout::Reserved => config
            .memory_reservation(RESERVED_PER_MEMORY)
            .memory_guard_size(GUARD),
        Layout::OnDemand => config
            .memory_reservation(0)
            .memory_reservation_for_growth(GROWTH)
            .memory_guard_size(SMALL_GUARD),
    };
    config
}

/// How many slots there are for this many agents: a quarter more, for plugins that are replaced.
pub(super) fn slots(agents: u32) -> u32 {
    agents.saturating_add(agents / 4).saturating_add(SPARE)
}

fn pool(agents: u32) -> PoolingAllocationConfig {
    let slots = slots(agents);
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(slots)
        .total_core_instances(slots.saturating_mul(CORE_INSTANCES))
        .total_memories(slots.saturating_add(slots / 8))
        .total_tables(slots.saturating_mul(TABLES))
        .total_stacks(slots)
        .max_memories_per_module(2)
        .max_tables_per_module(TABLES)
        .table_elements(TABLE_ELEMENTS)
        .max_memory_size(usize::try_from(MEMORY.max).unwrap_or(usize::MAX))
        .linear_memory_keep_resident(KEEP_RESIDENT)
        // Only what was written of it, where the system can tell: else all of it is resident from
        // the end of an instance on, and a host that had many agents keeps more than they took.
        .pagemap_scan(Enabled::Auto)
        .table_keep_resident(4 << 10)
        .async_stack_keep_resident(16 << 10);
    pool
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_pool_has_room_for_replacements() {
        assert_eq!(slots(1), 33);
        assert_eq!(slots(1000), 1282);
        assert_eq!(slots(u32::MAX), u32::MAX);
    }

    #[test]
    fn ten_thousand_agents_fit_into_the_address_space() {
        let (_, layout) = build(mistersmith_core::limits::AGENTS.max).unwrap();
        assert_eq!(layout, Layout::Reserved);
    }
}
