//! MisterSmith's host.

mod bindings;
pub mod capabilities;
pub mod config;
#[cfg(test)]
mod golden;
pub mod limits;
pub mod names;
pub mod permissions;
pub mod runtime;
pub mod transport;
