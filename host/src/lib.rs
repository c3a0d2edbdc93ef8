//! MisterSmith's host.

pub mod config;
pub mod limits;
pub mod names;
pub mod permissions;
