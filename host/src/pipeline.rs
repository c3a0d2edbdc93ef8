//! Pipelines: the input of a stage, and the messages made from its output.
//!
//! A stage's input is pulled, held, handled and settled like a work item; this module contains the
//! differences. An input is checked against its subject, the cancelled workflows and, on a joining
//! stage, the record of the branches (`joins`). The reply of the handler goes to the next stages
//! (`outputs`). This module acknowledges nothing.

mod cancelled;
mod completion;
mod deadlines;
mod event;
mod join;
mod joined;
mod joins;
mod outputs;

use std::sync::Arc;
use std::time::Instant;

use mistersmith_core::config::StageSpec;
use mistersmith_core::limits::{MAX_STAGES, STORE_RETRY_DELAY};
use mistersmith_core::names::StageSubject;
use mistersmith_core::names::headers::RETRY_COUNT;
pub use mistersmith_core::names::headers::{JOIN, STAGE};
use mistersmith_nats::{Connection, Kv, Message, ServerClock, Trace};
use mistersmith_runtime::Kind;

use crate::delivery::attempts::Admission;
use crate::delivery::{Arrival, HeldMessage, Reason, ReasonKind, call};
use crate::pipeline::cancelled::is_cancelled;
use crate::settle::Settler;

pub use deadlines::watch;

/// `X-Join` value: a host reports that the deadline of a join has passed.
const DEADLINE: &str = "deadline";
/// `X-Join` value: the payload is the joined input, so the branches are not waited for. A dead
/// letter of a joining stage has it, so that it can be sent again.
const JOINED: &str = "joined";
/// `X-Join` value: the payload holds the branches present when a join failed; sent again, it
/// reopens the join.
const INCOMPLETE: &str = "incomplete";
/// `X-Join` value: the stage that `X-Stage` names has failed for good; its output does not come.
const FAILED: &str = "failed";

/// A stage that a plugin runs on this host.
#[derive(Debug, Clone)]
pub struct Stage {
    /// The manifest's specification.
    pub spec: StageSpec,
    /// The bucket PIPELINES.
    pub records: Kv,
    /// The connection for work.
    pub connection: Connection,
    /// The clock of its server, which decides deadlines.
    pub clock: ServerClock,
    /// Largest input that wakes the plugin, in bytes.
    pub payload: usize,
}

/// One input on its way through a stage.
#[derive(Debug)]
pub struct StageRun {
    stage: Arc<Stage>,
    /// The workflow and the stage, from the subject.
    at: StageSubject,
}

/// Decision about a message that a stage received.
enum Received {
    /// Wakes the plugin with the input.
    Input(Message, StageRun),
    /// The message is done: it is recorded in a join, or it has no effect any more.
    Over,
    /// The input failed at this stage.
    Failed(Message, StageRun, Reason),
    /// The message belongs to no workflow: a dead letter, and no event.
    Foreign(Message, Reason),
    /// A needed query failed: deliver the message again later.
    Later,
}

impl Stage {
    /// Receives a message; returns the input that is to be handled.
    pub async fn receive(
        self: Arc<Self>,
        message: Message,
        mut held: Box<HeldMessage>,
        settler: Settler,
    ) -> Option<Arrival> {
        let arrived = Instant::now();
        let (message, run, refused) = match self.sort(message, &held).await {
            Received::Over => {
                settler.drop_handled(held).await;
                return None;
            }
            Received::Later => {
                settler.put_off(held, STORE_RETRY_DELAY).await;
                return None;
            }
            Received::Foreign(message, reason) => {
                let fallback = || format!("pl-{}", held.info.stream_sequence);
                let trace = Trace::received(&message.headers, fallback);
                let retries = held.retries();
                let kind = Kind::Stage { number: 0, retries };
                settler
                    .dead_letter(call(kind, message, trace), held, reason)
                    .await;
                return None;
            }
            Received::Failed(message, run, reason) => (message, run, Some(reason)),
            Received::Input(message, run) => (message, run, None),
        };
        let mut message = message;
        let mut refused = refused.or_else(|| self.unfit(&run));
        if refused.is_none() {
            match settler.attempts().admit(held.counted(), arrived).await {
                Admission::Granted => {}
                Admission::Refused(reason) => refused = Some(reason),
                Admission::Later(delay) => {
                    settler.put_off(held, delay).await;
                    return None;
                }
            }
        }
        let retries = held.retries();
        message.headers.set(RETRY_COUNT, &retries.to_string());
        let trace = Trace::received(&message.headers, || run.at.workflow.as_str());
        let number = run.at.number;
        held.completion = Some(Arc::new(run));
        let call = call(Kind::Stage { number, retries }, message, trace);
        if let Some(reason) = refused {
            settler.dead_letter(call, held, reason).await;
            return None;
        }
        let schema = self.spec.schema.clone();
        Some(Arrival { call, held, schema })
    }

    /// The reason why an input must not wake the plugin.
    fn unfit(&self, run: &StageRun) -> Option<Reason> {
        let ends = run.at.number >= MAX_STAGES && !self.spec.next.is_empty();
        ends.then(|| {
            let text = format!(
                "number {MAX_STAGES} is the last that a workflow can have, and stage {:?} has \
                 more to follow; do the stages' next form a circle?",
                self.spec.stage
            );
            Reason::new(ReasonKind::TooLong, text)
        })
    }

    async fn sort(self: &Arc<Self>, message: Message, held: &HeldMessage) -> Received {
        let at: StageSubject = match message.subject.parse() {
            Ok(at) => at,
            Err(error) => {
                return Received::Foreign(
                    message,
                    Reason::new(ReasonKind::Malformed, error.to_string()),
                );
            }
        };
        match is_cancelled(&self.connection, &at.workflow).await {
            Ok(false) => {}
            Ok(true) => {
                tracing::debug!(
                    subject = message.subject,
                    "dropped: its workflow is cancelled"
                );
                return Received::Over;
            }
            Err(error) => {
                tracing::debug!(%error, subject = message.subject, "not taken in yet");
                return Received::Later;
            }
        }
        let stage = self.clone();
        let run = StageRun { stage, at };
        match &self.spec.join {
            Some(join) => joins::arrive(run, join, message, held).await,
            None if message.headers.get(JOIN) == Some(FAILED) => run.hears(&message, held).await,
            None => Received::Input(message, run),
        }
    }
}

impl StageRun {
    /// Handles a notice that an input will not come: no output of this stage comes either.
    async fn hears(&self, message: &Message, held: &HeldMessage) -> Received {
        let trace = Trace::received(&message.headers, || self.at.workflow.as_str());
        match self.pass_on(&trace, held, &message.payload).await {
            Ok(()) => Received::Over,
            Err(error) => {
                tracing::warn!(%error, subject = message.subject,
                    "a failure could not be passed on yet");
                Received::Later
            }
        }
    }
}
