//! MisterSmith's host: agents as sandboxed WebAssembly components on NATS.

pub mod cli;
pub mod config;
#[cfg(test)]
mod golden;
pub mod limits;
pub mod names;
pub mod permissions;
pub mod transport;
