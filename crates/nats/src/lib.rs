//! The crate for messages: named connections to NATS, and on them publish, request, subscribe,
//! stored publish, pull consumers, key-value buckets and object stores.
//!
//! Subjects and payloads are the caller's decision; this crate checks only that they fit the
//! protocol. No wait is without a bound, no payload is copied except where much waits, and nothing
//! is queued for a server that is away: what a client library queues before a break is lost without
//! an error.

#![cfg_attr(
    test,
    allow(
        clippy::disallowed_methods,
        clippy::print_stderr,
        clippy::print_stdout,
        reason = "tests read what they have made, and print why they fail"
    )
)]

mod address;
pub(crate) mod api;
mod backlog;
mod check;
mod claim;
mod clock;
mod connect;
mod connect_spec;
mod connection;
mod deadline;
mod delivery_info;
mod denials;
mod dialer;
mod error;
mod gather;
mod generation;
mod headers;
mod health;
mod inline_subscription;
mod jetstream_message;
mod kv;
mod listing;
mod message;
mod object;
pub mod provision;
mod pull;
mod quarantine;
mod raw;
mod replies;
mod revival;
pub mod server;
mod source;
mod stored;
mod stream;
mod subscription;
pub mod trace;
mod transport;
mod unreadable;
mod usage;
pub mod version;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub use backlog::Backlog;
pub use claim::{CLAIM, CLAIM_SIZE, Claim, ClaimError, PAYLOADS};
pub use clock::ServerClock;
pub use connect_spec::ConnectSpec;
pub use connection::Connection;
pub(crate) use deadline::at_most;
pub use deadline::{by, within};
pub use delivery_info::DeliveryInfo;
pub use denials::Denials;
pub use error::TransportError;
pub use headers::{Headers, SharedHeaders};
pub use inline_subscription::InlineSubscription;
pub use jetstream_message::{AckPort, Acker, JetStreamMessage};
pub use kv::{Change, Entry, Kv, Watch};
pub use message::Message;
pub use object::{ObjectFacts, Objects};
pub use pull::{Pull, Puller};
pub use quarantine::{Quarantine, Unreadable};
pub use stored::retry;
pub use stored::{MESSAGE_ID, Stored};
pub use stream::{ConsumerFacts, Fingerprint, StoredMessage, StreamFacts, StreamView};
pub use subscription::Subscription;
pub use trace::{RequestId, Trace};
pub use transport::{ConnectionState, Role, Transport};
pub use usage::StreamUse;
