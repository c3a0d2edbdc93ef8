//! What reaches an agent because its instance asked for it at run time.

use crate::patterns::Delivery;
use crate::patterns::delivery::{call, subscribed};
use crate::permissions::reserved::may_answer;
use crate::runtime::{Heard, Instance, Notice, Source};
use crate::transport::{Message, RequestId, Trace};

use super::Life;

impl Life {
    pub(super) async fn handle_heard(&mut self, mut heard: Box<Heard>) {
        let wanted = |instance: &Instance| instance.wants(&heard.source);
        if !self.instance.as_ref().is_some_and(wanted) {
            return;
        }
        let subscription = match heard.source {
            Source::Subscription(id) => id,
            Source::Workflow(workflow) => {
                return self.notify_of_event(&workflow, heard.message).await;
            }
        };
        let trace = Trace::received(&heard.message.headers, RequestId::new);
        let link = &self.version.link;
        let may_answer = may_answer(&heard.message.subject);
        let (kind, answer) = subscribed(Some(subscription), &mut heard.message, may_answer, link);
        let call = call(kind, heard.message, trace);
        self.handle(Delivery {
            call,
            answer,
            weight: None,
            rest: None,
        })
        .await;
    }

    /// An event of a workflow that the instance watches.
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
