//! Scatter-gather, seen from whoever asks: one question on `scatter.<request>.task`, the answers on
//! `gather.<request>.result`, and one report on `gather.<request>.complete`.
//!
//! It knows nothing of who answers: agents of any host, or any other client. Nothing is awaited
//! without an end, and nothing of what comes is believed beyond the name that it carries.

mod gathering;
mod question;
mod report;

use std::time::Instant;

use crate::names::AgentId;
use crate::runtime::{Gathered, Question};
use crate::transport::trace::header;
use crate::transport::{Headers, Link, Subscription, TransportError};
use gathering::Gathering;

pub use question::{QUESTIONS, asked, asks, result_subject};
pub use report::{Report, shown};

/// A question that was put; its answers are on their way.
pub struct Asked {
    answers: Subscription,
    gathering: Gathering,
    until: Instant,
    /// The trace of the question, for the report.
    trace: Headers,
    asking: Option<AgentId>,
}

/// Puts a question.
///
/// # Errors
/// As [`Link::publish`]; the question may then have been put or not.
pub async fn ask(link: &Link, question: Question) -> Result<Asked, TransportError> {
    let request = &question.request;
    // First, and on the same connection: the server then has it before anybody hears the question.
    let results = format!("gather.{request}.result");
    let answers = link.subscribe(&results, None).await?;
    let gathering = Gathering::new(&question);
    let subject = format!("scatter.{request}.task");
    let trace = question.headers;
    let mut headers = trace.clone();
    let wait = question.until.saturating_duration_since(Instant::now());
    headers.set(header::TIMEOUT, &wait.as_millis().to_string());
    link.publish(&subject, None, headers, question.payload)
        .await?;
    Ok(Asked {
        answers,
        gathering,
        until: question.until,
        trace,
        asking: question.asking,
    })
}

impl Asked {
    /// Gathers until enough has come, or the time is over. `heard` is told of each agent whose
    /// answer counts. What is left to do is to tell everybody: [`Report::store`].
    pub async fn gather(
        mut self,
        link: &Link,
        mut heard: impl FnMut(&AgentId),
    ) -> (Gathered, Report) {
        let mut dropped = 0_u64;
        // Looked at each time: a flood of answers would never let the time run out by itself.
        while !self.gathering.is_over() && Instant::now() < self.until {
            let next = tokio::time::timeout_at(self.until.into(), self.answers.next()).await;
            let Ok(Some(message)) = next else { break };
            match self.gathering.take(&message) {
                Ok(agent) => heard(&agent),
                Err(reason) => {
                    dropped += 1;
                    tracing::debug!(subject = %message.subject, ?reason, "an answer does not count");
                }
            }
        }
        dropped += self.answers.dropped();
        if dropped > 0 {
            tracing::debug!(dropped, "answers to a question did not count");
        }
        let gathered = self.gathering.end();
        let mut headers = Headers::new();
        for (name, value) in self.trace.iter().filter(|(name, _)| is_trace(name)) {
            headers.set(name, value);
        }
        let asking = self.asking.as_ref().map(AgentId::as_str);
        let report = Report::of(&gathered, asking, headers, link.max_payload());
        (gathered, report)
    }
}

/// Whether a header connects a message with what caused it; the rest is about the question alone.
fn is_trace(name: &str) -> bool {
    use crate::transport::trace::header;
    [
        header::AGENT_ID,
        header::REQUEST_ID,
        header::TRACE_ID,
        header::SPAN_ID,
        header::TRACEPARENT,
        header::TRACESTATE,
        header::PRIORITY,
    ]
    .iter()
    .any(|known| known.eq_ignore_ascii_case(name))
}
