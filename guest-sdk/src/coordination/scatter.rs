//! Scatter: one question to many agents.

use std::time::Duration;

use serde::Serialize;

use super::gathered::{Gathered, Gathering};
use super::to_json;
use crate::error::{CallError, Result};
use crate::imports;
use crate::millis::millis;
use crate::reply::JSON;

/// Begins a question in JSON to every agent whose manifest has `[scatter]`, except this one.
///
/// ```
/// use mistersmith_sdk::mock::Bus;
/// use mistersmith_sdk::{coordination, json};
///
/// let bus = Bus::new();
/// bus.answer_scatter("a-001", |question| Ok(json!(question.json::<i64>()? + 1).into()));
/// bus.answer_scatter("a-002", |question| Ok(json!(question.json::<i64>()? + 2).into()));
///
/// let sum: i64 = bus.run(|| {
///     let gathered = coordination::scatter(&40).min(2).gather()?;
///     Ok::<_, mistersmith_sdk::Error>(gathered.json::<i64>()?.into_iter().sum())
/// })?;
/// assert_eq!(sum, 83);
/// # Ok::<(), mistersmith_sdk::Error>(())
/// ```
pub fn scatter<T: Serialize + ?Sized>(question: &T) -> Scatter {
    Scatter::new(to_json(question)).header("Content-Type", JSON)
}

/// Begins a question of text or bytes.
pub fn scatter_bytes(question: impl Into<Vec<u8>>) -> Scatter {
    Scatter::new(Ok(question.into()))
}

/// The builder of a question, made by [`scatter`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "nobody is asked before `gather`"]
pub struct Scatter {
    payload: Result<Vec<u8>, CallError>,
    headers: Vec<(String, String)>,
    timeout: Option<Duration>,
    min: Option<u32>,
    expected: Vec<String>,
}

impl Scatter {
    fn new(payload: Result<Vec<u8>, CallError>) -> Self {
        Self {
            payload,
            headers: Vec::new(),
            timeout: None,
            min: None,
            expected: Vec::new(),
        }
    }

    /// Gathers for so long, in whole milliseconds; otherwise, and at most, for what is left of the
    /// current call. Leave time to handle the answers.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// So many answers are enough, at least 1.
    pub fn min(mut self, answers: u32) -> Self {
        self.min = Some(answers);
        self
    }

    /// Waits for these agents, at most 1,000, and lets no others count: for all of them, or for
    /// [`min`](Self::min) of them.
    pub fn expect<I: Into<String>>(mut self, agents: impl IntoIterator<Item = I>) -> Self {
        self.expected.extend(agents.into_iter().map(Into::into));
        self
    }

    /// Adds a header: `Content-Type`, or a free `X-…` name.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Publishes the question, and waits until enough have answered, or the time is over. No answer
    /// at all is not an error: the status is [`Status::Timeout`](super::Status::Timeout).
    ///
    /// # Errors
    /// Needs `[permissions] publish` on `scatter.*.task`: [`Denied`](CallError::Denied).
    /// [`Invalid`](CallError::Invalid) for what is no agent id, or for a `min` that cannot be
    /// reached; [`Json`](CallError::Json), [`TooLarge`](CallError::TooLarge),
    /// [`RateLimited`](CallError::RateLimited), [`Exhausted`](CallError::Exhausted),
    /// [`Unavailable`](CallError::Unavailable).
    pub fn gather(self) -> Result<Gathered, CallError> {
        let gathering = Gathering {
            timeout_ms: self.timeout.map(millis),
            min: self.min,
            expected: self.expected,
        };
        imports::scatter(&self.payload?, &self.headers, gathering)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use super::*;
    use crate::coordination::{Answer, Status};
    use crate::mock::Bus;
    use crate::{Reply, json};

    fn bus() -> Bus {
        let bus = Bus::new();
        bus.answer_scatter("a-001", |_| Ok(json!(1).into()));
        bus.answer_scatter("a-002", |_| Err(CallError::Other("no idea".into())));
        bus.answer_scatter("b-001", |_| Ok(Reply::none()));
        bus.answer_scatter("b-002", |_| Ok("two".into()));
        bus
    }

    fn agents(gathered: &Gathered) -> Vec<&str> {
        gathered.answers().iter().map(Answer::agent_id).collect()
    }

    #[test]
    fn everybody_is_asked_and_whoever_answers_counts() {
        let bus = bus();
        let ask = || {
            scatter(&"q")
                .timeout(Duration::from_millis(7))
                .header("X-A", "1")
        };
        let all = bus.run(|| ask().gather()).unwrap();
        assert!(all.is_complete());
        assert_eq!(agents(&all), ["a-001", "b-002"]);
        assert_eq!(all.failed()[0].agent_id, "a-002");
        assert_eq!(all.failed()[0].reason, "other: no idea");
        assert_eq!(all.answers()[0].json(), Ok(1));
        assert_eq!(all.answers()[1].text(), Ok("two"));
        assert_eq!(all.answers()[1].content_type(), Some("text/plain"));
        assert_eq!(all.json::<i64>().unwrap_err().kind(), "json");
        let asked = &bus.published()[0];
        assert_eq!(asked.subject, format!("scatter.{}.task", all.request()));
        assert_eq!(asked.header("x-a"), Some("1"));
        assert_eq!(asked.timeout, Some(Duration::from_millis(7)));
        let nobody = Bus::new().run(|| scatter_bytes("q").gather()).unwrap();
        assert_eq!(nobody.status(), Status::Timeout);
    }

    #[test]
    fn enough_are_enough_and_the_others_are_missing() {
        let bus = bus();
        let status = |scatter: Scatter| bus.run(|| scatter.gather()).unwrap();
        assert_eq!(agents(&status(scatter(&1).min(1))), ["a-001"]);
        assert_eq!(status(scatter(&1).min(3)).status(), Status::Partial);
        let two = status(scatter(&1).expect(["a-002", "b-002", "c-001"]));
        assert_eq!(two.status(), Status::Partial);
        assert_eq!(agents(&two), ["b-002"]);
        assert_eq!(two.missing(), ["a-002", "c-001"]);
        let one = status(scatter(&1).expect(["b-002", "c-001"]).min(1));
        assert!(one.is_complete());
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let bus = bus();
        let kind = |scatter: Scatter| bus.run(|| scatter.gather()).unwrap_err().kind();
        assert_eq!(kind(scatter(&1).min(0)), "invalid");
        assert_eq!(kind(scatter(&1).expect(["a"])), "invalid");
        assert_eq!(kind(scatter(&1).expect(["a-001"]).min(2)), "invalid");
        let lists = std::collections::BTreeMap::from([(vec![1], 2)]);
        assert_eq!(kind(scatter(&lists)), "json");
        assert_eq!(kind(scatter(&1).header("Nats-Msg-Id", "1")), "invalid");
        bus.deny("scatter.*.task");
        assert_eq!(kind(scatter(&1)), "denied");
    }
}
