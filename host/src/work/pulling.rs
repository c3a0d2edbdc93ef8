//! Pulling over NATS: connects a work queue to JetStream consumers, the agents and the settler.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use mistersmith_core::limits;
use mistersmith_nats::{JetStreamMessage, Pull, Puller, TransportError};

use super::consumer::WorkConsumer;
use super::intake::{Intake, QueueContext};
use super::port::{PullPort, RunningPull};
use super::queue::WorkQueue;
use crate::agents::PluginQueue;
use crate::delivery::{Delivery, Destination};
use crate::settle::Settler;

/// Pulls from the consumers of one plugin until cancelled; then cancels its pulls. Messages already
/// in the plugin queue stay there.
pub async fn pull(context: QueueContext, consumers: Vec<WorkConsumer>, cancel: CancellationToken) {
    WorkQueue::new(Intake::new(context), consumers)
        .run(cancel)
        .await;
}

impl PullPort for Intake {
    type Puller = Puller;
    type Pull = Pull;

    fn puller(&self, consumer: &WorkConsumer) -> Puller {
        let connection = &self.context().connection;
        connection.puller(consumer.stream, &consumer.durable)
    }

    async fn pull(puller: &Puller, most: usize, expires: Duration) -> Result<Pull, TransportError> {
        puller.pull(most, expires).await
    }

    fn clear(&self, puller: &Puller) -> impl Future<Output = ()> + Send + 'static {
        clear(puller.clone(), self.context().settler.clone())
    }

    async fn receive(
        &self,
        consumer: &WorkConsumer,
        message: JetStreamMessage,
    ) -> Option<BoxFuture<'static, ()>> {
        self.take_in(consumer, message).await
    }

    fn stop_receiving(&self) {
        self.stop();
    }

    fn plugin_queue(&self) -> &Arc<PluginQueue> {
        &self.context().plugin_queue
    }

    async fn give_back_waiting(&self) {
        give_back_waiting(&self.context().plugin_queue, &self.context().settler).await;
    }

    fn is_stuck(&self) -> bool {
        self.context().settler.is_stuck()
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.context().connection.changes()
    }

    fn is_connected(&self) -> bool {
        self.context().connection.is_connected()
    }

    fn revivals(&self) -> u64 {
        self.context().connection.revivals()
    }
}

impl RunningPull for Pull {
    type Message = JetStreamMessage;

    async fn next(&mut self) -> Option<Result<JetStreamMessage, TransportError>> {
        Self::next(self).await
    }

    async fn stop(&mut self) {
        Self::stop(self).await;
    }

    fn backlog(message: &JetStreamMessage) -> u64 {
        message.info.pending
    }
}

/// Removes messages that break the connection at each delivery.
async fn clear(puller: Puller, settler: Settler) {
    match puller.unreadable(limits::MAX_LOOK).await {
        Ok(found) => {
            for message in &found {
                settler.quarantine(message).await;
            }
        }
        Err(error) => tracing::debug!(%error, "not looked for unreadable messages"),
    }
}

/// Gives back the items that wait for an agent when no agent will soon be free. Messages of
/// subscriptions stay: they would not be delivered to another host.
pub async fn give_back_waiting(plugin_queue: &PluginQueue, settler: &Settler) {
    for _ in 0..plugin_queue.waiting() {
        let Some(delivery) = plugin_queue.try_take() else {
            return;
        };
        match delivery.destination {
            Destination::HeldMessage(held) => settler.give_back(held).await,
            destination => plugin_queue.offer(Delivery {
                destination,
                ..delivery
            }),
        }
    }
}
