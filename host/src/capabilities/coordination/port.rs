//! What the capability asks the patterns that run coordination. The host injects who answers.

use std::time::Instant;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use serde::Serialize;

use crate::names::{AgentId, PluginName};
use crate::transport::{Headers, Link, TransportError};

/// Runs coordination for agents that have the right to it: permissions and rates were asked before.
pub trait Coordination: Send + Sync + 'static {
    /// Puts a question and gathers the answers, on this connection. Ends by the question's end; what
    /// is done when the caller has stopped waiting is that everybody is told how it ended.
    fn scatter(&self, link: &Link, question: Question) -> Gathering;

    /// What this agent knows of its election; none when it takes part in none.
    fn leadership(&self, agent: &AgentId) -> Option<Leadership>;

    /// The state of the plugin's own circuit; none when it is not of this service.
    fn own_circuit(&self, plugin: &PluginName, service: &str) -> Option<CircuitState>;
}

/// What a question brings, when it does.
pub type Gathering = BoxFuture<'static, Result<Gathered, TransportError>>;

/// A question to many agents.
#[derive(Debug, Clone)]
pub struct Question {
    /// Its id, a token of a subject.
    pub request: String,
    /// What is asked.
    pub payload: Bytes,
    /// With the headers of whoever asks.
    pub headers: Headers,
    /// Who asks, if it is an agent: it is not asked itself.
    pub asking: Option<AgentId>,
    /// When the gathering ends at the latest.
    pub until: Instant,
    /// How many answers are enough.
    pub min: Option<usize>,
    /// Whose answers are awaited; empty: anybody's.
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

/// What one agent answered.
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
    /// Who could not answer, and why.
    pub failed: Vec<(AgentId, String)>,
    /// Expected agents without an answer.
    pub missing: Vec<AgentId>,
}

/// What an agent knows of the election of its domain.
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
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
