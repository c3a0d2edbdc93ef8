//! A held message: a stored message that this host has until it is settled.

use std::fmt::Debug;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use mistersmith_core::config::Schema;
use mistersmith_core::names::AgentId;
use mistersmith_nats::{Acker, DeliveryInfo, Stored, TransportError};
use mistersmith_runtime::{Call, Fence, Reply};

use super::ack_progress::InProgressGuard;
use super::attempts::{Counted, Tries};
use super::claimed::Claimed;
use super::reason::Reason;
use super::retry_rule::RetryRule;

/// A message of a stream that this host holds. It must end in exactly one act of
/// [`settle`](crate::settle); otherwise it is delivered again after the ack wait.
#[derive(Debug)]
pub struct HeldMessage {
    /// Acks, naks or terminates the message.
    pub acker: Acker,
    /// Its stream sequence and number of deliveries.
    pub info: DeliveryInfo,
    /// The limit of attempts and the pauses between them.
    pub rule: Arc<RetryRule>,
    /// The attempts so far.
    pub tries: Tries,
    /// Sends in-progress acks while it is held.
    pub in_progress: InProgressGuard,
    /// The pattern's steps of settling. None if the message never reaches a handler.
    pub completion: Option<Arc<dyn Completion>>,
    /// The fetched payload, removed once the message is acknowledged.
    pub claimed: Option<Claimed>,
    /// The idempotence key under which its result is recorded before it is stored.
    pub idempotence_key: Option<String>,
    /// The fence of the agent that handled it; nothing is stored behind a closed fence.
    pub fence: Option<Fence>,
}

impl HeldMessage {
    /// How often it began before.
    pub fn retries(&self) -> u32 {
        self.tries.begun()
    }

    /// The message with its attempt count.
    pub fn counted(&mut self) -> Counted<'_> {
        Counted {
            info: &self.info,
            rule: &self.rule,
            tries: &mut self.tries,
        }
    }
}

/// The pattern-specific steps of settling: a work item stores a result, a stage of a pipeline the
/// inputs of the next stages.
///
/// The settler decides when each step is due and repeats it while the server fails; so each step
/// must be idempotent for its message. A step that is `None` costs nothing.
pub trait Completion: Debug + Send + Sync {
    /// Whether the outcome is cancelled; an error means that this is unknown.
    fn is_cancelled(&self) -> Option<BoxFuture<'_, Result<bool, TransportError>>> {
        None
    }

    /// Reports that an agent is about to handle the message. The report is not confirmed.
    fn begin<'a>(
        &'a self,
        _agent: &'a AgentId,
        _call: &'a Call,
        _held: &'a HeldMessage,
    ) -> Option<BoxFuture<'a, ()>> {
        None
    }

    /// Stores the handler's reply.
    fn store<'a>(
        &'a self,
        agent: &'a AgentId,
        call: &'a Call,
        held: &'a HeldMessage,
        reply: &'a Reply,
    ) -> BoxFuture<'a, Result<(), TransportError>>;

    /// Reports that the message has failed for good and its dead letter is stored.
    fn failed<'a>(
        &'a self,
        _failure: FinalFailure<'a>,
        _letter: &'a Stored,
    ) -> Option<BoxFuture<'a, Result<(), TransportError>>> {
        None
    }
}

/// A message that has failed for good.
#[derive(Debug, Clone, Copy)]
pub struct FinalFailure<'a> {
    /// The agent that handled it last; none when no agent was called.
    pub agent: Option<&'a AgentId>,
    /// The call of the handler.
    pub call: &'a Call,
    /// The message.
    pub held: &'a HeldMessage,
    /// The reason.
    pub reason: &'a Reason,
}

/// A held message that is not queued for an agent yet.
#[derive(Debug)]
pub struct Arrival {
    /// The call of the handler.
    pub call: Box<Call>,
    /// The held message.
    pub held: Box<HeldMessage>,
    /// The schema of its payload.
    pub schema: Option<Schema>,
}
