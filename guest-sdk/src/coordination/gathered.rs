//! The answers to a scattered question, and the rules by which the host gathers them.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::error::{CallError, Result};

/// The rules of a gathering.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Gathering {
    pub(crate) timeout_ms: Option<u32>,
    pub(crate) min: Option<u32>,
    pub(crate) expected: Vec<String>,
}

/// How a gathering ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Everything that was asked for came: all expected answers, or `min` of them; where neither
    /// was named, at least one.
    Complete,
    /// Some answers came, and fewer than were asked for.
    Partial,
    /// No answer came.
    Timeout,
}

/// The outcome of a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gathered {
    pub(crate) request: String,
    pub(crate) status: Status,
    pub(crate) answers: Vec<Answer>,
    pub(crate) failed: Vec<Failed>,
    pub(crate) missing: Vec<String>,
}

impl Gathered {
    /// The id of the question: it was put on `scatter.<request>.task`.
    #[must_use]
    pub fn request(&self) -> &str {
        &self.request
    }

    /// How the gathering ended.
    #[must_use]
    pub fn status(&self) -> Status {
        self.status
    }

    /// Everything that was asked for came.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.status == Status::Complete
    }

    /// One answer for each agent that gave one, in the order of their coming.
    #[must_use]
    pub fn answers(&self) -> &[Answer] {
        &self.answers
    }

    /// Every answer as JSON of the type wanted.
    ///
    /// # Errors
    /// [`CallError::Json`] when one is not; to skip such answers, ask each for its
    /// [`json`](Answer::json).
    pub fn json<T: DeserializeOwned>(&self) -> Result<Vec<T>, CallError> {
        self.answers.iter().map(Answer::json).collect()
    }

    /// The agents that returned an error, or whose answer was over a limit.
    #[must_use]
    pub fn failed(&self) -> &[Failed] {
        &self.failed
    }

    /// The expected agents without an answer, those that failed included.
    #[must_use]
    pub fn missing(&self) -> &[String] {
        &self.missing
    }
}

/// The answer of one agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub(crate) agent_id: String,
    pub(crate) payload: Vec<u8>,
    pub(crate) content_type: Option<String>,
}

impl Answer {
    /// The id of the agent.
    #[must_use]
    pub fn agent_id(&self) -> &str {
        &self.agent_id
    }

    /// Its answer.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// Its answer as text.
    ///
    /// # Errors
    /// [`CallError::Other`] when it is not UTF-8.
    pub fn text(&self) -> Result<&str, CallError> {
        let agent = &self.agent_id;
        std::str::from_utf8(&self.payload).map_err(|error| {
            CallError::Other(format!(
                "the answer of `{agent}` is not UTF-8 text: {error}"
            ))
        })
    }

    /// Its answer as JSON of the type wanted.
    ///
    /// # Errors
    /// [`CallError::Json`] when it is not.
    pub fn json<'a, T: Deserialize<'a>>(&'a self) -> Result<T, CallError> {
        let agent = &self.agent_id;
        serde_json::from_slice(&self.payload)
            .map_err(|error| CallError::Json(format!("the answer of `{agent}`: {error}")))
    }

    /// Its `Content-Type`; none when unknown.
    #[must_use]
    pub fn content_type(&self) -> Option<&str> {
        self.content_type.as_deref()
    }
}

/// An agent that was asked and could not answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    /// The id of the agent.
    pub agent_id: String,
    /// Why, for a person.
    pub reason: String,
}
