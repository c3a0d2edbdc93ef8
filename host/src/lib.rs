//! MisterSmith's host.

pub mod config;
#[cfg(test)]
mod golden;
pub mod limits;
pub mod names;
pub mod permissions;
pub mod transport;
pub mod provision;
