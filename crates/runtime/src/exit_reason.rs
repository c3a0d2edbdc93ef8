//! Exit reasons: a kind that code acts on, and a sentence for people.

use std::time::Duration;

use serde::Serialize;
use thiserror::Error;
use wasmtime::component::ResourceTableError;
use wasmtime::{Error as WasmError, PoolConcurrencyLimitError, Trap, WasmBacktrace};
use wasmtime_wasi::I32Exit;

use mistersmith_core::names::quoted;

/// There are as many instances as may be.
const NO_ROOM: &str = "the host has no room for another instance";

/// The kind of an exit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExitKind {
    /// Its code trapped: a panic, an access out of bounds, a stack too deep, ….
    Trap,
    /// A call took longer than its wall time.
    Timeout,
    /// A call used more than its CPU time.
    Cpu,
    /// It needed more memory than it may have.
    Memory,
    /// It held more resources than it may.
    Handles,
    /// It handed more data to the host in one call than it may.
    Data,
    /// It called `exit`.
    Exit,
    /// The host has no room for another instance.
    Room,
    /// An internal error of the host.
    Host,
    /// It had ended before, or the call before was abandoned.
    Gone,
}

impl ExitKind {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Trap,
        Self::Timeout,
        Self::Cpu,
        Self::Memory,
        Self::Handles,
        Self::Data,
        Self::Exit,
        Self::Room,
        Self::Host,
        Self::Gone,
    ];

    /// As it stands in `agent.<id>.error`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Trap => "trap",
            Self::Timeout => "timeout",
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::Handles => "handles",
            Self::Data => "data",
            Self::Exit => "exit",
            Self::Room => "room",
            Self::Host => "host",
            Self::Gone => "gone",
        }
    }
}

/// The reason of an exit.
#[derive(Debug, Clone, PartialEq, Eq, Error, Serialize)]
#[error("{message}")]
pub struct ExitReason {
    /// Its kind.
    pub kind: ExitKind,
    /// A sentence for a person.
    pub message: String,
    /// The functions that were running, innermost first; empty when that is unknown. For the log.
    pub backtrace: Vec<String>,
}

impl ExitReason {
    pub(super) fn new(kind: ExitKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            backtrace: Vec::new(),
        }
    }

    pub(super) fn timeout(allowed: Duration) -> Self {
        Self::new(
            ExitKind::Timeout,
            format!("the call took longer than the {allowed:?} that it may take"),
        )
    }

    pub(super) fn no_room() -> Self {
        Self::new(ExitKind::Room, NO_ROOM)
    }

    pub(super) fn gone() -> Self {
        Self::new(ExitKind::Gone, "the instance has ended")
    }

    /// From what the engine reports; `memory` is what it was refused to grow to, if it was.
    pub(super) fn from_error(error: &WasmError, memory: Option<String>) -> Self {
        let (kind, message) = classify(error, memory);
        let backtrace = error.downcast_ref::<WasmBacktrace>().map(functions);
        Self {
            kind,
            message,
            backtrace: backtrace.unwrap_or_default(),
        }
    }
}

/// The guest used up its CPU budget.
#[derive(Debug, Error)]
#[error("the call used more than the {0:?} of CPU time that it may use")]
pub(super) struct OutOfCpu(pub(super) Duration);

fn classify(error: &WasmError, memory: Option<String>) -> (ExitKind, String) {
    if let Some(cpu) = error.downcast_ref::<OutOfCpu>() {
        return (ExitKind::Cpu, cpu.to_string());
    }
    if let Some(I32Exit(code)) = error.downcast_ref() {
        return (ExitKind::Exit, format!("it called exit({code})"));
    }
    if let Some(ResourceTableError::Full) = error.downcast_ref() {
        return (
            ExitKind::Handles,
            "it holds as many resources as [limits] handles allows".to_owned(),
        );
    }
    if error.is::<PoolConcurrencyLimitError>() {
        return (ExitKind::Room, NO_ROOM.to_owned());
    }
    // A guest that is refused memory gives up with a trap of its own, or cannot begin at all.
    if let Some(memory) = memory {
        return (ExitKind::Memory, memory);
    }
    if let Some(trap) = error.downcast_ref::<Trap>() {
        return (ExitKind::Trap, trapped(*trap));
    }
    let root = error.root_cause().to_string();
    // The engine has no types for these three.
    if root.contains("Cannot allocate memory") {
        return (ExitKind::Room, format!("{NO_ROOM}: {root}"));
    }
    if root.contains("fuel allocated for hostcalls") {
        return (
            ExitKind::Data,
            "it handed more data to the host in one call than [limits] payload allows".to_owned(),
        );
    }
    if root.contains("handle") && root.contains("limit") {
        return (
            ExitKind::Handles,
            "it holds as many resources as [limits] handles allows".to_owned(),
        );
    }
    (ExitKind::Trap, root)
}

fn trapped(trap: Trap) -> String {
    match trap {
        Trap::UnreachableCodeReached => {
            "it gave up (a panic, or an `unreachable` instruction)".to_owned()
        }
        Trap::StackOverflow => "its stack is too deep".to_owned(),
        other => other.to_string(),
    }
}

fn functions(backtrace: &WasmBacktrace) -> Vec<String> {
    let name = |frame: &wasmtime::FrameInfo| {
        let index = || format!("function {}", frame.func_index());
        // A name is whatever the author of the component wrote.
        frame.func_name().map_or_else(index, quoted)
    };
    backtrace.frames().iter().map(name).collect()
}
