//! Key-value buckets.
//!
//! Reads ask the leader of the bucket's stream, not a replica that may lag. A conditional write
//! whose answer is lost is tried again and recognised by its own id: otherwise a caller would take
//! its own success for a conflict.

mod bucket;
mod conditional;
mod cursor;
mod deletion;
mod fenced;
mod keys;
mod purge;
mod watch;

pub use bucket::{Entry, Kv};
pub use watch::{Change, Watch};
