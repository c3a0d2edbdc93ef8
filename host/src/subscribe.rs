//! Subscriptions: `[[subscribe]]` of a manifest, plain or in a queue group, and `[scatter]`.
//!
//! One subscription per host and entry. Without a queue group every agent of the plugin gets every
//! message; with one, the first free agent of this host. Core NATS delivers at most once, and so
//! does this module: messages that exceed the capacity of the agents are dropped, counted and
//! reported, never queued without bound. With `batch`, messages are collected here for a short time
//! and handed to an agent together.

mod batch;
mod hand;
mod refusal;

use std::pin::pin;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::RwLock;
use tokio_util::sync::CancellationToken;

use mistersmith_core::config::Schema;
use mistersmith_core::limits;
use mistersmith_core::names::PluginName;
use mistersmith_core::permissions::{Permissions, SubjectFilterCache};
use mistersmith_nats::{Connection, InlineSubscription, Message, TransportError};

use crate::agents::{AgentSnapshots, Directory, PluginQueue};
use crate::agents::{Offer, Posted};
use crate::delivery::{admit, plugin_reply_subject};
use crate::scatter::result_subject;
use batch::Batch;

pub use batch::BatchRule;

/// Dependencies of the subscriptions of one plugin.
#[derive(Clone)]
pub struct Listener {
    /// The plugin.
    pub plugin: PluginName,
    /// Its connection.
    pub connection: Connection,
    /// Its agents.
    pub directory: Directory,
    /// The queue that its agents share.
    pub plugin_queue: Arc<PluginQueue>,
    /// The rules for admitting messages.
    pub rules: SharedRules,
    /// The kind of the messages.
    pub kind: MessageKind,
}

/// The kind of the messages of a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageKind {
    /// Messages, answered on their reply subject.
    Messages,
    /// Questions of scatter-gather, answered on the gather subject; the asking agent is left out.
    Questions,
}

/// The rules for admitting messages of a subscription.
#[derive(Debug)]
pub struct Rules {
    /// The subjects that the plugin may receive; `deny` filters here, and for single agents at each
    /// agent.
    pub permissions: Permissions,
    /// Largest payload that wakes it, in bytes.
    pub payload: usize,
    /// The schema of payloads.
    pub schema: Option<Schema>,
    /// Hands messages over together; none: one at a time.
    pub batch: Option<BatchRule>,
}

/// The rules of a running subscription, replaced when its plugin is.
#[derive(Debug, Clone)]
pub struct SharedRules(Arc<RwLock<Arc<Rules>>>);

impl SharedRules {
    /// Starts with these rules.
    pub fn new(rules: Rules) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(rules))))
    }

    /// Applies new rules from the next message on.
    pub fn replace(&self, rules: Rules) {
        *self.0.write() = Arc::new(rules);
    }

    fn now(&self) -> Arc<Rules> {
        self.0.read().clone()
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
        let messages = self
            .connection
            .subscribe_inline(subject, queue, &self.plugin_queue.room)
            .await?;
        let rules = self.rules.now();
        let task = Task {
            subjects: SubjectFilterCache::new(rules.permissions.clone()),
            rules,
            listener: self,
            subject: subject.to_owned(),
            queue: queue.map(str::to_owned),
            dropped: 0,
            batch: Batch::default(),
            ready: Vec::new(),
            for_each: Vec::new(),
            snapshots: AgentSnapshots::default(),
        };
        Ok(tokio::spawn(task.run(messages, cancel)))
    }
}

struct Task {
    listener: Listener,
    subject: String,
    /// With a queue group any agent may take a message; without one each agent gets it.
    queue: Option<String>,
    /// Messages dropped because the agents did not keep up.
    dropped: u64,
    /// Messages that wait for more of the batch.
    batch: Batch,
    /// Messages for any agent, not yet offered.
    ready: Vec<Offer>,
    /// Messages for each agent, not yet handed over.
    for_each: Vec<Posted>,
    /// The agents of the plugin.
    snapshots: AgentSnapshots,
    /// The rules of the last message, and the subjects allowed by them.
    rules: Arc<Rules>,
    subjects: SubjectFilterCache,
}

impl Task {
    async fn run(mut self, messages: InlineSubscription, cancel: CancellationToken) {
        let mut messages = Some(messages);
        loop {
            match messages.take() {
                Some(messages) => self.hear(messages, &cancel).await,
                None => messages = self.return_to_group(&cancel).await,
            }
            if cancel.is_cancelled() {
                return;
            }
        }
    }

    /// Delivers until cancelled, or until no agent has been active for a while: a queue group must
    /// not send a part of its requests to a host without agents to answer.
    async fn hear(&mut self, messages: InlineSubscription, cancel: &CancellationToken) {
        self.hear_out(messages, cancel).await;
        // The last messages wait for no others.
        self.hand_batch().await;
    }

    async fn hear_out(&mut self, mut messages: InlineSubscription, cancel: &CancellationToken) {
        let plugin_queue = self.listener.plugin_queue.clone();
        let mut overflowed = 0;
        let mut stopping = false;
        let mut clock = tokio::time::interval(limits::DESERTED / 2);
        let mut deserted: Option<Instant> = None;
        // Pinned once, not for each message: to start and to end the wait takes a lock.
        let mut cancelled = pin!(cancel.cancelled());
        loop {
            let due = self.batch.due();
            let message = tokio::select! {
                () = waited(due) => {
                    messages.during(self.hand_batch()).await;
                    continue;
                }
                message = messages.next() => message,
                // Messages that have arrived are still delivered: a requester waits for an answer.
                () = &mut cancelled, if !stopping => {
                    stopping = true;
                    messages.stop().await;
                    continue;
                }
                _ = clock.tick(), if self.queue.is_some() && !stopping => {
                    if plugin_queue.taking() > 0 {
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
            while let Some(message) = messages.try_next() {
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

    /// Waits until an agent is active again, and subscribes again.
    async fn return_to_group(&self, cancel: &CancellationToken) -> Option<InlineSubscription> {
        let plugin_queue = &self.listener.plugin_queue;
        let back = async {
            loop {
                let changed = plugin_queue.changed();
                tokio::pin!(changed);
                changed.as_mut().enable();
                if plugin_queue.taking() > 0 {
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
            .connection
            .subscribe_inline(&self.subject, self.queue.as_deref(), &plugin_queue.room)
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

    /// The current rules.
    fn rules(&mut self) -> Arc<Rules> {
        let rules = self.listener.rules.now();
        if !Arc::ptr_eq(&rules, &self.rules) {
            self.subjects = SubjectFilterCache::new(rules.permissions.clone());
            self.rules = rules.clone();
        }
        rules
    }

    async fn deliver(&mut self, message: Message, rules: &Rules) {
        if !self.subjects.may_receive(&message.subject) {
            return;
        }
        let question = self.listener.kind == MessageKind::Questions;
        if question && result_subject(&message).is_none() {
            return;
        }
        if let Err(reason) = admit(&message.payload, rules.payload, rules.schema.as_ref()) {
            return self.refuse_all(&message, &reason).await;
        }
        if question && self.queue.is_some() && self.handles(&message).is_empty() {
            return self.refuse_own(&message).await;
        }
        // A requester gets its error now; an event waits for its turn.
        if let Some(reason) = self.listener.plugin_queue.circuit.refusal()
            && (question || plugin_reply_subject(&message).is_some())
        {
            return self.refuse_all(&message, &reason).await;
        }
        let Some(rule) = rules.batch else {
            // The rules before may have left some.
            self.hand_batch().await;
            return self.hand(message).await;
        };
        for ready in self.batch.add(message, rule) {
            self.hand_together(ready).await;
        }
    }

    /// Hands over the messages that wait for no others.
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

/// Resolves when the batch is due; never while there is none.
async fn waited(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}
