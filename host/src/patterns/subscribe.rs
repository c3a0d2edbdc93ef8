//! `[[subscribe]]` of a manifest: plain subjects, alone or as a queue group; and `[scatter]`, the
//! questions that are put to many.
//!
//! One subscription per host and entry. Without a queue every agent of the plugin gets every
//! message; with one, the first agent of this host that is free. Core NATS delivers at most once,
//! and so do we: what the agents cannot keep up with is dropped, counted and said, never queued
//! without end.
//! With `batch` messages are collected here for a moment, and handed to an agent together.

mod batch;
mod hand;
mod refusal;

use std::pin::pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use tokio_util::sync::CancellationToken;

use crate::config::Schema;
use crate::limits;
use crate::names::PluginName;
use crate::permissions::{Ear, Permissions};
use crate::transport::{Intake, Link, Message, TransportError};

use super::crew::Crew;
use super::delivery::{admit, plugin_reply_subject};
use super::directory::{Directory, Roll};
use super::posted::{Offer, Posted};
use super::scatter::result_subject;
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
        let messages = self.link.take_in(subject, queue, &self.crew.room).await?;
        let rules = self.rules.now();
        let task = Task {
            ear: Ear::new(rules.permissions.clone()),
            rules,
            listener: self,
            subject: subject.to_owned(),
            queue: queue.map(str::to_owned),
            dropped: 0,
            batch: Batch::default(),
            ready: Vec::new(),
            heard: Vec::new(),
            roll: Roll::default(),
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
    /// Messages that any agent may take, about to be offered.
    ready: Vec<Offer>,
    /// Messages that each agent gets, about to be handed over.
    heard: Vec<Posted>,
    /// The agents of the plugin.
    roll: Roll,
    /// The rules of the last message, and what may be heard by them.
    rules: Arc<Rules>,
    ear: Ear,
}

impl Task {
    async fn run(mut self, messages: Intake, cancel: CancellationToken) {
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
    async fn hear(&mut self, messages: Intake, cancel: &CancellationToken) {
        self.hear_out(messages, cancel).await;
        // The last ones wait for no others.
        self.hand_batch().await;
    }

    async fn hear_out(&mut self, mut messages: Intake, cancel: &CancellationToken) {
        let crew = self.listener.crew.clone();
        let mut overflowed = 0;
        let mut stopping = false;
        let mut clock = tokio::time::interval(limits::DESERTED / 2);
        let mut deserted: Option<Instant> = None;
        // Once, not for each message: to begin to wait for it takes a lock, and to end it too.
        let mut cancelled = pin!(cancel.cancelled());
        loop {
            let due = self.batch.due();
            let message = tokio::select! {
                () = waited(due) => {
                    messages.during(self.hand_batch()).await;
                    continue;
                }
                message = messages.next() => message,
                // What has arrived is still delivered: a requester waits for it.
                () = &mut cancelled, if !stopping => {
                    stopping = true;
                    messages.stop().await;
                    continue;
                }
                _ = clock.tick(), if self.queue.is_some() && !stopping => {
                    if crew.taking() > 0 {
                        deserted = None;
                    } else if deserted.get_or_insert_with(Instant::now).elapsed() >= limits::DESERTED {
                        stopping = true;
                        messages.stop().await;
                    }
                    continue;
                }
            };
            let Some(message) = message else {
                return self.count_dropped(messages.dropped().saturating_sub(overflowed));
            };
            let rules = self.rules();
            messages.during(self.deliver(message, &rules)).await;
            while let Some(message) = messages.at_hand() {
                messages.during(self.deliver(message, &rules)).await;
            }
            messages.during(self.hand_ready(&rules)).await;
            let now = messages.dropped();
            if now > overflowed {
                self.count_dropped(now - overflowed);
                overflowed = now;
            }
        }
    }

    /// Waits until an agent takes messages again, and subscribes again.
    async fn return_to_group(&self, cancel: &CancellationToken) -> Option<Intake> {
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
            .take_in(&self.subject, self.queue.as_deref(), &crew.room)
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

    /// The rules of this moment.
    fn rules(&mut self) -> Arc<Rules> {
        let rules = self.listener.rules.now();
        if !Arc::ptr_eq(&rules, &self.rules) {
            self.ear = Ear::new(rules.permissions.clone());
            self.rules = rules.clone();
        }
        rules
    }

    async fn deliver(&mut self, message: Message, rules: &Rules) {
        if !self.ear.hears(&message.subject) {
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
        if let Some(reason) = self.listener.crew.circuit.refusal()
            && (question || plugin_reply_subject(&message).is_some())
        {
            return self.refuse_all(&message, &reason).await;
        }
        let Some(rule) = rules.batch else {
            // A version before may have left some.
            self.hand_batch().await;
            return self.hand(message).await;
        };
        for ready in self.batch.add(message, rule) {
            self.hand_together(ready).await;
        }
    }

    /// Hands over what waits for no others.
    async fn hand_ready(&mut self, rules: &Rules) {
        self.offer_ready().await;
        if rules.batch.is_some_and(|rule| rule.wait.is_zero()) {
            self.hand_batch().await;
        }
    }

    async fn hand_batch(&mut self) {
        let waiting = self.batch.take();
        if !waiting.is_empty() {
            self.hand_together(waiting).await;
        }
    }
}

/// Resolves when a batch has waited enough; never while there is none.
async fn waited(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}
