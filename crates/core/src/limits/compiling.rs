//! Limits of compiling: the resources of a child process, and the size of the cache.

use std::time::Duration;

use super::MIB;

/// Most functions of one component, all its modules together. A Python component has 30,000; half
/// a million in 3 MB cost the compiler 2 GiB.
pub const MAX_FUNCTIONS: u64 = 200_000;

/// Most loops around one instruction. Compiling is quadratic in this number: ten thousand, in 35
/// kB, take eleven seconds. Compilers nest a dozen. The engine expects such outliers:
/// <https://github.com/bytecodealliance/wasmtime/issues/3414>
pub const MAX_LOOP_DEPTH: usize = 500;

/// CPU time for compiling one component. A Python component of 18 MB takes half of it on a slow
/// machine.
pub const COMPILE_CPU: Duration = Duration::from_secs(2 * 60);

/// Wall time for compiling one component, from the begin of its turn: more than the CPU time,
/// because threads that serve messages come first.
pub const COMPILE_TIMEOUT: Duration = Duration::from_secs(6 * 60);

/// Most memory for compiling one component, in bytes. All that compile at the same time have half
/// of the memory of the machine, or of the container, together.
pub const COMPILE_MEMORY: u64 = 4096 * MIB as u64;

/// Memory for compiling any component, however small, in bytes.
pub const COMPILE_BASE: u64 = 256 * MIB as u64;

/// Memory for compiling beyond [`COMPILE_BASE`], in bytes for each byte of the component: twice
/// of what code takes that compilers make.
pub const COMPILE_PER_BYTE: u64 = 200;

/// Most components that are compiled at the same time; never more than there are processors, but
/// two where there is one.
pub const COMPILE_PARALLEL: usize = 8;

/// How long a component is compiled until it counts as slow: then it gives its turn to another
/// that had none yet, and the host is ready without it.
pub const COMPILE_PATIENCE: Duration = Duration::from_secs(4);

/// How long a component is compiled until the log says so, and again with each doubling.
pub const COMPILE_SILENCE: Duration = Duration::from_secs(2);

/// How soon a component is compiled again that took too much; doubled with each further try.
pub const COMPILE_RETRY_FIRST: Duration = Duration::from_secs(30);

/// The longest such wait.
pub const COMPILE_RETRY_MOST: Duration = Duration::from_secs(60 * 60);

/// Machine code that a component may become, in bytes for each of its own, beyond [`CODE_BASE`]:
/// four times of what compilers make.
pub const CODE_PER_BYTE: u64 = 16;

/// Machine code that any component may become, however small, in bytes.
pub const CODE_BASE: u64 = 4 * MIB as u64;

/// Largest machine code of one component, in bytes.
pub const MAX_MACHINE_CODE: u64 = 1024 * MIB as u64;

/// Machine code that is kept in the data folder, in bytes; the least recently used goes first.
pub const COMPILED_FOLDER: u64 = 2048 * MIB as u64;
