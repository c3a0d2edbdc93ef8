//! From a subscription into the hands of agents: the first of a queue group that is free, or each.

use std::sync::Arc;

use crate::patterns::crew::Weight;
use crate::patterns::delivery::{Answer, Delivery, call, subscribed};
use crate::patterns::directory::AgentPort;
use crate::patterns::scatter::{asked, asks};
use crate::runtime::Kind;
use crate::transport::{Message, RequestId, Trace};

use super::{Task, What};

/// So many messages of a queue group are offered together; the lock that they cost is shared with the
/// agents.
const TOGETHER: usize = 32;

impl Task {
    /// Hands a message to one agent or to each, as far as there is room for it.
    pub(super) async fn hand(&mut self, message: Message) {
        if self.queue.is_none() {
            return self.hand_to_each(message).await;
        }
        let delivery = self.delivery(message, None);
        self.ready.push(delivery);
        // Nobody waits for more than one look at what has come, and an idle agent for nothing.
        if self.ready.len() >= TOGETHER || self.listener.crew.idle() > 0 {
            self.offer_ready().await;
        }
    }

    /// Offers what was found since the last time to the agents of the plugin.
    pub(super) async fn offer_ready(&mut self) {
        if self.ready.is_empty() {
            return;
        }
        let crowded = self.listener.crew.offer_all(self.ready.drain(..));
        self.turn_back(crowded).await;
    }

    async fn hand_to_each(&mut self, message: Message) {
        let ports = self.ports(&message);
        let Some((last, others)) = ports.split_last() else {
            return;
        };
        for port in others {
            self.hand_to(port, message.clone()).await;
        }
        self.hand_to(last, message).await;
    }

    async fn hand_to(&mut self, port: &AgentPort, message: Message) {
        if let Some(weight) = self.listener.crew.weigh(message.payload.len())
            && let Ok(place) = port.mailbox.try_reserve()
        {
            return place.send(Box::new(self.delivery(message, Some(weight))));
        }
        self.turn_away(&[message], Some(port)).await;
    }

    /// Hands messages over together, to one agent or to each, as far as there is room for them.
    pub(super) async fn hand_together(&mut self, messages: Vec<Message>) {
        let Some(first) = messages.first() else {
            return;
        };
        if self.queue.is_some() {
            let mut deliveries = messages.into_iter().map(|m| self.delivery(m, None));
            let batch = deliveries.next().map(|first| Delivery {
                rest: Some(deliveries.collect()),
                ..first
            });
            let crowded = self.listener.crew.offer_all(batch);
            return self.turn_back(crowded).await;
        }
        let ports = self.ports(first);
        let Some((last, others)) = ports.split_last() else {
            return;
        };
        for port in others {
            self.hand_all_to(port, messages.clone()).await;
        }
        self.hand_all_to(last, messages).await;
    }

    async fn hand_all_to(&mut self, port: &AgentPort, messages: Vec<Message>) {
        let crowded = match port.mailbox.try_reserve() {
            Ok(place) => {
                let (fits, crowded) = self.weighed(messages);
                if let Some(delivery) = fits {
                    place.send(Box::new(delivery));
                }
                crowded
            }
            Err(_) => messages,
        };
        self.turn_away(&crowded, Some(port)).await;
    }

    /// The messages that there is room for, as one delivery, and those that there is none for.
    fn weighed(&mut self, messages: Vec<Message>) -> (Option<Delivery>, Vec<Message>) {
        let (mut first, mut crowded) = (None, Vec::new());
        let mut rest = Vec::with_capacity(messages.len().saturating_sub(1));
        for message in messages {
            match self.listener.crew.weigh(message.payload.len()) {
                Some(weight) if first.is_none() => {
                    first = Some(self.delivery(message, Some(weight)));
                }
                Some(weight) => rest.push(self.delivery(message, Some(weight))),
                None => crowded.push(message),
            }
        }
        let fits = first.map(|first| Delivery {
            rest: Some(rest),
            ..first
        });
        (fits, crowded)
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

    fn delivery(&mut self, message: Message, weight: Option<Weight>) -> Delivery {
        let trace = Trace::received(&message.headers, RequestId::new);
        let (kind, answer) = self.called_with(&message);
        Delivery {
            call: call(kind, message, trace),
            answer,
            weight,
            rest: None,
        }
    }

    fn called_with(&mut self, message: &Message) -> (Kind, Answer) {
        if self.listener.what == What::Questions
            && let Some(asked) = asked(message, &self.listener.link)
        {
            return asked;
        }
        let may_answer = self.ear.answers(&message.subject);
        subscribed(None, message, may_answer, &self.listener.link)
    }
}
