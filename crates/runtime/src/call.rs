//! The values of a call: messages and notices for an agent, its replies, failures and health.
//!
//! They translate `handler.wit` and decide nothing. Every text and size that comes from the guest
//! is checked here: nothing unchecked reaches headers or logs.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::ExitReason;
use crate::bindings::exports::mistersmith::agent::handler as wit;
use crate::bindings::mistersmith::agent::types;
use crate::capabilities::AgentContext;
use mistersmith_core::limits::MAX_RETRY_DELAY;
use mistersmith_core::names::Priority;
use mistersmith_core::permissions::Refusal;
use mistersmith_core::permissions::headers::guest_headers;
use mistersmith_nats::{SharedHeaders, Trace};

/// One message for an agent.
#[derive(Debug)]
pub struct Call {
    /// How it came.
    pub kind: Kind,
    /// The subject it was published on.
    pub subject: String,
    /// Its payload.
    pub payload: Bytes,
    /// Its headers; the guest gets them when it asks. Shared with whoever settles the message.
    pub headers: SharedHeaders,
    /// The trace that it continues.
    pub trace: Trace,
    /// When the sender stops waiting for the answer, if it said so. It does not end the call, since
    /// a stranger's hurry must not cost an agent its memory; but no request in the call waits
    /// longer.
    pub waits_until: Option<Instant>,
}

impl Call {
    /// The bytes of all parts of the message.
    pub fn bytes(&self) -> usize {
        let named = self.subject.len().saturating_add(self.headers.bytes());
        named.saturating_add(self.payload.len())
    }
}

/// How a message came to the agent: the variant `kind` of `handler.wit`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// `agent.<id>.cmd.execute`.
    Execute,
    /// A work item.
    Work {
        /// Its priority.
        priority: Priority,
        /// How many times it was tried before.
        retries: u32,
    },
    /// The input of a pipeline stage.
    Stage {
        /// Its number in the workflow, from 1.
        number: u8,
        /// How many times it was tried before.
        retries: u32,
    },
    /// A question to many agents: its id.
    Scatter(String),
    /// A subscription.
    Subscription {
        /// The number that `subscribe` returned; none for a `[[subscribe]]` of the manifest.
        id: Option<u64>,
        /// The sender waits for a reply.
        wants_reply: bool,
    },
}

impl From<Kind> for wit::Kind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Execute => Self::Execute,
            Kind::Work { priority, retries } => Self::Work(wit::Work {
                priority: match priority {
                    Priority::Critical => types::Priority::Critical,
                    Priority::High => types::Priority::High,
                    Priority::Normal => types::Priority::Normal,
                    Priority::Low => types::Priority::Low,
                },
                retries,
            }),
            Kind::Stage { number, retries } => Self::Stage(wit::Stage {
                number: number.into(),
                retries,
            }),
            Kind::Scatter(request) => Self::Scatter(request),
            Kind::Subscription { id, wants_reply } => {
                Self::Subscription(wit::Subscription { id, wants_reply })
            }
        }
    }
}

/// A notification for an agent: not a message, and without a reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// It became the leader of a domain, or is no longer.
    Leadership {
        /// The domain.
        domain: String,
        /// Whether it leads.
        leading: bool,
        /// The term that began or ended.
        term: u64,
    },
    /// Its configuration changed.
    Configuration,
    /// An event of a workflow that it watches.
    Coordination {
        /// The workflow.
        workflow: String,
        /// The event.
        event: String,
        /// The payload of the event.
        payload: Bytes,
    },
}

impl From<Notice> for wit::Notice {
    fn from(notice: Notice) -> Self {
        match notice {
            Notice::Leadership {
                domain,
                leading,
                term,
            } => Self::Leadership(wit::Leadership {
                domain,
                leading,
                term,
            }),
            Notice::Configuration => Self::Configuration,
            Notice::Coordination {
                workflow,
                event,
                payload,
            } => Self::Coordination(wit::CoordinationEvent {
                workflow,
                event,
                payload: payload.into(),
            }),
        }
    }
}

/// The reply of an agent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reply {
    /// The payload, within the plugin's limit.
    pub payload: Bytes,
    /// Its `Content-Type`, if the agent set one.
    pub content_type: Option<String>,
    /// Further headers: checked, `X-…` names only.
    pub headers: Vec<(String, String)>,
}

/// Why an agent did not handle a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// Trying again later may help.
    Retry {
        /// What went wrong.
        message: String,
        /// How long the agent wishes to wait, at most 24 hours; none for the plugin's `backoff`.
        delay: Option<Duration>,
    },
    /// Trying again cannot help.
    Reject(String),
    /// Anything else.
    Other(String),
}

/// How the agent judges itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Health {
    /// It can do its work.
    pub ok: bool,
    /// A sentence for a person.
    pub detail: Option<String>,
    /// How loaded it is, 0 to 1; none when it leaves that to the host.
    pub load: Option<f32>,
}

/// How a call ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome<T = Option<Reply>> {
    /// The agent returned.
    Done(T),
    /// The agent returned a failure. The instance lives.
    Failed(Failure),
    /// The instance ended during the call.
    Exited(ExitReason),
}

/// Longest sentence of a failure or a health report that is passed on, in bytes: it ends up in
/// headers and logs.
const MAX_SENTENCE: usize = 1024;

/// Checks an answer of the guest: its sizes, texts and header names.
pub(super) fn answer(
    context: &AgentContext,
    returned: Result<Option<wit::Reply>, wit::Failure>,
) -> Result<Option<Reply>, Failure> {
    match returned {
        Ok(Some(reply)) => checked(context, reply).map(Some),
        Ok(None) => Ok(None),
        Err(failure) => Err(failure.into()),
    }
}

/// A reply that breaks a rule is rejected and not retried: the guest would make the same one again.
fn checked(context: &AgentContext, reply: wit::Reply) -> Result<Reply, Failure> {
    let refused = |refusal: Refusal| {
        let reason = refusal.to_string();
        let _counted = context.refuse("reply", refusal);
        Failure::Reject(format!("the reply of the agent cannot be sent: {reason}"))
    };
    let named = reply
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()));
    let content = reply
        .content_type
        .iter()
        .map(|value| ("Content-Type", value.as_str()));
    guest_headers(named.chain(content)).map_err(refused)?;
    let size = reply.payload.len();
    if context.check_size("reply", size).is_err() {
        let most = context.limits.payload;
        return Err(Failure::Reject(format!(
            "the reply of the agent has {size} bytes, and [limits] payload allows {most}"
        )));
    }
    Ok(Reply {
        payload: reply.payload.into(),
        content_type: reply.content_type,
        headers: reply.headers,
    })
}

impl From<wit::Failure> for Failure {
    fn from(failure: wit::Failure) -> Self {
        match failure {
            wit::Failure::Retry(retry) => Self::Retry {
                message: sentence(retry.message),
                delay: retry
                    .delay_ms
                    .map(|ms| Duration::from_millis(ms.into()).min(MAX_RETRY_DELAY)),
            },
            wit::Failure::Reject(message) => Self::Reject(sentence(message)),
            wit::Failure::Other(message) => Self::Other(sentence(message)),
        }
    }
}

impl From<wit::HealthReport> for Health {
    fn from(report: wit::HealthReport) -> Self {
        Self {
            ok: report.ok,
            detail: report.detail.map(sentence),
            load: report
                .load
                .filter(|load| load.is_finite())
                .map(|load| load.clamp(0.0, 1.0)),
        }
    }
}

/// A text of the guest, made safe for headers and logs.
fn sentence(text: String) -> String {
    crate::capabilities::clean(&text, MAX_SENTENCE)
}
