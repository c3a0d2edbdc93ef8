//! Starts pipelines, and reads their results.

use std::time::Duration;

use serde::Serialize;

use super::to_json;
use crate::error::{CallError, Result};
use crate::imports;
use crate::messaging::Answer;
use crate::millis::millis;
use crate::reply::JSON;

/// Stores `input` as JSON for the first stage of a pipeline, and returns the id of the workflow,
/// which the host makes. For a workflow of a chosen id, text or headers: [`pipeline`].
///
/// # Errors
/// As [`Input::start`].
pub fn start_pipeline<T: Serialize + ?Sized>(stage: &str, input: &T) -> Result<String, CallError> {
    pipeline(stage).json(input)?.start()
}

/// Begins the input of a pipeline whose first stage is `stage`.
pub fn pipeline(stage: impl Into<String>) -> Input {
    Input {
        stage: stage.into(),
        workflow: None,
        payload: Vec::new(),
        headers: Vec::new(),
    }
}

/// The input of a pipeline before it is started: what [`pipeline`] begins.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a pipeline does nothing until it is started"]
pub struct Input {
    stage: String,
    workflow: Option<String>,
    payload: Vec<u8>,
    headers: Vec<(String, String)>,
}

impl Input {
    /// Chooses the id of the workflow. Nobody else may use it within the two days that its messages
    /// are kept.
    pub fn workflow(mut self, id: impl Into<String>) -> Self {
        self.workflow = Some(id.into());
        self
    }

    /// Sets the input, and no content type.
    pub fn bytes(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.payload = input.into();
        self
    }

    /// Sets the input, and `Content-Type: text/plain`.
    pub fn text(self, input: impl Into<String>) -> Self {
        self.bytes(input.into())
            .header("Content-Type", "text/plain")
    }

    /// Sets the input, and `Content-Type: application/json`.
    ///
    /// # Errors
    /// [`CallError::Json`] when `input` does not become JSON.
    pub fn json<T: Serialize + ?Sized>(self, input: &T) -> Result<Self, CallError> {
        Ok(self.bytes(to_json(input)?).header("Content-Type", JSON))
    }

    /// Adds a header: `Content-Type`, or a free `X-…` name. A name that stands already gets the new
    /// value.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        let name = name.into();
        self.headers
            .retain(|(other, _)| !other.eq_ignore_ascii_case(&name));
        self.headers.push((name, value.into()));
        self
    }

    /// Stores the input on `pipeline.<workflow>.01.<stage>`, and returns the id of the workflow.
    /// After [`Timeout`](CallError::Timeout) or [`Unavailable`](CallError::Unavailable) it may have
    /// begun.
    ///
    /// # Errors
    /// Needs `[permissions] publish` on that subject: [`Denied`](CallError::Denied).
    /// [`Invalid`](CallError::Invalid), [`TooLarge`](CallError::TooLarge),
    /// [`RateLimited`](CallError::RateLimited), [`NotFound`](CallError::NotFound) (the stream),
    /// [`Full`](CallError::Full).
    pub fn start(&self) -> Result<String, CallError> {
        let workflow = self.workflow.as_deref();
        imports::start_pipeline(&self.stage, workflow, &self.payload, &self.headers)
    }
}

/// The final result of a workflow that this instance has started (it remembers the last 1,000), at
/// most as long as the current call may last; none when it is not there by then.
///
/// # Errors
/// [`NotFound`](CallError::NotFound) for any other workflow, [`Invalid`](CallError::Invalid),
/// [`RateLimited`](CallError::RateLimited), [`Exhausted`](CallError::Exhausted),
/// [`TooLarge`](CallError::TooLarge), [`Timeout`](CallError::Timeout) when the stream does not
/// answer, [`Unavailable`](CallError::Unavailable).
pub fn pipeline_result(workflow: &str) -> Result<Option<Answer>, CallError> {
    imports::pipeline_result(workflow, None)
}

/// As [`pipeline_result`], and waits no longer than `timeout`, in whole milliseconds; zero reads
/// once.
///
/// # Errors
/// As [`pipeline_result`].
pub fn pipeline_result_within(
    workflow: &str,
    timeout: Duration,
) -> Result<Option<Answer>, CallError> {
    imports::pipeline_result(workflow, Some(millis(timeout)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use super::*;
    use crate::json;
    use crate::mock::{Bus, Call};

    #[test]
    fn a_pipeline_is_stored_and_brings_its_result() {
        let bus = Bus::new();
        bus.answer_pipeline("extract", |input| {
            Ok(json!({"of": input.text()?, "as": input.header("content-type")}).into())
        });
        bus.run(|| {
            let named = pipeline("extract")
                .workflow("w7")
                .text("in")
                .start()
                .unwrap();
            assert_eq!(named, "w7");
            let result = pipeline_result("w7").unwrap().unwrap();
            assert_eq!(result.subject(), "pipeline.w7.complete");
            let expected = json!({"of": "in", "as": "text/plain"});
            assert_eq!(result.json::<serde_json::Value>().unwrap(), expected);

            let made = start_pipeline("other", &[1]).unwrap();
            assert!(
                pipeline_result_within(&made, Duration::ZERO)
                    .unwrap()
                    .is_none()
            );
            assert_eq!(pipeline_result("w8").unwrap_err().kind(), "not-found");
        });
        let subjects: Vec<_> = bus.published().iter().map(|m| m.subject.clone()).collect();
        assert_eq!(subjects[0], "pipeline.w7.01.extract");
        assert!(subjects[1].ends_with(".01.other"));
        assert_eq!(bus.published()[0].stream.as_deref(), Some("COORDINATION"));
        let start = || bus.run(|| start_pipeline("extract", &1));
        bus.fail(Call::StartPipeline, CallError::Timeout);
        assert_eq!(start(), Err(CallError::Timeout));
        bus.deny("pipeline.>");
        assert_eq!(start().unwrap_err().kind(), "denied");
    }

    #[test]
    fn names_are_tokens() {
        Bus::new().run(|| {
            for bad in ["", "a.b", "*", "a b", &"x".repeat(97)] {
                assert_eq!(start_pipeline(bad, &1).unwrap_err().kind(), "invalid");
                let named = pipeline("extract").workflow(bad).start();
                assert_eq!(named.unwrap_err().kind(), "invalid", "{bad}");
            }
        });
    }
}
