//! Pipelines: what a stage takes, and what becomes of what it makes.
//!
//! A stage's input is pulled, kept, handled and settled as a work item is; here is what differs. What
//! comes in is checked against its subject, the cancelled workflows and, on a stage that joins, the
//! record of the branches (`joins`). What a handler returns goes to the next stages (`outputs`).
//! Nothing here acknowledges anything.

mod deadlines;
mod event;
mod join;
mod joined;
mod joins;
mod outputs;

use std::sync::Arc;
use std::time::Instant;

use crate::config::StageSpec;
use crate::limits::{MAX_STAGES, STORE_RETRY_DELAY};
use crate::names::StageSubject;
use crate::names::headers::RETRY_COUNT;
pub use crate::names::headers::{JOIN, STAGE};
use crate::runtime::Kind;
use crate::transport::{Kv, Link, Message, ServerClock, Trace};

use super::attempts::Admission;
use super::cancelled::is_cancelled;
use super::claims::Arrival;
use super::delivery::{Held, Output, call};
use super::disposition::{Reason, Settler};

pub use deadlines::watch;

/// A host says that a join's time is over.
const DEADLINE: &str = "deadline";
/// The payload is the joined input: the branches are not waited for. A dead letter of a joining stage
/// has it, so that it can be sent again.
const JOINED: &str = "joined";
/// The payload is what had come when a join failed: sent again, it reopens the join.
const INCOMPLETE: &str = "incomplete";
/// The stage that `X-Stage` names has failed for good: its output does not come.
const FAILED: &str = "failed";

/// A stage that a plugin does on this host.
#[derive(Debug, Clone)]
pub struct Stage {
    /// What the manifest says.
    pub spec: StageSpec,
    /// PIPELINES.
    pub records: Kv,
    /// The connection for work.
    pub link: Link,
    /// The clock of its server: deadlines are by that.
    pub clock: ServerClock,
    /// Largest input that wakes the plugin, in bytes.
    pub payload: usize,
}

/// One input on its way through a stage.
#[derive(Debug)]
pub struct StageRun {
    stage: Arc<Stage>,
    /// Where in which workflow.
    at: StageSubject,
}

/// What is to be done with a message that a stage got.
enum Received {
    /// The plugin is woken with it.
    Input(Message, StageRun),
    /// It has done what it was for: the record of a join has it, or it means nothing any more.
    Over,
    /// It failed at this stage.
    Failed(Message, StageRun, Reason),
    /// It belongs to no workflow: a dead letter, and no event.
    Foreign(Message, Reason),
    /// Something could not be asked: later.
    Later,
}

impl Stage {
    /// Takes in a message; what is to be handled is returned.
    pub async fn receive(
        self: Arc<Self>,
        message: Message,
        mut held: Box<Held>,
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
                let fallback = || format!("pl-{}", held.meta.stream_sequence);
                let trace = Trace::received(&message.headers, fallback);
                let retries = held.retries();
                let kind = Kind::Stage { number: 0, retries };
                settler
                    .refuse(call(kind, message, trace), held, reason)
                    .await;
                return None;
            }
            Received::Failed(message, run, reason) => (message, run, Some(reason)),
            Received::Input(message, run) => (message, run, None),
        };
        let mut message = message;
        let mut refused = refused.or_else(|| self.unfit(&run));
        if refused.is_none() {
            match settler.attempts().admit(&mut held, arrived).await {
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
        held.output = Output::Stage(Box::new(run));
        let call = call(Kind::Stage { number, retries }, message, trace);
        if let Some(reason) = refused {
            settler.refuse(call, held, reason).await;
            return None;
        }
        let schema = self.spec.schema.clone();
        Some(Arrival { call, held, schema })
    }

    /// Why an input must not wake the plugin.
    fn unfit(&self, run: &StageRun) -> Option<Reason> {
        let ends = run.at.number >= MAX_STAGES && !self.spec.next.is_empty();
        ends.then(|| {
            let text = format!(
                "number {MAX_STAGES} is the last that a workflow can have, and stage {:?} has \
                 more to follow; do the stages' next form a circle?",
                self.spec.stage
            );
            Reason::new("too-long", text)
        })
    }

    async fn sort(self: &Arc<Self>, message: Message, held: &Held) -> Received {
        let at: StageSubject = match message.subject.parse() {
            Ok(at) => at,
            Err(error) => {
                return Received::Foreign(message, Reason::new("malformed", error.to_string()));
            }
        };
        match is_cancelled(&self.link, &at.workflow).await {
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
    /// An input will not come: neither will what would be made of it.
    async fn hears(&self, message: &Message, held: &Held) -> Received {
        let trace = Trace::received(&message.headers, || self.at.workflow.as_str());
        let link = &self.stage.link;
        match self.pass_on(link, &trace, held, &message.payload).await {
            Ok(()) => Received::Over,
            Err(error) => {
                tracing::warn!(%error, subject = message.subject,
                    "a failure could not be passed on yet");
                Received::Later
            }
        }
    }

    /// Whether the workflow is cancelled; waits until that can be told.
    pub(super) async fn is_cancelled(&self) -> Result<bool, crate::transport::TransportError> {
        is_cancelled(&self.stage.link, &self.at.workflow).await
    }
}
