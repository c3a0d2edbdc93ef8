//! The engine: how machine code is made, and where instances live.

use std::path::Path;

use wasmtime::{
    Cache, CacheConfig, Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig,
    Strategy,
};

use super::{RuntimeError, RuntimeOptions};
use crate::limits::MEMORY;

/// Address space behind one linear memory, in bytes: with all that 32 bits can address reserved,
/// guest code needs no bounds checks. It costs no memory.
const RESERVED_PER_MEMORY: u64 = 4 << 30;

/// Address space after each linear memory that traps, in bytes: covers constant offsets of accesses.
const GUARD: u64 = 32 << 20;

/// Slots beyond the agents: for the old and the new instance while a plugin is replaced, and for
/// instances that are being torn down.
const SPARE: u32 = 32;

/// Core instances that one agent may take: a Rust guest has 3, a Python guest 38.
const CORE_INSTANCES: u32 = 48;

/// Tables that one agent may take: a Rust guest has 2.
const TABLES: u32 = 8;

/// Longest table, in elements: programs with ten thousand functions fit. The limiter counts them as memory too.
const TABLE_ELEMENTS: usize = 20_000;

/// Bytes of a linear memory that are cleared by hand, instead of given back, when an instance ends:
/// what a small guest touches, so that its next instance needs no page faults.
const KEEP_RESIDENT: usize = 64 << 10;

/// The stack of a call, in bytes, and the part of it that guest code may use; the rest is for host functions.
const STACK: usize = 1 << 20;
const GUEST_STACK: usize = 512 << 10;

/// Most frames in the backtrace of a trap.
const BACKTRACE_FRAMES: usize = 16;

/// Builds the engine.
pub(super) fn build(options: &RuntimeOptions) -> Result<Engine, RuntimeError> {
    let agents = options.max_agents;
    let cache = options.cache_dir.as_deref().map(open_cache).transpose()?;
    let mut config = Config::new();
    config
        .strategy(Strategy::Cranelift)
        // Its async functions are not offered, and it costs a third of a call.
        .concurrency_support(false)
        .epoch_interruption(true)
        .memory_reservation(RESERVED_PER_MEMORY)
        .memory_guard_size(GUARD)
        .async_stack_size(STACK)
        .async_stack_zeroing(true)
        .max_wasm_stack(GUEST_STACK)
        .wasm_backtrace_max_frames(BACKTRACE_FRAMES.try_into().ok())
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool(agents)))
        .cache(cache);
    Engine::new(&config).map_err(|error| RuntimeError::Engine {
        agents,
        detail: format!("{error:#}"),
    })
}

/// How many slots there are for this many agents: a quarter more, for plugins that are replaced.
fn slots(agents: u32) -> u32 {
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
        .table_keep_resident(4 << 10)
        .async_stack_keep_resident(16 << 10);
    pool
}

/// Compiled code of earlier runs. Never in the plugins folder: whoever writes there must not be
/// able to hand us machine code.
fn open_cache(folder: &Path) -> Result<Cache, RuntimeError> {
    let mut config = CacheConfig::new();
    config.with_directory(folder);
    Cache::new(config).map_err(|error| RuntimeError::Cache {
        folder: folder.to_owned(),
        detail: format!("{error:#}"),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn options(max_agents: u32) -> RuntimeOptions {
        RuntimeOptions {
            cache_dir: None,
            max_agents,
        }
    }

    #[test]
    fn the_pool_has_room_for_replacements() {
        assert_eq!(slots(1), 33);
        assert_eq!(slots(1000), 1282);
        assert_eq!(slots(u32::MAX), u32::MAX);
    }

    #[test]
    fn ten_thousand_agents_fit_into_the_address_space() {
        build(&options(crate::limits::MAX_INSTANCES)).unwrap();
    }
}
