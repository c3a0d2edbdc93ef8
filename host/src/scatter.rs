//! Scatter-gather, the asking side.
//!
//! One question on `scatter.<request>.task`, the answers on `gather.<request>.result`, and one
//! report on `gather.<request>.complete`.
//!
//! Answers come from agents of any host, or from any other client. Every wait is bounded, and
//! nothing in an answer is trusted beyond the name that it carries.

mod gathering;
mod question;
mod report;

use std::time::Instant;

use gathering::Gathering;
use mistersmith_core::names::AgentId;
use mistersmith_nats::trace::header;
use mistersmith_nats::{Connection, Headers, Subscription, TransportError};
use mistersmith_runtime::{Gathered, Question};

pub use question::{QUESTIONS, asked, asks, result_subject};
pub use report::{Report, shown};

/// A published question whose answers are in flight.
pub struct Asked {
    answers: Subscription,
    gathering: Gathering,
    until: Instant,
    /// The trace headers of the question, for the report.
    trace: Headers,
    asking: Option<AgentId>,
}

/// Publishes a question.
///
/// # Errors
/// As [`Connection::publish`]; the question may or may not have been published.
pub async fn ask(connection: &Connection, question: Question) -> Result<Asked, TransportError> {
    let request = &question.request;
    // Subscribes first, on the same connection: the server then has the subscription before any
    // agent receives the question.
    let results = format!("gather.{request}.result");
    let answers = connection.subscribe(&results, None).await?;
    let gathering = Gathering::new(&question);
    let subject = format!("scatter.{request}.task");
    let trace = question.headers;
    let mut headers = trace.clone();
    let wait = question.until.saturating_duration_since(Instant::now());
    headers.set(header::TIMEOUT, &wait.as_millis().to_string());
    connection
        .publish(&subject, None, headers, question.payload)
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
    /// Gathers until enough answers have come, or the time is over. Calls `on_answer` for each
    /// agent whose answer counts. The caller then publishes the outcome: [`Report::store`].
    pub async fn gather(
        mut self,
        connection: &Connection,
        mut on_answer: impl FnMut(&AgentId),
    ) -> (Gathered, Report) {
        let mut dropped = 0_u64;
        // Checked each time: in a flood of answers the timeout would never fire by itself.
        while !self.gathering.is_over() && Instant::now() < self.until {
            let next = tokio::time::timeout_at(self.until.into(), self.answers.next()).await;
            let Ok(Some(message)) = next else { break };
            match self.gathering.take(&message) {
                Ok(agent) => on_answer(&agent),
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
        let report = Report::of(&gathered, asking, headers, connection.max_payload());
        (gathered, report)
    }
}

/// Whether a header belongs to the trace; all others concern the question alone.
fn is_trace(name: &str) -> bool {
    use mistersmith_nats::trace::header;
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
