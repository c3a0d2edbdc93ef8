//! Carries verdicts out: stores outputs and dead letters, then acknowledges.
//!
//! Decides nothing but the order, which is the promise. What is stored for a message that was
//! handled depends on where it came from ([`Output`]). What the server does not take now is kept
//! and tried again ([`insist`]): a handler does not run twice because its output could not be
//! stored.

mod insist;
mod letters;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::TaskTracker;

use crate::limits;
use crate::names::AgentId;
use crate::patterns::attempts::{Attempts, Register};
use crate::patterns::claims::Claims;
use crate::patterns::delivery::{Held, Output};
use crate::patterns::idempotence::Guard;
use crate::patterns::lifecycle;
use crate::patterns::metrics::WorkTimes;
use crate::patterns::outbox::Outbox;
use crate::patterns::pipeline::StageRun;
use crate::runtime::{Call, Outcome, Reply};
use crate::transport::{Link, ServerClock, TransportError};

use super::{Reason, Verdict, judge};
use insist::Insistence;

/// The room for kept outputs is counted in this many bytes; smaller ones are not counted.
const UNIT: usize = 16 * 1024;

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
    room: Arc<Semaphore>,
    insistence: Insistence,
    times: Arc<WorkTimes>,
    guard: Guard,
    claims: Claims,
    attempts: Attempts,
}

impl Settler {
    /// Settles over this connection, whose server has this clock.
    pub fn new(link: Link, outbox: Outbox, attempts: Attempts, clock: ServerClock) -> Self {
        Self(Arc::new(Inner {
            claims: Claims::new(link.clone()),
            guard: Guard::new(link.clone(), clock.clone()),
            link,
            outbox,
            attempts,
            tasks: TaskTracker::new(),
            places: Arc::new(Semaphore::new(limits::MAX_SETTLING)),
            room: Arc::new(Semaphore::new(limits::MAX_KEPT_BYTES / UNIT)),
            insistence: Insistence::default(),
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

    /// What is known of the attempts at messages.
    pub fn attempts(&self) -> &Attempts {
        &self.0.attempts
    }

    /// Where the payloads of held messages are fetched that are not in them.
    pub fn claims(&self) -> &Claims {
        &self.0.claims
    }

    /// Whether so much waits for the server already that no more should be begun.
    pub fn is_stuck(&self) -> bool {
        self.0.insistence.stuck() > limits::MAX_SETTLING / 4
    }

    /// Takes over a message that an agent has handled. Waits only while [`limits::MAX_SETTLING`]
    /// others are being settled, or [`limits::MAX_KEPT_BYTES`] of outputs.
    pub async fn settle(
        &self,
        agent: &AgentId,
        call: Box<Call>,
        held: Box<Held>,
        outcome: Outcome,
    ) {
        let agent = agent.clone();
        let this = self.clone();
        let room = self.room_for(&outcome).await;
        self.spawn(Box::pin(async move {
            this.carry_out(&agent, &call, held, outcome).await;
            drop(room);
        }))
        .await;
    }

    /// Room for a large output, until it is stored.
    async fn room_for(&self, outcome: &Outcome) -> Option<OwnedSemaphorePermit> {
        let Outcome::Done(Some(reply)) = outcome else {
            return None;
        };
        let units = (reply.payload.len() / UNIT).min(limits::MAX_KEPT_BYTES / UNIT);
        let units = u32::try_from(units).unwrap_or(u32::MAX);
        if units == 0 {
            return None;
        }
        // The semaphore is never closed.
        self.0.room.clone().acquire_many_owned(units).await.ok()
    }

    async fn carry_out(&self, agent: &AgentId, call: &Call, mut held: Box<Held>, outcome: Outcome) {
        if self.is_cancelled(&held).await {
            // What it made is not wanted any more, nor that it failed.
            return self.acknowledge(call, held).await;
        }
        match judge(&outcome, held.tries.begun(), &held.rule) {
            Verdict::Done => {
                let Outcome::Done(reply) = outcome else {
                    return;
                };
                self.finish(agent, call, held, reply.unwrap_or_default())
                    .await;
            }
            Verdict::Retry(reason, delay) => {
                let mut trying = self
                    .0
                    .insistence
                    .trying("failed attempt not recorded", None);
                while let Err(error) = self.0.attempts.failed(&mut held, &reason).await {
                    if !trying.again(&error).await {
                        break;
                    }
                }
                self.hand_back(held, delay).await;
            }
            Verdict::DeadLetter(reason) => {
                Box::pin(self.bury(Some(agent), call, held, reason)).await;
            }
        }
    }

    async fn is_cancelled(&self, held: &Held) -> bool {
        if !matches!(held.output, Output::Stage(_)) {
            return false;
        }
        let what = "not known whether a workflow is cancelled";
        let mut trying = self.0.insistence.trying(what, None);
        loop {
            match held.is_cancelled().await {
                Err(error) if trying.again(&error).await => {}
                cancelled => return cancelled.unwrap_or(false),
            }
        }
    }

    /// Records that an agent is about to handle a message, and says so where the pattern does.
    ///
    /// # Errors
    /// It must not: see [`Attempts::begin`].
    pub async fn begin(
        &self,
        register: &Arc<Register>,
        agent: &AgentId,
        call: &Call,
        held: &mut Held,
    ) -> Result<(), TransportError> {
        self.0.attempts.begin(register, agent, held).await?;
        if let Output::Stage(run) = &held.output {
            run.ready(&self.0.link, agent, call, held).await;
        }
        Ok(())
    }

    /// Takes over a message that has done what it was for without waking the plugin.
    pub async fn drop_handled(&self, held: Box<Held>) {
        let this = self.clone();
        let work = async move {
            this.confirm(&held, true).await;
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
        let work = async move { this.hand_back(held, delay).await };
        self.spawn(Box::pin(work)).await;
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
    async fn finish(&self, agent: &AgentId, call: &Call, held: Box<Held>, reply: Reply) {
        let stored = self.store(agent, call, &held, &reply).await;
        match stored {
            Ok(()) => {
                self.0.times.stored(&held);
                self.acknowledge(call, held).await;
            }
            Err(error) => {
                let kind = match error {
                    TransportError::TooLarge(_) => "too-large",
                    _ => "host",
                };
                let reason = Reason::new(kind, format!("the result: {error}"));
                Box::pin(self.bury(Some(agent), call, held, reason)).await;
            }
        }
    }

    /// Stores the output for as long as it takes; an error says that it cannot ever be stored.
    async fn store(
        &self,
        agent: &AgentId,
        call: &Call,
        held: &Held,
        reply: &Reply,
    ) -> Result<(), TransportError> {
        let insistence = &self.0.insistence;
        if let Some(key) = &held.record {
            let mut trying = insistence.trying("result not recorded", None);
            while let Err(error) = Box::pin(self.0.guard.record(key, agent, reply)).await {
                if !trying.again(&error).await {
                    return Err(error);
                }
            }
        }
        let mut trying = insistence.trying("output not stored", None);
        loop {
            let stored = match &held.output {
                Output::Result => self.store_result(agent, call, held, reply).await,
                Output::Stage(run) => {
                    Box::pin(self.store_stage(agent, call, held, run, reply)).await
                }
                Output::Nothing => Ok(()),
            };
            match stored {
                Err(error) if trying.again(&error).await => {}
                stored => return stored,
            }
        }
    }

    /// A work item's result: `agent.<id>.resp.<request-id>`.
    async fn store_result(
        &self,
        agent: &AgentId,
        call: &Call,
        held: &Held,
        reply: &Reply,
    ) -> Result<(), TransportError> {
        let subject = lifecycle::result_subject(agent, call.trace.request_id());
        let headers = lifecycle::reply_headers(agent, call, reply);
        let id = held.meta.output_id("result");
        let payload = reply.payload.clone();
        let stored = self.0.link.store_any(&subject, &id, headers, payload);
        stored.await.map(drop)
    }

    /// A stage's outputs: the inputs of the next stages, or the result of the workflow; then the event.
    async fn store_stage(
        &self,
        agent: &AgentId,
        call: &Call,
        held: &Held,
        run: &StageRun,
        reply: &Reply,
    ) -> Result<(), TransportError> {
        let headers = run.headers(agent, call, reply);
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
    async fn acknowledge(&self, call: &Call, mut held: Box<Held>) {
        if !self.confirm(&held, true).await {
            return;
        }
        self.0.attempts.done(&mut held).await;
        if let Some(claimed) = &held.claimed {
            Box::pin(claimed.discard(&self.0.link, &call.subject)).await;
        }
    }

    /// Has the server say that it knows that a message is done with, handled or given up. Without
    /// its word the message stays in this host's hands for a while, so that it is not handled again
    /// here.
    async fn confirm(&self, held: &Held, handled: bool) -> bool {
        let what = "an acknowledgement is not confirmed";
        let mut trying = self.0.insistence.trying(what, Some(limits::ACK_PATIENCE));
        loop {
            let newer = held.kept.newer();
            let fate = newer.as_ref().unwrap_or(&held.fate);
            let told = match handled {
                true => fate.ack_confirmed().await,
                false => fate.term_confirmed().await,
            };
            match told {
                Ok(()) => return true,
                Err(error) if trying.again(&error).await => {}
                Err(error) => {
                    tracing::warn!(%error, consumer = held.meta.consumer,
                        sequence = held.meta.stream_sequence,
                        "acknowledgement not confirmed; the message may come again");
                    return false;
                }
            }
        }
    }

    /// Gives a message back to its consumer. It is out of this host's hands before the server hears
    /// of it: it may come again at once. One that the server has given to somebody else already is
    /// let go of without a word, which would take it from there.
    async fn hand_back(&self, held: Box<Held>, delay: Duration) {
        let Held { kept, fate, .. } = *held;
        let ours = kept.is_ours();
        let fate = kept.newer().unwrap_or(fate);
        drop(kept);
        if ours && let Err(error) = fate.nak(delay).await {
            tracing::debug!(%error, "nak not sent; the message comes back after the ack wait");
        }
    }
}
