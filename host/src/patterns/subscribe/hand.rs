//! From a subscription into the hands of agents: the first of a queue group that is free, or each.

use std::sync::Arc;

use crate::patterns::crew::Weight;
use crate::patterns::delivery::{Answer, Delivery, call, subscribed};
use crate::patterns::directory::AgentPort;
use crate::patterns::scatter::{asked, asks};
use crate::runtime::Kind;
use crate::transport::{Message, RequestId, Trace};

use super::{Task, What};

/// So many messages are offered together; the lock and the counts that they cost are shared with the
/// agents.
const TOGETHER: usize = 32;

impl Task {
    /// Hands a message to one agent or to each, as far as there is room for it.
    pub(super) async fn hand(&mut self, message: Message) {
        if self.queue.is_some() {
            let delivery = self.delivery(message, None);
            self.ready.push(delivery);
        } else if self.listener.what == What::Messages {
            self.heard.push(message);
        } else {
            return self.hand_question(message).await;
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
            let mut messages = std::mem::take(&mut self.heard);
            self.hand_to_each(&mut messages).await;
            messages.clear();
            self.heard = messages;
        }
        if self.ready.is_empty() {
            return;
        }
        let crowded = self.listener.crew.offer_all(self.ready.drain(..));
        self.turn_back(crowded).await;
    }

    async fn hand_to_each(&mut self, messages: &mut Vec<Message>) {
        let ports = self.all_ports();
        let Some((last, others)) = ports.split_last() else {
            return;
        };
        for port in others {
            self.hand_run(port, &mut messages.clone()).await;
        }
        self.hand_run(last, messages).await;
    }

    /// One after the other into the mailbox of an agent, where there is room for all of them in one go.
    async fn hand_run(&mut self, port: &AgentPort, messages: &mut Vec<Message>) {
        let payloads = messages.iter().map(|message| message.payload.len());
        let weight = self.listener.crew.weigh_all(payloads);
        let places = port.mailbox.try_reserve_many(messages.len());
        let (Some(weight), Ok(places)) = (weight, places) else {
            for message in messages.drain(..) {
                self.hand_to(port, message).await;
            }
            return;
        };
        // They take room until the last of them is taken.
        let none = std::iter::repeat_with(|| None).take(messages.len().saturating_sub(1));
        let weights = none.chain([Some(weight)]);
        for ((place, message), weight) in places.zip(messages.drain(..)).zip(weights) {
            place.send(Box::new(self.delivery(message, weight)));
        }
    }

    /// Whom a question is for depends on who asks.
    async fn hand_question(&mut self, message: Message) {
        for port in self.ports(&message).iter() {
            self.hand_to(port, message.clone()).await;
        }
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
            let deliveries = messages.into_iter().map(|m| self.delivery(m, None));
            let batch = batch_of(deliveries.collect());
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
        let (mut fits, mut crowded) = (Vec::with_capacity(messages.len()), Vec::new());
        let payloads = messages.iter().map(|message| message.payload.len());
        let mut together = self.listener.crew.weigh_all(payloads);
        let all = together.is_some();
        for message in messages {
            let alone = || self.listener.crew.weigh(message.payload.len());
            let weight = if all { together.take() } else { alone() };
            if all || weight.is_some() {
                fits.push(self.delivery(message, weight));
            } else {
                crowded.push(message);
            }
        }
        (batch_of(fits), crowded)
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

    fn delivery(&mut self, mut message: Message, weight: Option<Weight>) -> Delivery {
        let trace = Trace::received(&message.headers, RequestId::new);
        let (kind, answer) = self.called_with(&mut message);
        Delivery {
            call: call(kind, message, trace),
            answer,
            weight,
            rest: None,
        }
    }

    fn called_with(&mut self, message: &mut Message) -> (Kind, Answer) {
        if self.listener.what == What::Questions
            && let Some(asked) = asked(message, &self.listener.link)
        {
            return asked;
        }
        let may_answer = self.ear.answers(&message.subject);
        subscribed(None, message, may_answer, &self.listener.link)
    }
}

/// Messages that are handed over together.
fn batch_of(deliveries: Vec<Delivery>) -> Option<Delivery> {
    let mut deliveries = deliveries.into_iter();
    let first = deliveries.next()?;
    Some(Delivery {
        rest: Some(deliveries.collect()),
        ..first
    })
}
