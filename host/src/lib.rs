//! MisterSmith runs agents as sandboxed WebAssembly components on NATS.

pub mod cli;
