//! From a subscription into the hands of agents: the first of a queue group that is free, or each.

use std::sync::Arc;

use crate::patterns::delivery::{Delivery, call, subscribed, waiting_bytes};
use crate::patterns::directory::AgentPort;
use crate::patterns::mailbox::{PLACE, Run};
use crate::patterns::posted::{Offer, Posted};
use crate::patterns::scatter::{asked, asks};
use crate::permissions::reserved::may_reply_to;
use crate::transport::{Charge, Message, RequestId, Trace};

use super::{Task, What};

/// So many messages are offered together; the lock and the counts that they cost are shared with the
/// agents.
const TOGETHER: usize = 32;

impl Task {
    /// Hands a message to one agent or to each, as far as there is room for it.
    pub(super) async fn hand(&mut self, message: Message) {
        if self.listener.what == What::Questions {
            return self.hand_question(message).await;
        }
        let posted = self.posted(message);
        if self.queue.is_some() {
            self.ready.push(Offer::Posted(posted));
        } else {
            self.heard.push(posted);
        }
        // Nobody waits for more than one look at what has come, and an idle agent for nothing.
        let ready = self.ready.len() + self.heard.len();
        if ready >= TOGETHER || self.listener.crew.idle() > 0 {
            self.offer_ready().await;
        }
    }

    /// Offers what was found since the last time to the agents of the plugin.
    pub(super) async fn offer_ready(&mut self) {
        if !self.heard.is_empty() {
            let mut heard = std::mem::take(&mut self.heard);
            self.hand_run(&mut heard, false).await;
            self.heard = heard;
        }
        if !self.ready.is_empty() {
            let crowded = self.listener.crew.offer_all(self.ready.drain(..));
            self.turn_back(crowded).await;
        }
    }

    /// Hands messages over together, to one agent or to each, as far as there is room for them.
    pub(super) async fn hand_together(&mut self, messages: Vec<Message>) {
        let posted = messages.into_iter().map(|message| self.posted(message));
        let mut posted: Vec<Posted> = posted.collect();
        if self.queue.is_some() {
            let crowded = self.listener.crew.offer_all([Offer::Batch(posted)]);
            return self.turn_back(crowded).await;
        }
        self.hand_run(&mut posted, true).await;
    }

    /// Into the mailbox of each agent, as far as there is room. What they get is held once. Leaves the
    /// vector empty.
    async fn hand_run(&mut self, messages: &mut Vec<Posted>, together: bool) {
        let ports = self.all_ports();
        let places = ports.len().saturating_mul(PLACE);
        let Some((charge, crowded)) = self.room_for(messages, places) else {
            return messages.clear();
        };
        for port in ports.iter() {
            self.turn_away(&crowded, port).await;
        }
        let Some(run) = Run::new(messages.drain(..), together, charge) else {
            return;
        };
        let run = Arc::new(run);
        let most = self.listener.crew.share(ports.len());
        let mut last: Option<&AgentPort> = None;
        for port in ports.iter() {
            if !port.mailbox.has_room(most) {
                self.turn_away(run.messages(), port).await;
            } else if let Some(before) = last.replace(port) {
                before.mailbox.post(run.clone());
            }
        }
        // Where there is one agent only, it does not find that others have it too.
        if let Some(last) = last {
            last.mailbox.post(run);
        }
    }

    /// Room for all of the messages, or for those for which there is some; the others are taken out and
    /// returned. None where there is nobody to hand them to.
    fn room_for(&self, messages: &mut Vec<Posted>, places: usize) -> Option<(Charge, Vec<Posted>)> {
        if places == 0 {
            return None;
        }
        let room = &self.listener.crew.room;
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

    /// Whom a question is for depends on who asks.
    async fn hand_question(&mut self, message: Message) {
        if self.queue.is_some() {
            let question = self.question(message, None);
            let crowded = self.listener.crew.offer_all([Offer::Ready(question)]);
            return self.turn_back(crowded).await;
        }
        let bytes = waiting_bytes(message.bytes());
        for port in self.ports(&message).iter() {
            let room = port.mailbox.has_room(usize::MAX);
            let weight = self.listener.crew.room.take(bytes).filter(|_| room);
            match weight {
                Some(weight) => {
                    let question = self.question(message.clone(), Some(weight));
                    port.mailbox.send(question);
                }
                None => self.turn_question_away(&message, port).await,
            }
        }
    }

    /// The agents of the plugin that a message is for.
    pub(super) fn ports(&mut self, message: &Message) -> Arc<[AgentPort]> {
        let ports = self.all_ports();
        if self.listener.what == What::Messages {
            return ports;
        }
        let asked = ports
            .iter()
            .filter(|port| !asks(&port.id, &message.headers));
        asked.cloned().collect()
    }

    pub(super) fn all_ports(&mut self) -> Arc<[AgentPort]> {
        let listener = &self.listener;
        listener
            .directory
            .call_roll(&listener.plugin, &mut self.roll)
    }

    /// A message as it waits: with its reply subject only if an answer may go there.
    fn posted(&mut self, mut message: Message) -> Posted {
        let may_answer = self.ear.answers(&message.subject);
        let reply = message.reply.take();
        message.reply = reply.filter(|reply| may_answer && may_reply_to(reply));
        Posted::new(message, &self.listener.link)
    }

    /// A question as it waits.
    fn question(&mut self, mut message: Message, weight: Option<Charge>) -> Delivery {
        let trace = Trace::received(&message.headers, RequestId::new);
        let link = &self.listener.link;
        let asked = asked(&message, link);
        // Without an id it is none, and was not let through.
        let (kind, answer) = asked.unwrap_or_else(|| subscribed(None, &mut message, false, link));
        Delivery {
            call: call(kind, message, trace),
            answer,
            weight,
            rest: None,
        }
    }
}
