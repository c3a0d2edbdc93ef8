//! Dispatch of a subscription's messages: to the first free agent of a queue group, or to each.

use std::sync::Arc;

use crate::agents::{AgentHandle, Offer, PLACE, Posted, Run};
use crate::delivery::{Delivery, call, subscribed, waiting_bytes};
use crate::scatter::{asked, asks};
use mistersmith_core::byte_budget::ByteCharge;
use mistersmith_core::permissions::reserved::may_reply_to;
use mistersmith_nats::{Message, RequestId, Trace};

use super::{MessageKind, Task};

/// Most messages offered together; they share the cost of the lock and of the counters that the
/// agents use too.
const TOGETHER: usize = 32;

impl Task {
    /// Hands a message to one agent or to each, as far as there is room for it.
    pub(super) async fn hand(&mut self, message: Message) {
        if self.listener.kind == MessageKind::Questions {
            return self.hand_question(message).await;
        }
        let posted = self.posted(message);
        if self.queue.is_some() {
            self.ready.push(Offer::Posted(posted));
        } else {
            self.for_each.push(posted);
        }
        // No message waits longer than one round of received messages; with an idle agent none
        // waits.
        let ready = self.ready.len() + self.for_each.len();
        if ready >= TOGETHER || self.listener.plugin_queue.idle() > 0 {
            self.offer_ready().await;
        }
    }

    /// Offers the messages collected since the last call to the agents of the plugin.
    pub(super) async fn offer_ready(&mut self) {
        if !self.for_each.is_empty() {
            let mut posted = std::mem::take(&mut self.for_each);
            self.hand_run(&mut posted, false).await;
            self.for_each = posted;
        }
        if !self.ready.is_empty() {
            let crowded = self.listener.plugin_queue.offer_all(self.ready.drain(..));
            self.turn_back(crowded).await;
        }
    }

    /// Hands messages over together, to one agent or to each, as far as there is room for them.
    pub(super) async fn hand_together(&mut self, messages: Vec<Message>) {
        let posted = messages.into_iter().map(|message| self.posted(message));
        let mut posted: Vec<Posted> = posted.collect();
        if self.queue.is_some() {
            let crowded = self.listener.plugin_queue.offer_all([Offer::Batch(posted)]);
            return self.turn_back(crowded).await;
        }
        self.hand_run(&mut posted, true).await;
    }

    /// Puts messages into the mailbox of each agent, as far as there is room. The agents share one
    /// copy. Leaves the vector empty.
    async fn hand_run(&mut self, messages: &mut Vec<Posted>, together: bool) {
        let handles = self.all_handles();
        let places = handles.len().saturating_mul(PLACE);
        let Some((charge, crowded)) = self.room_for(messages, places) else {
            return messages.clear();
        };
        for handle in handles.iter() {
            self.turn_away(&crowded, handle).await;
        }
        let Some(run) = Run::new(messages.drain(..), together, charge) else {
            return;
        };
        let run = Arc::new(run);
        let most = self.listener.plugin_queue.share(handles.len());
        let mut last: Option<&AgentHandle> = None;
        for handle in handles.iter() {
            if !handle.mailbox.has_room(most) {
                self.turn_away(run.messages(), handle).await;
            } else if let Some(before) = last.replace(handle) {
                before.mailbox.post(run.clone());
            }
        }
        // A single agent does not see a shared copy.
        if let Some(last) = last {
            last.mailbox.post(run);
        }
    }

    /// Reserves room for all messages, or for some of them; the others are removed and returned.
    /// None where there is no agent to hand them to.
    fn room_for(
        &self,
        messages: &mut Vec<Posted>,
        places: usize,
    ) -> Option<(ByteCharge, Vec<Posted>)> {
        if places == 0 {
            return None;
        }
        let room = &self.listener.plugin_queue.room;
        let each = messages.iter().map(Posted::waiting_bytes);
        let all = each.fold(places, usize::saturating_add);
        if let Some(charge) = room.take(all) {
            return Some((charge, Vec::new()));
        }
        let mut charge = room.nothing();
        let has_none = |posted: &mut Posted| {
            let bytes = posted.waiting_bytes().saturating_add(places);
            !charge.grow(bytes, 0)
        };
        let crowded = messages.extract_if(.., has_none).collect();
        Some((charge, crowded))
    }

    /// Hands over a question; the agents that get it depend on the sender.
    async fn hand_question(&mut self, message: Message) {
        if self.queue.is_some() {
            let question = self.question(message, None);
            let crowded = self
                .listener
                .plugin_queue
                .offer_all([Offer::Ready(question)]);
            return self.turn_back(crowded).await;
        }
        let bytes = waiting_bytes(message.bytes());
        for handle in self.handles(&message).iter() {
            let room = handle.mailbox.has_room(usize::MAX);
            let charge = self.listener.plugin_queue.room.take(bytes).filter(|_| room);
            match charge {
                Some(charge) => {
                    let question = self.question(message.clone(), Some(charge));
                    handle.mailbox.send(question);
                }
                None => self.turn_question_away(&message, handle).await,
            }
        }
    }

    /// The agents of the plugin that a message is for.
    pub(super) fn handles(&mut self, message: &Message) -> Arc<[AgentHandle]> {
        let handles = self.all_handles();
        if self.listener.kind == MessageKind::Messages {
            return handles;
        }
        let asked = handles
            .iter()
            .filter(|handle| !asks(&handle.id, &message.headers));
        asked.cloned().collect()
    }

    pub(super) fn all_handles(&mut self) -> Arc<[AgentHandle]> {
        let listener = &self.listener;
        listener
            .directory
            .snapshot(&listener.plugin, &mut self.snapshots)
    }

    /// The queued form of a message: with its reply subject only if an answer may go there.
    fn posted(&mut self, mut message: Message) -> Posted {
        let may_answer = self.subjects.may_answer(&message.subject);
        let reply = message.reply.take();
        message.reply = reply.filter(|reply| may_answer && may_reply_to(reply));
        Posted::new(message, &self.listener.connection)
    }

    /// The queued form of a question.
    fn question(&mut self, mut message: Message, charge: Option<ByteCharge>) -> Delivery {
        let trace = Trace::received(&message.headers, RequestId::new);
        let connection = &self.listener.connection;
        let asked = asked(&message, connection);
        // A message without request id is no question, and was not admitted.
        let (kind, destination) =
            asked.unwrap_or_else(|| subscribed(None, &mut message, false, connection));
        Delivery {
            call: call(kind, message, trace),
            destination,
            charge,
            rest: None,
        }
    }
}
