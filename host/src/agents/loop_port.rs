//! The port between an agent's event loop and its host. Tests implement it in memory.
//!
//! The loop is generic over the port, so that a message costs no dynamic call.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use mistersmith_core::config::PluginSpec;
use mistersmith_core::names::AgentId;
use mistersmith_core::permissions::Permissions;
use mistersmith_nats::Message;
use mistersmith_runtime::{
    Call, Failure, Health, Kind, Notice, Outcome, RateLimits, Reply, RuntimeMessage, SharedConfig,
    Source,
};

use super::directory::AgentHandle;
use crate::delivery::{Destination, HeldMessage, Reason};
use crate::events::lifecycle::LifecycleEvent;

/// Runs the instances of one agent and settles or sends the outcomes of its messages.
pub(super) trait AgentPort: Send + Sync + 'static {
    /// A revision of the plugin.
    type Revision: Revision;
    /// A running component.
    type Instance: AgentInstance;

    /// Instantiates a revision without calling its `start`.
    fn instantiate(
        &self,
        agent: &AgentHandle,
        revision: &Self::Revision,
        seat: InstanceSeat,
    ) -> impl Future<Output = Result<Self::Instance, Reason>> + Send;

    /// Publishes a lifecycle event of the agent.
    fn announce(&self, agent: &AgentId, spec: &PluginSpec, step: &LifecycleEvent);

    /// Returns a held message if it was not handled within the idempotence window.
    fn unless_done(
        &self,
        agent: &AgentHandle,
        window: Duration,
        call: Box<Call>,
        held: Box<HeldMessage>,
    ) -> impl Future<Output = Option<(Box<Call>, Box<HeldMessage>)>> + Send;

    /// Records the attempt at a held message; none when it must not begin.
    fn begin(
        &self,
        agent: &AgentId,
        call: &Call,
        held: Box<HeldMessage>,
    ) -> impl Future<Output = Option<Box<HeldMessage>>> + Send;

    /// Counts the duration of a message.
    fn handled(&self, call: &Call, destination: &Destination, begun: Instant, took: Duration);

    /// Settles a held message.
    fn settle(
        &self,
        agent: &AgentId,
        call: Box<Call>,
        held: Box<HeldMessage>,
        outcome: Outcome,
    ) -> impl Future<Output = ()> + Send;

    /// Sends the outcome of a message that is not held.
    fn send(
        &self,
        agent: &AgentHandle,
        call: &Call,
        destination: Destination,
        outcome: Outcome,
    ) -> impl Future<Output = ()> + Send;

    /// Gives back a held message whose attempt did not begin.
    fn give_back(&self, held: Box<HeldMessage>) -> impl Future<Output = ()> + Send;
}

/// The agent's parts that an instance is created with.
pub(super) struct InstanceSeat {
    pub(super) config: Arc<SharedConfig>,
    /// Receives the messages of the instance's run-time subscriptions.
    pub(super) inbox: mpsc::UnboundedSender<Box<RuntimeMessage>>,
    pub(super) rates: RateLimits,
}

/// A revision of a plugin, as its agents use it.
pub(super) trait Revision: Clone + Send + Sync + 'static {
    /// The parsed manifest.
    fn spec(&self) -> &Arc<PluginSpec>;

    /// The permissions of one of its agents.
    fn permissions(&self, agent: &AgentId) -> Permissions;

    /// The kind of call and the answer for a message of a run-time subscription.
    fn subscribed(&self, subscription: u64, message: &mut Message) -> (Kind, Destination);
}

/// A running component of one agent.
pub(super) trait AgentInstance: Send + 'static {
    /// Calls `start`.
    fn start(&mut self) -> impl Future<Output = Outcome<()>> + Send;

    /// Calls the handler with one message.
    fn handle(&mut self, begun: Instant, call: &Call) -> impl Future<Output = Outcome> + Send;

    /// Calls the handler with a batch.
    fn handle_batch(
        &mut self,
        calls: &mut [Box<Call>],
    ) -> impl Future<Output = Outcome<Vec<Result<Option<Reply>, Failure>>>> + Send;

    /// Delivers a notice.
    fn notify(&mut self, notice: Notice) -> impl Future<Output = Outcome<()>> + Send;

    /// Calls the plugin's health function.
    fn health(&mut self) -> impl Future<Output = Outcome<Health>> + Send;

    /// Calls `stop` and drops the instance.
    fn stop(self, reason: &str) -> impl Future<Output = ()> + Send;

    /// Whether this subscription or watch of the instance is open.
    fn wants(&self, source: &Source) -> bool;

    /// The duration of its last call; none after its end.
    fn took(&self) -> Option<Duration>;
}
