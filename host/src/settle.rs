//! Settling: decides and carries out the fate of every held message, here and nowhere else.
//!
//! The order of steps is the guarantee: output is stored before input is acknowledged, a dead
//! letter is stored before its original is removed, a failed attempt is recorded before its message
//! is given back. If the process dies between two steps, the message is delivered again, its output
//! is recognised by its derived id, and nothing is lost. Attempts count, not deliveries
//! ([`crate::delivery::attempts`]).
//!
//! Three ports lead to the server: acks ([`mistersmith_nats::AckPort`]), attempts
//! (`delivery/attempts/port.rs`) and all storage (`storage`). Tests settle in paused time on a
//! server in memory (`delivery/testing.rs`), which loses calls and answers.

pub mod dead_letter;
mod histogram;
pub mod idempotence;
mod quarantine;
mod settler;
mod storage;
mod verdict;
mod work_times;

pub use quarantine::DeadLetterQuarantine;
pub use settler::Settler;
pub use work_times::WorkTimes;
