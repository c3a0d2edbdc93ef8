//! `[[subscribe]]` of a manifest: plain subjects, alone or as a queue group; and `[scatter]`, the
//! questions that are put to many.
//!
//! One subscription per host and entry. Without a queue every agent of the plugin gets every
//! message; with one, the first agent of this host that is free. Core NATS delivers at most once,
//! and so do we: what the agents cannot keep up with is dropped, counted and said, never queued
//! without end.
//! With `batch` messages are collected here for a moment, and handed to an agent together.

mod batch;
mod refusal;

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use tokio_util::sync::CancellationToken;

use crate::config::Schema;
use crate::limits;
use crate::names::PluginName;
use crate::permissions::Permissions;
use crate::runtime::Kind;
use crate::transport::{Link, Message, Subscription, Trace, TransportError};

use super::crew::{Crew, Weight};
use super::delivery::{Answer, Delivery, admit, call, plugin_reply_subject};
use super::directory::{AgentPort, Directory, Target};
use super::lifecycle::new_request_id;
use super::scatter::{asked, asks, result_subject};
use batch::Batch;

pub use batch::BatchRule;

/// What the subscriptions of one plugin need.
#[derive(Clone)]
pub struct Listener {
    /// The plugin.
    pub plugin: PluginName,
    /// Its connection.
    pub link: Link,
    /// Its agents.
    pub directory: Directory,
    /// The queue that they share.
    pub crew: Arc<Crew>,
    /// What is let through.
    pub rules: SharedRules,
    /// What the messages are.
    pub what: What,
}

/// What the messages of a subscription are to the agents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// Messages, answered on their reply subject.
    Messages,
    /// Questions to many, answered where answers are gathered; whoever asks is not asked.
    Questions,
}

/// What of a subscription is let through.
#[derive(Debug)]
pub struct Rules {
    /// What the plugin may hear; `deny` filters here, and where it names one agent, there.
    pub permissions: Permissions,
    /// Largest payload that wakes it, in bytes.
    pub payload: usize,
    /// What a payload must look like.
    pub schema: Option<Schema>,
    /// Messages are handed over together; none: one at a time.
    pub batch: Option<BatchRule>,
}

/// The rules of a running subscription, replaced when its plugin is.
#[derive(Debug, Clone)]
pub struct SharedRules(Arc<RwLock<Arc<Rules>>>);

impl SharedRules {
    /// Begins with these.
    pub fn new(rules: Rules) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(rules))))
    }

    /// From the next message on.
    pub fn replace(&self, rules: Rules) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(rules);
    }

    fn now(&self) -> Arc<Rules> {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Listener {
    /// Subscribes, and delivers until cancelled.
    pub async fn listen(
        self,
        subject: &str,
        queue: Option<&str>,
        cancel: CancellationToken,
    ) -> Result<tokio::task::JoinHandle<()>, TransportError> {
        let messages = self.link.subscribe(subject, queue).await?;
        let task = Task {
            listener: self,
            subject: subject.to_owned(),
            queue: queue.map(str::to_owned),
            dropped: 0,
            batch: Batch::default(),
        };
        Ok(tokio::spawn(task.run(messages, cancel)))
    }
}

struct Task {
    listener: Listener,
    subject: String,
    /// With a queue group any agent may take a message, without one each of them gets it.
    queue: Option<String>,
    /// Messages dropped because the agents did not keep up.
    dropped: u64,
    /// Messages that wait for others.
    batch: Batch,
}

impl Task {
    async fn run(mut self, messages: Subscription, cancel: CancellationToken) {
        let mut messages = Some(messages);
        loop {
            match messages.take() {
                Some(heard) => self.hear(heard, &cancel).await,
                None => messages = self.return_to_group(&cancel).await,
            }
            if cancel.is_cancelled() {
                return;
            }
        }
    }

    /// Delivers until cancelled, or until no agent has taken messages for a while: a queue group
    /// must not send a part of its requests to a host where nobody will answer.
    async fn hear(&mut self, messages: Subscription, cancel: &CancellationToken) {
        self.hear_out(messages, cancel).await;
        // The last ones wait for no others.
        self.hand_batch().await;
    }

    async fn hear_out(&mut self, mut messages: Subscription, cancel: &CancellationToken) {
        let crew = self.listener.crew.clone();
        let mut overflowed = 0;
        let mut stopping = false;
        let mut clock = tokio::time::interval(limits::DESERTED / 2);
        let mut deserted: Option<Instant> = None;
        loop {
            let due = self.batch.due();
            let message = tokio::select! {
                () = waited(due) => {
                    self.hand_batch().await;
                    continue;
                }
                message = messages.next() => message,
                // What has arrived is still delivered: a requester waits for it.
                () = cancel.cancelled(), if !stopping => {
                    stopping = true;
                    messages.stop();
                    continue;
                }
                _ = clock.tick(), if self.queue.is_some() && !stopping => {
                    if crew.taking() > 0 {
                        deserted = None;
                    } else if deserted.get_or_insert_with(Instant::now).elapsed() >= limits::DESERTED {
                        stopping = true;
                        messages.stop();
                    }
                    continue;
                }
            };
            let Some(message) = message else { return };
            self.deliver(message).await;
            let now = messages.dropped();
            if now > overflowed {
                self.count_dropped(now - overflowed);
                overflowed = now;
            }
        }
    }

    /// Waits until an agent takes messages again, and subscribes again.
    async fn return_to_group(&self, cancel: &CancellationToken) -> Option<Subscription> {
        let crew = &self.listener.crew;
        let back = async {
            loop {
                let changed = crew.changed();
                tokio::pin!(changed);
                changed.as_mut().enable();
                if crew.taking() > 0 {
                    return;
                }
                changed.await;
            }
        };
        tokio::select! {
            () = back => {}
            () = cancel.cancelled() => return None,
        }
        match self
            .listener
            .link
            .subscribe(&self.subject, self.queue.as_deref())
            .await
        {
            Ok(messages) => Some(messages),
            Err(error) => {
                tracing::debug!(subject = %self.subject, %error, "not subscribed again yet");
                tokio::time::sleep(limits::PULL_RETRY_DELAY).await;
                None
            }
        }
    }

    async fn deliver(&mut self, message: Message) {
        let rules = self.listener.rules.now();
        if !rules.permissions.hears(&message.subject) {
            return;
        }
        let question = self.listener.what == What::Questions;
        if question && result_subject(&message).is_none() {
            return;
        }
        if let Err(reason) = admit(&message.payload, rules.payload, rules.schema.as_ref()) {
            return self.refuse_all(&message, &reason).await;
        }
        if question && self.queue.is_some() && self.ports(&message).is_empty() {
            return self.refuse_own(&message).await;
        }
        // Who waits for an answer is told now; an event waits for its turn.
        let waits = question || plugin_reply_subject(&message).is_some();
        if let Some(reason) = self.listener.crew.circuit.refusal().filter(|_| waits) {
            return self.refuse_all(&message, &reason).await;
        }
        let Some(rule) = rules.batch else {
            // A version before may have left some.
            self.hand_batch().await;
            return self.hand(&[message], false).await;
        };
        for ready in self.batch.add(message, rule) {
            self.hand(&ready, true).await;
        }
    }

    async fn hand_batch(&mut self) {
        let waiting = self.batch.take();
        if !waiting.is_empty() {
            self.hand(&waiting, true).await;
        }
    }

    /// Hands messages to one agent or to each, as far as there is room for them.
    async fn hand(&mut self, messages: &[Message], together: bool) {
        let crew = self.listener.crew.clone();
        if self.queue.is_some() {
            let (fits, crowded) = self.weighed(messages, together);
            if let Some(delivery) = fits {
                crew.offer(delivery);
            }
            if let Some(first) = crowded.first() {
                let ports = self.ports(first);
                self.turn_away(&crowded, ports.first()).await;
            }
            return;
        }
        let Some(first) = messages.first() else {
            return;
        };
        for port in &self.ports(first) {
            let (fits, crowded) = self.weighed(messages, together);
            let full = fits.is_some_and(|delivery| port.mailbox.try_send(delivery).is_err());
            if full {
                let all: Vec<&Message> = messages.iter().collect();
                self.turn_away(&all, Some(port)).await;
            } else {
                self.turn_away(&crowded, Some(port)).await;
            }
        }
    }

    /// The messages that there is room for, as one delivery, and those that there is none for.
    fn weighed<'a>(
        &self,
        messages: &'a [Message],
        together: bool,
    ) -> (Option<Delivery>, Vec<&'a Message>) {
        let (mut fits, mut crowded) = (Vec::new(), Vec::new());
        for message in messages {
            match self.listener.crew.weigh(message.payload.len()) {
                Some(weight) => fits.push(self.delivery(message, weight)),
                None => crowded.push(message),
            }
        }
        let mut fits = fits.into_iter();
        let first = fits.next().map(|first| Delivery {
            rest: together.then(|| fits.collect()),
            ..first
        });
        (first, crowded)
    }

    /// The agents of the plugin that a message is for. Walks the directory: not for what one of them
    /// takes anyway.
    fn ports(&self, message: &Message) -> Vec<AgentPort> {
        let mut ports = self.all_ports();
        if self.listener.what == What::Questions {
            ports.retain(|port| !asks(&port.id, &message.headers));
        }
        ports
    }

    fn all_ports(&self) -> Vec<AgentPort> {
        let plugin = self.listener.plugin.as_str().to_owned();
        self.listener.directory.find(&Target::Named(plugin))
    }

    fn delivery(&self, message: &Message, weight: Weight) -> Delivery {
        let trace = Trace::received(&message.headers, &new_request_id());
        let (kind, answer) = self.called_with(message);
        Delivery {
            call: call(kind, message.clone(), trace),
            answer,
            weight: Some(weight),
            rest: None,
        }
    }

    fn called_with(&self, message: &Message) -> (Kind, Answer) {
        if self.listener.what == What::Questions
            && let Some(asked) = asked(message, &self.listener.link)
        {
            return asked;
        }
        let reply = plugin_reply_subject(message);
        let answer = match reply {
            Some(to) => Answer::Reply {
                to: to.to_owned(),
                link: self.listener.link.clone(),
            },
            None => Answer::Nobody,
        };
        let kind = Kind::Subscription {
            id: None,
            wants_reply: reply.is_some(),
        };
        (kind, answer)
    }
}

/// Resolves when a batch has waited enough; never while there is none.
async fn waited(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}
