//! The settler: stores outputs and dead letters, then acknowledges.
//!
//! It decides only the order, which is the guarantee. The pattern of a message decides what is
//! stored for it ([`Completion`](crate::delivery::Completion)). A store that the server does not
//! accept now is kept and retried ([`retries`]), so that no handler runs twice because its output
//! could not be stored.

mod letters;
mod retries;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::TaskTracker;

use super::idempotence::Guard;
use super::storage::{ServerStorage, Storage};
use super::work_times::WorkTimes;
use crate::delivery::HeldMessage;
use crate::delivery::attempts::Attempts;
use crate::events::publisher::EventPublisher;
use mistersmith_core::limits;
use mistersmith_core::names::AgentId;
use mistersmith_nats::{Connection, ServerClock, TransportError};
use mistersmith_runtime::{Call, ExitKind, Outcome, Reply};

use super::verdict::{Verdict, judge};
use crate::delivery::{Reason, ReasonKind};
use retries::{ServerCall, StoreRetries};

/// The unit in bytes in which kept outputs are counted; smaller ones are not counted.
const UNIT: usize = 16 * 1024;

/// How a message ends on the server.
#[derive(Debug, Clone, Copy)]
enum End {
    /// Acknowledged: its purpose is fulfilled.
    Ack,
    /// Terminated: its dead letter is stored.
    Term,
}

/// Settles in the background, so that an agent takes its next message while the result of the last
/// one is being stored.
///
/// Cheap to clone: each message that is settled has one.
#[derive(Debug, Clone)]
pub struct Settler(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    storage: Arc<dyn Storage>,
    tasks: TaskTracker,
    places: Arc<Semaphore>,
    room: Arc<Semaphore>,
    retries: StoreRetries,
    times: Arc<WorkTimes>,
    guard: Guard,
    attempts: Attempts,
}

impl Settler {
    /// Settles over this connection; `clock` is the clock of its server.
    pub fn new(
        connection: Connection,
        events: EventPublisher,
        attempts: Attempts,
        clock: ServerClock,
    ) -> Self {
        Self::over(
            Arc::new(ServerStorage::new(connection, events)),
            attempts,
            clock,
        )
    }

    /// As [`Settler::new`], with this storage.
    fn over(storage: Arc<dyn Storage>, attempts: Attempts, clock: ServerClock) -> Self {
        Self(Arc::new(Inner {
            guard: Guard::new(storage.clone(), clock.clone()),
            storage,
            attempts,
            tasks: TaskTracker::new(),
            places: Arc::new(Semaphore::new(limits::MAX_SETTLING)),
            room: Arc::new(Semaphore::new(limits::MAX_KEPT_BYTES / UNIT)),
            retries: StoreRetries::default(),
            times: Arc::new(WorkTimes::new(clock)),
        }))
    }

    /// The durations of work items, for the metrics.
    pub fn times(&self) -> &Arc<WorkTimes> {
        &self.0.times
    }

    /// The recorded results of messages that must not be handled twice.
    pub fn guard(&self) -> &Guard {
        &self.0.guard
    }

    /// The attempts at messages.
    pub fn attempts(&self) -> &Attempts {
        &self.0.attempts
    }

    /// Whether so many messages wait for the server that no more should begin.
    pub fn is_stuck(&self) -> bool {
        self.0.retries.stuck() > limits::MAX_SETTLING / 4
    }

    /// Settles a message that an agent has handled. Waits only while [`limits::MAX_SETTLING`]
    /// others are being settled, or [`limits::MAX_KEPT_BYTES`] of outputs are kept.
    pub async fn settle(
        &self,
        agent: &AgentId,
        call: Box<Call>,
        held: Box<HeldMessage>,
        outcome: Outcome,
    ) {
        let agent = agent.clone();
        let this = self.clone();
        let room = self.room_for(&outcome).await;
        self.spawn(Box::pin(async move {
            let subject = call.subject.clone();
            let fence = held.fence.clone();
            let carried = this.carry_out(&agent, &call, held, outcome);
            let Some(fence) = fence else {
                carried.await;
                return drop(room);
            };
            if fence.settle(carried).await.is_none() {
                // Not given back either: another host may hold it by now.
                tracing::warn!(%agent, %subject,
                    "not settled: the agent's id is another host's; the message will run again");
            }
            drop(room);
        }))
        .await;
    }

    /// A permit for a large output until it is stored.
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

    async fn carry_out(
        &self,
        agent: &AgentId,
        call: &Call,
        mut held: Box<HeldMessage>,
        outcome: Outcome,
    ) {
        if self.is_cancelled(&held).await {
            // Neither the output nor the failure of a cancelled item is stored.
            return self.acknowledge(call, held).await;
        }
        match judge(outcome, held.tries.begun(), &held.rule) {
            Verdict::Done(reply) => self.finish(agent, call, held, reply).await,
            Verdict::Retry(reason, delay) => {
                let mut trying = self.0.retries.trying(ServerCall::RecordAttempt, None);
                while let Err(error) = self.0.attempts.failed(held.counted(), &reason).await {
                    if !trying.again(&held.info, &error).await {
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

    async fn is_cancelled(&self, held: &HeldMessage) -> bool {
        let mut trying = self.0.retries.trying(ServerCall::AskCancelled, None);
        loop {
            let asked = held.completion.as_ref().and_then(|c| c.is_cancelled());
            let Some(asked) = asked else { return false };
            match asked.await {
                Ok(cancelled) => return cancelled,
                Err(error) if trying.again(&held.info, &error).await => {}
                // Permanent: an output too many is better than a lost one.
                Err(_) => return false,
            }
        }
    }

    /// Acknowledges a message whose purpose is fulfilled without a call of the handler.
    pub async fn drop_handled(&self, held: Box<HeldMessage>) {
        let this = self.clone();
        let work = async move {
            this.confirm(&held, End::Ack).await;
        };
        self.spawn(Box::pin(work)).await;
    }

    /// Gives back a message whose attempt did not begin.
    pub async fn give_back(&self, held: Box<HeldMessage>) {
        self.put_off(held, limits::GIVE_BACK_DELAY).await;
    }

    /// Gives back a message that cannot be handled before `delay` has passed.
    pub async fn put_off(&self, held: Box<HeldMessage>, delay: Duration) {
        let this = self.clone();
        let work = async move { this.hand_back(held, delay).await };
        self.spawn(Box::pin(work)).await;
    }

    /// Waits until every message passed so far is settled.
    pub async fn idle(&self) {
        // A closed tracker only lets `wait` return; tasks spawned meanwhile are awaited too.
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }

    /// Settles a message in its own task. The work is boxed, because a task's future is copied
    /// several times before it runs, and once after.
    async fn spawn(&self, work: BoxFuture<'static, ()>) {
        // The semaphore is never closed.
        let place = self.0.places.clone().acquire_owned().await.ok();
        self.0.tasks.spawn(async move {
            work.await;
            drop(place);
        });
    }

    /// Stores the handler's output, and only then acknowledges the message.
    async fn finish(&self, agent: &AgentId, call: &Call, held: Box<HeldMessage>, reply: Reply) {
        let stored = self.store(agent, call, &held, &reply).await;
        match stored {
            Ok(()) => {
                self.0.times.stored(call, &held);
                self.acknowledge(call, held).await;
            }
            Err(error) => {
                let kind = match error {
                    TransportError::TooLarge(_) => ReasonKind::TooLarge,
                    _ => ReasonKind::Exited(ExitKind::Host),
                };
                let reason = Reason::new(kind, format!("the result: {error}"));
                Box::pin(self.bury(Some(agent), call, held, reason)).await;
            }
        }
    }

    /// Stores the output and retries without limit; an error is permanent.
    async fn store(
        &self,
        agent: &AgentId,
        call: &Call,
        held: &HeldMessage,
        reply: &Reply,
    ) -> Result<(), TransportError> {
        let retries = &self.0.retries;
        if let Some(key) = &held.idempotence_key {
            let mut trying = retries.trying(ServerCall::RecordResult, None);
            while let Err(error) = Box::pin(self.0.guard.record(key, agent, reply)).await {
                if !trying.again(&held.info, &error).await {
                    return Err(error);
                }
            }
        }
        let mut trying = retries.trying(ServerCall::StoreOutput, None);
        loop {
            let Some(completion) = &held.completion else {
                return Ok(());
            };
            match completion.store(agent, call, held, reply).await {
                Err(error) if trying.again(&held.info, &error).await => {}
                stored => return stored,
            }
        }
    }

    /// Acknowledges a message whose output is stored.
    async fn acknowledge(&self, call: &Call, mut held: Box<HeldMessage>) {
        if !self.confirm(&held, End::Ack).await {
            return;
        }
        self.0.attempts.done(held.counted()).await;
        if let Some(claimed) = &held.claimed {
            self.0.storage.discard(claimed, &call.subject).await;
        }
    }

    /// Acknowledges or terminates a message and waits for the server's confirmation. Without it the
    /// message stays held for a while, so that this host does not handle it again.
    async fn confirm(&self, held: &HeldMessage, end: End) -> bool {
        let retries = &self.0.retries;
        let mut trying = retries.trying(ServerCall::Confirm, Some(limits::ACK_PATIENCE));
        loop {
            let newer = held.in_progress.newer();
            let acker = newer.as_ref().unwrap_or(&held.acker);
            let confirmed = match end {
                End::Ack => acker.ack_confirmed().await,
                End::Term => acker.term_confirmed().await,
            };
            match confirmed {
                Ok(()) => return true,
                Err(error) if trying.again(&held.info, &error).await => {}
                Err(error) => {
                    tracing::warn!(%error, consumer = held.info.consumer,
                        sequence = held.info.stream_sequence,
                        "acknowledgement not confirmed; the message may come again");
                    return false;
                }
            }
        }
    }

    /// Gives a message back to its consumer. It is released before the nak, because it may be
    /// delivered again at once. If the server may have delivered it to another host, no nak is
    /// sent: the nak would take it from that host.
    async fn hand_back(&self, held: Box<HeldMessage>, delay: Duration) {
        let HeldMessage {
            in_progress, acker, ..
        } = *held;
        let ours = in_progress.is_ours();
        let acker = in_progress.newer().unwrap_or(acker);
        drop(in_progress);
        if ours && let Err(error) = acker.nak(delay).await {
            tracing::debug!(%error, "nak not sent; the message comes back after the ack wait");
        }
    }
}

#[cfg(test)]
mod tests;
