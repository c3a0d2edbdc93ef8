//! Deliveries: messages that an agent handles, each with the destination of its outcome.
//!
//! A pattern builds a [`Delivery`] from a message and queues it for an agent. A message of a stream
//! is a [`HeldMessage`] until it is settled, and its attempts are stored beyond this process
//! ([`attempts`]); otherwise a crash would reset its count. Patterns differ in what they store of an outcome
//! ([`Completion`]); this module depends on none of them.

pub mod ack_progress;
mod admission;
pub mod attempts;
mod call;
mod claimed;
pub mod error_reply;
mod held_message;
pub mod reason;
pub mod reply;
mod retry_rule;
#[cfg(test)]
pub(crate) mod testing;

use mistersmith_core::byte_budget::ByteCharge;
use mistersmith_nats::Connection;
use mistersmith_runtime::Call;

pub use admission::{admit, waiting_bytes};
pub use call::{call, call_until, plugin_reply_subject, reply_subject, subscribed, waits_until};
pub use claimed::Claimed;
pub use held_message::{Arrival, Completion, FinalFailure, HeldMessage};
pub use reason::{Reason, ReasonKind};
pub use retry_rule::RetryRule;

/// A message for an agent: the call, and the destination of its outcome.
#[derive(Debug)]
pub struct Delivery {
    /// The call of the handler.
    pub call: Box<Call>,
    /// The destination of the outcome.
    pub destination: Destination,
    /// Its charge in the mailbox of an agent.
    pub charge: Option<ByteCharge>,
    /// The rest of its batch, each with its own answer; none outside a batch.
    pub rest: Option<Vec<Delivery>>,
}

impl Delivery {
    /// The messages of its batch one by one, this one first.
    pub fn each(mut self) -> impl Iterator<Item = Self> {
        let rest = self.rest.take().unwrap_or_default();
        std::iter::once(self).chain(rest)
    }

    /// The bytes that it and its batch are charged in the plugin queue. A held message is charged
    /// nothing: it is fetched for an agent that is free.
    pub fn waiting_bytes(&self) -> usize {
        let own = match &self.destination {
            Destination::HeldMessage(_) => 0,
            _ => waiting_bytes(self.call.bytes()),
        };
        let rest = self.rest.iter().flatten();
        rest.map(Self::waiting_bytes)
            .fold(own, usize::saturating_add)
    }
}

/// The destination of a call's outcome.
#[derive(Debug)]
pub enum Destination {
    /// None: the message is an event.
    Nobody,
    /// The sender waits on a reply subject of this connection.
    Reply {
        /// The reply subject.
        to: String,
        /// The connection that delivered the message.
        connection: Connection,
    },
    /// A scattered question: a reply goes to the gatherer, a missing reply nowhere.
    Gather {
        /// The subject on which answers are gathered.
        to: String,
        /// The connection that delivered the question.
        connection: Connection,
    },
    /// A command without a reply subject: the result is stored under
    /// `agent.<id>.resp.<request-id>`.
    Stored,
    /// A held message: its output is stored before it is acknowledged.
    HeldMessage(Box<HeldMessage>),
}
