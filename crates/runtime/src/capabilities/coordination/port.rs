//! The port through which `coordination` reaches the parts of the host that run it.

use std::time::Instant;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use mistersmith_core::names::{AgentId, PluginName};
use mistersmith_nats::{Connection, Headers, TransportError};

/// Runs coordination. The caller has checked permissions and rates.
pub trait Coordination: Send + Sync + 'static {
    /// Publishes a question and gathers the answers, on this connection, until the question's end.
    /// A caller that stops waiting ends the gathering; its outcome is published all the same.
    fn scatter(&self, connection: &Connection, question: Question) -> Gathering;

    /// The election of this agent as far as it knows; none when it takes part in none.
    fn leadership(&self, agent: &AgentId) -> Option<Leadership>;

    /// The state of the plugin's own circuit; none when it is not of this service.
    fn own_circuit(&self, plugin: &PluginName, service: &str) -> Option<CircuitState>;
}

/// The future of the answers.
pub type Gathering = BoxFuture<'static, Result<Gathered, TransportError>>;

/// A question to many agents.
#[derive(Debug, Clone)]
pub struct Question {
    /// Its id, a token of a subject.
    pub request: String,
    /// The payload.
    pub payload: Bytes,
    /// Its headers.
    pub headers: Headers,
    /// The agent that asks, if it is one: it is not asked itself.
    pub asking: Option<AgentId>,
    /// When the gathering ends at the latest.
    pub until: Instant,
    /// How many answers are enough.
    pub min: Option<usize>,
    /// The agents whose answers are awaited; empty for any.
    pub expected: Vec<AgentId>,
    /// The most bytes of one answer.
    pub answer_bytes: usize,
    /// The most bytes of all answers.
    pub total_bytes: usize,
}

/// How a gathering ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum GatherStatus {
    /// Everything that was asked for came.
    Complete,
    /// Some answers came, and fewer than were asked for.
    Partial,
    /// No answer came.
    Timeout,
}

/// The answer of one agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatherAnswer {
    /// The agent.
    pub agent: AgentId,
    /// Its answer.
    pub payload: Bytes,
    /// Its `Content-Type`.
    pub content_type: Option<String>,
}

/// What was gathered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gathered {
    /// The id of the question.
    pub request: String,
    /// How it ended.
    pub status: GatherStatus,
    /// One answer for each agent, as they came.
    pub answers: Vec<GatherAnswer>,
    /// Agents that could not answer, and why.
    pub failed: Vec<(AgentId, String)>,
    /// Expected agents without an answer.
    pub missing: Vec<AgentId>,
}

/// The state of an election, as an agent knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leadership {
    /// The domain.
    pub domain: String,
    /// The agent leads.
    pub leading: bool,
    /// The newest term it knows of; 0 before the first.
    pub term: u64,
}

/// Whether calls of a service are let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CircuitState {
    /// They are.
    Closed,
    /// They are not.
    Open,
    /// One is, to see whether the service is back.
    HalfOpen,
}

impl CircuitState {
    /// The word that stands in subjects and in CIRCUITS.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half-open",
        }
    }

    /// Reads the word that stands in subjects and in CIRCUITS.
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "closed" => Some(Self::Closed),
            "open" => Some(Self::Open),
            "half-open" => Some(Self::HalfOpen),
            _ => None,
        }
    }
}
