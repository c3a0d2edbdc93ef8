//! What breaks an instance, or its limits.

use std::hint::black_box;

use mistersmith_sdk::{Value, json};

use crate::command::Hostile;

/// Does it; what returns at all tells what happened.
#[allow(clippy::panic)] // It is what is asked for.
pub(crate) fn run(hostile: Hostile, kept: &mut Vec<Vec<u8>>) -> Value {
    match hostile {
        Hostile::Spin {} => loop {
            black_box(());
        },
        Hostile::Alloc { bytes, keep, ask } => alloc(bytes, keep, ask, kept),
        Hostile::Recurse { depth } => json!({"depth": recurse(depth.unwrap_or(u64::MAX))}),
        Hostile::Panic { message } => panic!("{message}"),
        Hostile::Trap {} => trap(),
        Hostile::Exit { code } => std::process::exit(code),
        Hostile::Handles { count } => handles(count),
    }
}

fn alloc(bytes: usize, keep: bool, ask: bool, kept: &mut Vec<Vec<u8>>) -> Value {
    let mut memory = Vec::new();
    if ask {
        if let Err(error) = memory.try_reserve_exact(bytes) {
            return json!({"error": {"kind": "memory", "message": error.to_string()}});
        }
    }
    // Written to, so that it is really there.
    memory.resize(bytes, 1);
    let sum: usize = black_box(&memory).iter().step_by(4096).map(|_| 1).sum();
    if keep {
        kept.push(memory);
    }
    json!({"bytes": bytes, "pages": sum, "kept": kept.iter().map(Vec::len).sum::<usize>()})
}

fn recurse(depth: u64) -> u64 {
    let frame = black_box([depth; 16]);
    if depth == 0 {
        return 0;
    }
    let deeper = recurse(depth - 1);
    deeper + u64::from(black_box(frame).contains(&depth))
}

#[cfg(target_family = "wasm")]
fn trap() -> ! {
    core::arch::wasm32::unreachable()
}

#[cfg(not(target_family = "wasm"))]
fn trap() -> ! {
    std::process::abort()
}

#[cfg(target_family = "wasm")]
fn handles(count: u32) -> Value {
    let subscribe = |_| wasip2::clocks::monotonic_clock::subscribe_duration(1);
    let held: Vec<_> = (0..count).map(subscribe).collect();
    json!({"held": black_box(held).len()})
}

#[cfg(not(target_family = "wasm"))]
fn handles(_: u32) -> Value {
    crate::refused(&mistersmith_sdk::CallError::Other(
        "there are handles in a component only".to_owned(),
    ))
}
