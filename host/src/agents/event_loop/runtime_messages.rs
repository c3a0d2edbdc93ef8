//! Messages of run-time subscriptions and workflow watches of an instance.

use crate::delivery::{Delivery, call};
use mistersmith_nats::{Message, RequestId, Trace};
use mistersmith_runtime::{Notice, RuntimeMessage, Source};

use super::super::event_loop::EventLoop;
use super::super::loop_port::{AgentInstance, AgentPort, Revision};

impl<P: AgentPort> EventLoop<P> {
    pub(super) async fn handle_runtime_message(&mut self, mut received: Box<RuntimeMessage>) {
        let wanted = |instance: &P::Instance| instance.wants(&received.source);
        if !self.instance.as_ref().is_some_and(wanted) {
            return;
        }
        let subscription = match received.source {
            Source::Subscription(id) => id,
            Source::Workflow(workflow) => {
                return self.notify_of_event(&workflow, received.message).await;
            }
        };
        let trace = Trace::received(&received.message.headers, RequestId::new);
        let (kind, destination) = self
            .revision
            .subscribed(subscription, &mut received.message);
        let call = call(kind, received.message, trace);
        self.handle(Delivery {
            call,
            destination,
            charge: None,
            rest: None,
        })
        .await;
    }

    /// Notifies the instance of an event of a workflow that it watches.
    async fn notify_of_event(&mut self, workflow: &str, message: Message) {
        let event = message.subject.rsplit('.').next().unwrap_or_default();
        self.notify(Notice::Coordination {
            workflow: workflow.to_owned(),
            event: event.to_owned(),
            payload: message.payload,
        })
        .await;
    }
}
