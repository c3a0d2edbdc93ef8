//! The calls of `coordination`.

use std::time::Duration;

use mistersmith_sdk::coordination::{self, Status};
use mistersmith_sdk::{CallError, Value, json};
use serde::Deserialize;

use crate::done;

/// `coordination`. A payload is text or JSON.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Together {
    /// `{"request", "status", "answers": [{"agent", "payload", "content_type"}], "failed",
    /// "missing"}`, payloads as text.
    Scatter {
        #[serde(default)]
        payload: Value,
        timeout_ms: Option<u64>,
        min: Option<u32>,
        #[serde(default)]
        expect: Vec<String>,
        #[serde(default)]
        headers: Vec<(String, String)>,
    },
    /// `{"workflow"}`.
    StartPipeline {
        stage: String,
        workflow: Option<String>,
        #[serde(default)]
        payload: Value,
        #[serde(default)]
        headers: Vec<(String, String)>,
    },
    /// `{"subject", "payload", "headers"}`, the payload as text, or null.
    PipelineResult {
        workflow: String,
        timeout_ms: Option<u64>,
    },
    /// `{"ok": true}`.
    Signal {
        workflow: String,
        event: String,
        #[serde(default)]
        payload: Value,
    },
    /// The payload as text, or null.
    AwaitEvent {
        workflow: String,
        event: String,
        timeout_ms: Option<u64>,
    },
    /// `{"ok": true}`. The events come with `notices`: `{"agent", "notice", "workflow", "event",
    /// "payload"}`.
    Watch { workflow: String },
    /// `{"ok": true}`.
    Unwatch { workflow: String },
    /// `{"domain", "leading", "term"}`, or null.
    Leadership {},
    /// `{"state"}`.
    Circuit { service: String },
}

pub(crate) fn together(together: Together) -> Result<Value, CallError> {
    match together {
        Together::Scatter {
            payload,
            timeout_ms,
            min,
            expect,
            headers,
        } => {
            let mut question = coordination::scatter_bytes(text(payload)).expect(expect);
            if let Some(ms) = timeout_ms {
                question = question.timeout(Duration::from_millis(ms));
            }
            if let Some(min) = min {
                question = question.min(min);
            }
            for (name, value) in headers {
                question = question.header(name, value);
            }
            question.gather().map(|gathered| told(&gathered))
        }
        Together::StartPipeline {
            stage,
            workflow,
            payload,
            headers,
        } => {
            let mut input = coordination::pipeline(stage).bytes(text(payload));
            if let Some(workflow) = workflow {
                input = input.workflow(workflow);
            }
            for (name, value) in headers {
                input = input.header(name, value);
            }
            Ok(json!({"workflow": input.start()?}))
        }
        Together::PipelineResult {
            workflow,
            timeout_ms,
        } => {
            let result = match timeout_ms.map(Duration::from_millis) {
                Some(time) => coordination::pipeline_result_within(&workflow, time)?,
                None => coordination::pipeline_result(&workflow)?,
            };
            Ok(json!(result.map(|result| {
                let payload = String::from_utf8_lossy(result.payload());
                json!({"subject": result.subject(), "payload": payload, "headers": result.headers()})
            })))
        }
        Together::Signal {
            workflow,
            event,
            payload,
        } => coordination::signal_bytes(&workflow, &event, text(payload)).map(|()| done()),
        Together::AwaitEvent {
            workflow,
            event,
            timeout_ms,
        } => {
            let found = match timeout_ms.map(Duration::from_millis) {
                Some(time) => coordination::await_event_within(&workflow, &event, time)?,
                None => coordination::await_event(&workflow, &event)?,
            };
            Ok(json!(found.map(|event| {
                String::from_utf8_lossy(&event.payload).into_owned()
            })))
        }
        Together::Watch { workflow } => coordination::watch(&workflow).map(|()| done()),
        Together::Unwatch { workflow } => coordination::unwatch(&workflow).map(|()| done()),
        Together::Leadership {} => Ok(json!(coordination::leadership().map(|known| json!({
            "domain": known.domain, "leading": known.leading, "term": known.term,
        })))),
        Together::Circuit { service } => {
            let state = coordination::circuit(&service)?;
            Ok(json!({"state": state.to_string()}))
        }
    }
}

fn told(gathered: &coordination::Gathered) -> Value {
    let answers: Vec<Value> = gathered
        .answers()
        .iter()
        .map(|answer| {
            let payload = String::from_utf8_lossy(answer.payload());
            json!({
                "agent": answer.agent_id(), "payload": payload,
                "content_type": answer.content_type(),
            })
        })
        .collect();
    let failed: Vec<Value> = gathered
        .failed()
        .iter()
        .map(|failed| json!({"agent": failed.agent_id, "reason": failed.reason}))
        .collect();
    let status = match gathered.status() {
        Status::Complete => "complete",
        Status::Partial => "partial",
        Status::Timeout => "timeout",
    };
    json!({
        "request": gathered.request(), "status": status, "answers": answers, "failed": failed,
        "missing": gathered.missing(),
    })
}

fn text(payload: Value) -> String {
    match payload {
        Value::Null => String::new(),
        Value::String(text) => text,
        other => other.to_string(),
    }
}
