//! Intake of delivered messages, from the consumer to the plugin queue.
//!
//! Each message is held, counted, completed with its payload, and admitted.
//!
//! A plain item in its first delivery is queued directly. Every step that needs the server first
//! runs as a separate future, so that it never holds up the pulling.

use std::sync::Arc;
use std::time::Instant;

use futures_util::future::{BoxFuture, ready};
use tokio_util::sync::CancellationToken;

use mistersmith_core::config::Schema;
use mistersmith_core::names::Priority;
use mistersmith_nats::{CLAIM, Connection, JetStreamMessage, Message, Trace};
use mistersmith_runtime::{Call, Kind};

use super::completion::WorkResult;
use super::consumer::{Source, WorkConsumer};
use super::payloads::{Found, Payloads};
use crate::agents::PluginQueue;
use crate::delivery::ack_progress::AckProgress;
use crate::delivery::attempts::{Admission, Tries};
use crate::delivery::{Arrival, Completion, Delivery, Destination, HeldMessage, admit, call};
use crate::settle::Settler;

/// The parts of the host that a work queue uses.
#[derive(Debug, Clone)]
pub struct QueueContext {
    /// The connection for work.
    pub connection: Connection,
    /// The queue of the plugin's agents.
    pub plugin_queue: Arc<PluginQueue>,
    /// Sends in-progress acks for held items, so that they are not delivered again.
    pub ack_progress: Arc<AckProgress>,
    /// Settles items that must not wake the plugin.
    pub settler: Settler,
    /// Fetches payloads from the object store.
    pub payloads: Payloads,
    /// Largest payload that wakes the plugin, in bytes.
    pub payload: usize,
}

/// Receives the messages that the consumers of one plugin deliver.
pub(super) struct Intake {
    context: Arc<QueueContext>,
    /// Stores the results of work items.
    results: Arc<dyn Completion>,
    /// Cancels payload fetches; their messages are given back.
    stop: CancellationToken,
}

impl Intake {
    pub(super) fn new(context: QueueContext) -> Self {
        let connection = context.connection.clone();
        Self {
            context: Arc::new(context),
            results: Arc::new(WorkResult { connection }),
            stop: CancellationToken::new(),
        }
    }

    /// The parts of the host that the intake uses.
    pub(super) fn context(&self) -> &QueueContext {
        &self.context
    }

    /// Cancels payload fetches; their messages are given back.
    pub(super) fn stop(&self) {
        self.stop.cancel();
    }

    /// Receives a message. Returns any remaining work as a future for the caller to drive.
    pub(super) async fn take_in(
        &self,
        consumer: &WorkConsumer,
        delivered: JetStreamMessage,
    ) -> Option<BoxFuture<'static, ()>> {
        let JetStreamMessage {
            message,
            info,
            acker,
        } = delivered;
        // A message held already is delivered again when its in-progress ack was late.
        let in_progress = self.context.ack_progress.keep(&info, &acker)?;
        let mut held = Box::new(HeldMessage {
            in_progress,
            acker,
            info,
            rule: consumer.rule.clone(),
            tries: Tries::default(),
            completion: None,
            claimed: None,
            idempotence_key: None,
            fence: None,
        });
        let settler = self.context.settler.clone();
        let (priority, schema) = match &consumer.source {
            Source::Stage(stage) => {
                return Some(self.arrives(stage.clone().receive(message, held, settler)));
            }
            Source::Work { priority, schema } => (*priority, schema.clone()),
        };
        held.completion = Some(self.results.clone());
        if held.info.deliveries > 1 {
            let again = admit_again((priority, schema), message, held, settler);
            return Some(self.arrives(again));
        }
        let call = call_of(priority, message, &held);
        let arrival = Arrival { call, held, schema };
        if arrival.call.headers.get(CLAIM).is_some() {
            return Some(self.arrives(ready(Some(arrival))));
        }
        self.context.hand_over(arrival, Found::Whole).await;
        None
    }

    /// Hands over a message that is classified and has its payload.
    fn arrives(
        &self,
        arriving: impl Future<Output = Option<Arrival>> + Send + 'static,
    ) -> BoxFuture<'static, ()> {
        let (context, stop) = (self.context.clone(), self.stop.clone());
        Box::pin(async move {
            let Some(mut arrival) = arriving.await else {
                return;
            };
            let payloads = &context.payloads;
            let found = payloads.fetch(&mut arrival, context.payload, &stop).await;
            context.hand_over(arrival, found).await;
        })
    }
}

impl QueueContext {
    /// Queues a message with its payload for the agents, unless it must not wake the plugin.
    async fn hand_over(&self, arrival: Arrival, found: Found) {
        let Arrival { call, held, schema } = arrival;
        let refused = match found {
            Found::Whole => admit(&call.payload, self.payload, schema.as_ref()).err(),
            Found::Refused(reason) => Some(reason),
            Found::Later(delay) => return self.settler.put_off(held, delay).await,
        };
        match refused {
            Some(reason) => self.settler.dead_letter(call, held, reason).await,
            None => self.plugin_queue.offer(Delivery {
                call,
                destination: Destination::HeldMessage(held),
                charge: None,
                rest: None,
            }),
        }
    }
}

/// Admits a redelivered item once its number of attempts is known; returns it if it is to be
/// handled.
async fn admit_again(
    (priority, schema): (Priority, Option<Schema>),
    message: Message,
    mut held: Box<HeldMessage>,
    settler: Settler,
) -> Option<Arrival> {
    let admission = settler
        .attempts()
        .admit(held.counted(), Instant::now())
        .await;
    let call = call_of(priority, message, &held);
    match admission {
        Admission::Granted => return Some(Arrival { call, held, schema }),
        Admission::Refused(reason) => settler.dead_letter(call, held, reason).await,
        Admission::Later(delay) => settler.put_off(held, delay).await,
    }
    None
}

/// The agent's call for a work item.
fn call_of(priority: Priority, mut message: Message, held: &HeldMessage) -> Box<Call> {
    let (retries, sequence) = (held.retries(), held.info.stream_sequence);
    let trace = Trace::received(&message.headers, || format!("wq-{sequence}"));
    message.headers.set("X-Retry-Count", &retries.to_string());
    message.headers.set("X-Priority", priority.as_str());
    let kind = Kind::Work { priority, retries };
    call(kind, message, trace.at(priority))
}
