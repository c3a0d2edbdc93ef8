//! The port between a work queue and its host: consumers, intake, agents.
//!
//! Tests implement it in memory.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::watch;

use mistersmith_nats::TransportError;

use super::consumer::WorkConsumer;
use crate::agents::PluginQueue;

/// Consumers that can be pulled, and the intake of their messages.
pub(super) trait PullPort: Send + Sync + 'static {
    /// Pulls from one consumer. Clones pull from the same one.
    type Puller: Clone + Send + Sync + 'static;
    /// One running pull.
    type Pull: RunningPull;

    /// A puller for this consumer.
    fn puller(&self, consumer: &WorkConsumer) -> Self::Puller;

    /// Requests up to `most` messages until `expires`; zero: only those available now.
    fn pull(
        puller: &Self::Puller,
        most: usize,
        expires: Duration,
    ) -> impl Future<Output = Result<Self::Pull, TransportError>> + Send;

    /// Removes messages that break the connection at each delivery.
    fn clear(&self, puller: &Self::Puller) -> impl Future<Output = ()> + Send + 'static;

    /// Receives a message. Returns any remaining work as a future for the caller to drive.
    fn receive(
        &self,
        consumer: &WorkConsumer,
        message: <Self::Pull as RunningPull>::Message,
    ) -> impl Future<Output = Option<BoxFuture<'static, ()>>> + Send;

    /// Cancels messages still in intake: they are given back.
    fn stop_receiving(&self);

    /// The queue of the plugin's agents.
    fn plugin_queue(&self) -> &Arc<PluginQueue>;

    /// Gives back the items that wait for an agent.
    fn give_back_waiting(&self) -> impl Future<Output = ()> + Send;

    /// Whether so many settlements are pending that no further items may begin.
    fn is_stuck(&self) -> bool;

    /// Changes with the state of the connection.
    fn changes(&self) -> watch::Receiver<u64>;

    /// Whether there is a connection.
    fn is_connected(&self) -> bool;

    /// Number of times that an unreadable message broke the connection and it was replaced.
    fn revivals(&self) -> u64;
}

/// One running pull.
pub(super) trait RunningPull: Send + 'static {
    /// The message that it delivers.
    type Message: Send + 'static;

    /// The next message; none when the pull is over. An error ends the pull. Cancel safe.
    fn next(
        &mut self,
    ) -> impl Future<Output = Option<Result<Self::Message, TransportError>>> + Send;

    /// Cancels the pull. Messages in flight still arrive.
    fn stop(&mut self) -> impl Future<Output = ()> + Send;

    /// Number of messages the consumer held when it delivered this one.
    fn backlog(message: &Self::Message) -> u64;
}
