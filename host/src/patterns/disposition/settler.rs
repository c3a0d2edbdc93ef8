//! Carries verdicts out: stores outputs and dead letters, then acknowledges.
//!
//! Decides nothing but the order, which is the promise. What is stored for a message that was
//! handled depends on where it came from ([`Output`]).

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use crate::limits;
use crate::names::AgentId;
use crate::patterns::claims::Claims;
use crate::patterns::delivery::{Held, Output};
use crate::patterns::idempotence::Guard;
use crate::patterns::metrics::WorkTimes;
use crate::patterns::outbox::Outbox;
use crate::patterns::pipeline::StageRun;
use crate::patterns::{dead_letter, lifecycle};
use crate::runtime::{Call, Outcome, Reply};
use crate::transport::{Link, ServerClock, Stored, TransportError, Unreadable};

use super::{Reason, Verdict, judge};

/// Carries verdicts out in the background, so that an agent takes its next message while the
/// result of the last one is being stored.
///
/// Cheap to clone: each message that is settled has one.
#[derive(Debug, Clone)]
pub struct Settler(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    link: Link,
    outbox: Outbox,
    tasks: TaskTracker,
    places: Arc<Semaphore>,
    times: Arc<WorkTimes>,
    guard: Guard,
    claims: Claims,
}

impl Settler {
    /// Settles over this connection, whose server has this clock.
    pub fn new(link: Link, outbox: Outbox, clock: ServerClock) -> Self {
        Self(Arc::new(Inner {
            claims: Claims::new(link.clone()),
            guard: Guard::new(link.clone(), clock.clone()),
            link,
            outbox,
            tasks: TaskTracker::new(),
            places: Arc::new(Semaphore::new(limits::MAX_SETTLING)),
            times: Arc::new(WorkTimes::new(clock)),
        }))
    }

    /// How long work items took, for whoever reports it.
    pub fn times(&self) -> &Arc<WorkTimes> {
        &self.0.times
    }

    /// What is recorded of messages that must not be handled twice.
    pub fn guard(&self) -> &Guard {
        &self.0.guard
    }

    /// Takes over a message that an agent has handled. Waits only while [`limits::MAX_SETTLING`]
    /// others are being settled.
    pub async fn settle(
        &self,
        agent: &AgentId,
        call: Box<Call>,
        held: Box<Held>,
        outcome: Outcome,
    ) {
        let verdict = judge(&outcome, held.meta.deliveries, &held.rule);
        let agent = agent.clone();
        let this = self.clone();
        self.spawn(Box::pin(async move {
            match held.is_cancelled().await {
                Ok(false) => {}
                // What it made is not wanted any more, nor that it failed.
                Ok(true) => return this.acknowledge(&call, &held).await,
                Err(error) => {
                    tracing::warn!(%error, subject = %call.subject, "not settled; the message will run again");
                    return this.hand_back(&held, limits::STORE_RETRY_DELAY).await;
                }
            }
            match verdict {
                Verdict::Done => {
                    let reply = if let Outcome::Done(reply) = outcome {
                        reply
                    } else {
                        None
                    };
                    this.finish(&agent, &call, &held, reply).await;
                }
                Verdict::Retry(delay) => this.hand_back(&held, delay).await,
                Verdict::DeadLetter(reason) => {
                    Box::pin(this.bury(Some(&agent), &call, &held, reason)).await;
                }
            }
        }))
        .await;
    }

    /// Takes over a message that must not wake the plugin.
    pub async fn refuse(&self, call: Box<Call>, held: Box<Held>, reason: Reason) {
        let this = self.clone();
        let work = async move { this.bury(None, &call, &held, reason).await };
        self.spawn(Box::pin(work)).await;
    }

    /// Says, where the pattern does, that an agent is about to handle a message.
    pub async fn begin(&self, agent: &AgentId, call: &Call, held: &Held) {
        if let Output::Stage(run) = &held.output {
            run.ready(&self.0.link, agent, call, held).await;
        }
    }

    /// Takes over a message that has done what it was for without waking the plugin.
    pub async fn drop_handled(&self, held: Box<Held>) {
        let work = async move {
            if let Err(error) = held.fate.ack_confirmed().await {
                tracing::debug!(%error, consumer = held.meta.consumer, "ack not confirmed; the message may come again");
            }
        };
        self.spawn(Box::pin(work)).await;
    }

    /// Hands a message back that no agent has started.
    pub async fn give_back(&self, held: Box<Held>) {
        self.put_off(held, limits::GIVE_BACK_DELAY).await;
    }

    /// Hands a message back that cannot be handled before this time has passed.
    pub async fn put_off(&self, held: Box<Held>, delay: Duration) {
        let this = self.clone();
        let work = async move { this.hand_back(&held, delay).await };
        self.spawn(Box::pin(work)).await;
    }

    /// Where the payloads of held messages are fetched that are not in them.
    pub fn claims(&self) -> &Claims {
        &self.0.claims
    }

    /// Waits until everything taken over so far is settled.
    pub async fn idle(&self) {
        while self.0.places.available_permits() < limits::MAX_SETTLING {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Settles a message in a task of its own. The work comes as a pointer: a task's future is copied
    /// several times until it runs, and again when it has.
    async fn spawn(&self, work: BoxFuture<'static, ()>) {
        // The semaphore is never closed.
        let place = self.0.places.clone().acquire_owned().await.ok();
        self.0.tasks.spawn(async move {
            work.await;
            drop(place);
        });
    }

    /// Stores what the handler made, and only then acknowledges the message.
    async fn finish(&self, agent: &AgentId, call: &Call, held: &Held, reply: Option<Reply>) {
        let reply = reply.unwrap_or_default();
        if let Some(key) = &held.record
            && let Err(error) = Box::pin(self.0.guard.record(key, agent, &reply)).await
        {
            // Nothing could be stored now either.
            tracing::error!(%agent, %error, key, "result not recorded; the message will run again");
            return self.hand_back(held, limits::STORE_RETRY_DELAY).await;
        }
        let stored = match &held.output {
            Output::Result => self.store_result(agent, call, held, reply).await,
            Output::Stage(run) => Box::pin(self.store_stage(agent, call, held, run, reply)).await,
            Output::Nothing => Ok(()),
        };
        match stored {
            Ok(()) => {
                self.0.times.stored(held);
                self.acknowledge(call, held).await;
            }
            Err(error @ TransportError::TooLarge(_)) => {
                let reason = Reason::new("too-large", format!("the result: {error}"));
                Box::pin(self.bury(Some(agent), call, held, reason)).await;
            }
            Err(error) => {
                tracing::error!(%agent, %error, consumer = held.meta.consumer, subject = %call.subject, "output not stored; the message will run again");
                self.hand_back(held, limits::STORE_RETRY_DELAY).await;
            }
        }
    }

    /// A work item's result: `agent.<id>.resp.<request-id>`.
    async fn store_result(
        &self,
        agent: &AgentId,
        call: &Call,
        held: &Held,
        reply: Reply,
    ) -> Result<(), TransportError> {
        let subject = lifecycle::result_subject(agent, call.trace.request_id());
        let headers = lifecycle::reply_headers(agent, call, &reply);
        let id = held.meta.output_id("result");
        self.0
            .link
            .store_any(&subject, &id, headers, reply.payload)
            .await
            .map(drop)
    }

    /// A stage's outputs: the inputs of the next stages, or the result of the workflow; then the event.
    async fn store_stage(
        &self,
        agent: &AgentId,
        call: &Call,
        held: &Held,
        run: &StageRun,
        reply: Reply,
    ) -> Result<(), TransportError> {
        let headers = run.headers(agent, call, &reply);
        for (subject, output) in run.outputs() {
            let id = held.meta.output_id(&output);
            let payload = reply.payload.clone();
            self.0
                .link
                .store_any(&subject, &id, headers.clone(), payload)
                .await?;
        }
        run.complete(&self.0.link, agent, call, held)
            .await
            .map(drop)
    }

    /// Takes a message out of its consumer, now that everything made from it is stored.
    async fn acknowledge(&self, call: &Call, held: &Held) {
        if let Err(error) = held.fate.ack_confirmed().await {
            return tracing::debug!(%error, consumer = held.meta.consumer, sequence = held.meta.stream_sequence,
                "ack not confirmed; the message may run again");
        }
        if let Some(claimed) = &held.claimed {
            Box::pin(claimed.discard(&self.0.link, &call.subject)).await;
        }
    }

    async fn bury(&self, agent: Option<&AgentId>, call: &Call, held: &Held, reason: Reason) {
        match self.store_letter(agent, call, held, &reason).await {
            Ok(letter) => {
                if let Err(error) = held.fate.term_confirmed().await {
                    tracing::debug!(%error, "term not confirmed; the dead letter is recognised when it repeats");
                }
                tracing::warn!(subject = %call.subject, kind = %reason.kind, error = %reason.message, "dead letter");
                self.0.outbox.audit(
                    "dead-letter",
                    dead_letter::audit(agent, call, held, &reason, &letter),
                );
            }
            Err(error) => {
                tracing::error!(%error, subject = %call.subject, "dead letter not stored; the message stays in its stream");
                self.hand_back(held, limits::STORE_RETRY_DELAY).await;
            }
        }
    }

    /// Stores the dead letter, and says where the pattern does that it was given up.
    async fn store_letter(
        &self,
        agent: Option<&AgentId>,
        call: &Call,
        held: &Held,
        reason: &Reason,
    ) -> Result<Stored, TransportError> {
        let letter = dead_letter::store(&self.0.link, agent, call, held, reason).await?;
        if let Output::Stage(run) = &held.output {
            run.failed(&self.0.link, agent, call, held, reason, &letter)
                .await?;
        }
        Ok(letter)
    }

    /// Takes a message out of the way that breaks the connection whenever it is delivered. The letter is
    /// stored before the original is removed; if that fails, it is found again.
    pub async fn quarantine(&self, found: &Unreadable) {
        let letter = match dead_letter::store_unreadable(&self.0.link, found).await {
            Ok(letter) => letter,
            Err(error) => {
                tracing::error!(%error, subject = found.subject, "dead letter of an unreadable message not stored");
                return;
            }
        };
        let removed = match self.0.link.stream(&found.meta.stream) {
            Ok(stream) => stream.delete(found.meta.stream_sequence).await,
            Err(error) => Err(error),
        };
        if let Err(error) = removed {
            tracing::error!(%error, subject = found.subject, "unreadable message not removed");
            return;
        }
        tracing::warn!(
            subject = found.subject,
            error = found.problem,
            "dead letter: an unreadable message"
        );
        self.0
            .outbox
            .audit("dead-letter", dead_letter::audit_unreadable(found, &letter));
    }

    async fn hand_back(&self, held: &Held, delay: Duration) {
        if let Err(error) = held.fate.nak(delay).await {
            tracing::debug!(%error, "nak not sent; the message comes back after the ack wait");
        }
    }
}
