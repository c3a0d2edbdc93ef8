//! Access to single messages, subjects and consumers of a stream, and removals for a person.
//!
//! Messages are read one by one, one request each. Reading takes nothing from a consumer, and does
//! not slow the deliveries of work.

mod consumers;
mod info;
mod message;
mod names;
mod purge;
mod survey;
mod view;

pub use consumers::ConsumerFacts;
pub(crate) use info::StreamInfo;
#[cfg(test)]
pub(crate) use info::StreamState;
pub use message::StoredMessage;
pub use survey::Fingerprint;
pub use view::{StreamFacts, StreamView};
