//! Rejected messages of a subscription.
//!
//! A requester gets an error reply, and a dropped message is counted.

use crate::agents::AgentHandle;
use crate::agents::{Offer, Posted};
use crate::delivery::error_reply::send_error;
use crate::delivery::{Delivery, Destination, Reason, ReasonKind, plugin_reply_subject};
use crate::scatter::result_subject;
use mistersmith_nats::{Message, RequestId, Trace};

use super::{Listener, MessageKind, Task};

impl Task {
    /// Rejects messages for which an agent's mailbox has no room.
    pub(super) async fn turn_away(
        &mut self,
        messages: impl IntoIterator<Item = &Posted>,
        handle: &AgentHandle,
    ) {
        let mut reason = None;
        for posted in messages {
            self.count_dropped(1);
            let reason = reason.get_or_insert_with(|| too_much(&self.listener));
            self.refuse_posted(posted, Some(handle), reason).await;
        }
    }

    /// As [`Task::turn_away`], for a question.
    pub(super) async fn turn_question_away(&mut self, question: &Message, handle: &AgentHandle) {
        self.count_dropped(1);
        let reason = too_much(&self.listener);
        self.refuse(question, Some(handle), &reason).await;
    }

    /// As [`Task::turn_away`], for messages that any agent of the plugin could take.
    pub(super) async fn turn_back(&mut self, offers: Vec<Offer>) {
        if offers.is_empty() {
            return;
        }
        let reason = too_much(&self.listener);
        let handles = self.all_handles();
        let handle = handles.first();
        for offer in offers {
            let posted = match offer {
                Offer::Ready(delivery) => {
                    self.count_dropped(1);
                    self.refuse_call(delivery, handle, &reason).await;
                    continue;
                }
                Offer::Posted(posted) => vec![posted],
                Offer::Batch(batch) => batch,
            };
            for posted in &posted {
                self.count_dropped(1);
                self.refuse_posted(posted, handle, &reason).await;
            }
        }
    }

    async fn refuse_posted(&self, posted: &Posted, handle: Option<&AgentHandle>, reason: &Reason) {
        let message = posted.message();
        self.log(&message.subject, reason);
        if let (Some((to, connection)), Some(handle)) = (posted.answered(), handle) {
            let trace = Trace::received(&message.headers, RequestId::new);
            send_error(connection, to, &handle.id, &trace, reason).await;
        }
    }

    async fn refuse_call(&self, refused: Delivery, handle: Option<&AgentHandle>, reason: &Reason) {
        let Delivery {
            call, destination, ..
        } = refused;
        self.log(&call.subject, reason);
        if let (
            Destination::Reply { to, connection } | Destination::Gather { to, connection },
            Some(handle),
        ) = (destination, handle)
        {
            send_error(&connection, &to, &handle.id, &call.trace, reason).await;
        }
    }

    fn log(&self, subject: &str, reason: &Reason) {
        let plugin = &self.listener.plugin;
        tracing::debug!(%plugin, subject, kind = %reason.kind, "{}", reason.message);
    }

    /// Rejects a message that must wake no agent. The sender of a question waits for each agent;
    /// any other sender for one.
    pub(super) async fn refuse_all(&mut self, message: &Message, reason: &Reason) {
        let handles = self.handles(message);
        let one = self.listener.kind == MessageKind::Messages || self.queue.is_some();
        for handle in handles.iter().take(if one { 1 } else { usize::MAX }) {
            self.refuse(message, Some(handle), reason).await;
        }
    }

    /// Rejects a message for which the queue group chose a host whose only agent is the sender.
    pub(super) async fn refuse_own(&mut self, message: &Message) {
        let plugin = &self.listener.plugin;
        let text = format!(
            "the queue group chose this host, whose only agent of plugin `{plugin}` is the sender; \
             run more agents or hosts, or ask without a queue group"
        );
        let reason = Reason::new(ReasonKind::Unavailable, text);
        let handles = self.all_handles();
        self.refuse(message, handles.first(), &reason).await;
    }

    async fn refuse(&self, message: &Message, handle: Option<&AgentHandle>, reason: &Reason) {
        self.log(&message.subject, reason);
        let to = match self.listener.kind {
            MessageKind::Messages => plugin_reply_subject(message).map(str::to_owned),
            MessageKind::Questions => result_subject(message),
        };
        if let (Some(to), Some(handle)) = (to, handle) {
            let trace = Trace::received(&message.headers, RequestId::new);
            send_error(&self.listener.connection, &to, &handle.id, &trace, reason).await;
        }
    }

    pub(super) fn count_dropped(&mut self, more: u64) {
        if more == 0 {
            return;
        }
        let before = self.dropped;
        self.dropped += more;
        // Logged when the count passes a power of two: soon visible, and never a flood.
        if before == 0 || before.ilog2() < self.dropped.ilog2() {
            tracing::warn!(plugin = %self.listener.plugin, dropped = self.dropped,
                "messages dropped: the agents do not keep up with their subscriptions; \
                give the plugin more instances");
        }
    }
}

/// The reason for rejecting a message beyond capacity.
fn too_much(listener: &Listener) -> Reason {
    Reason::new(
        ReasonKind::Busy,
        format!(
            "plugin `{}`: as many messages as it may have wait for its agents already; try again \
             later, or give it more instances",
            listener.plugin
        ),
    )
}
