//! Splits the request for a report into work items and pipelines, and waits for the reporter to
//! complete it: work in the domain `reports`, task `workflow`.
//!
//! Takes `{"title": "…", "documents": [{"name": "a.md", "text": "…"}], "questions": ["…"]}`. It
//!
//! 1. asks the reporter to open a report and to collect the parts of it,
//! 2. starts the pipeline `extract → preprocess → analyze → summarize` for each document,
//! 3. publishes work: sentiment of paragraphs, word counts, questions; the results carry the request
//!    id of this item, by which the reporter receives them, and the `id` of their part,
//! 4. hands the results of the pipelines to the reporter,
//! 5. waits for its signal `coord.<report>.reported`, and replies the report.
//!
//! What does not come within `[config] patience` is missing in the report, and the report says so.
//! If the coordinator or the reporter dies, the item is delivered again, and all is done again as a
//! new report: to do the work twice is harmless, a pipeline of the old one cannot be taken for a
//! new one.

mod plan;

use std::time::Duration;

use mistersmith_sdk::serde_json::Value;
use mistersmith_sdk::{
    Agent, CallError, Error, Reply, Result, Work, context, coordination, export_agent, json, log,
    messaging,
};
use plan::{Plan, Request};
use serde::Deserialize;

#[derive(Deserialize)]
struct Coordinator {
    /// Of each document, how many paragraphs have their sentiment scored.
    #[serde(default = "three")]
    paragraphs: usize,
    /// Seconds to wait for all parts of a report.
    #[serde(default = "twenty")]
    patience: u64,
}

fn three() -> usize {
    3
}

fn twenty() -> u64 {
    20
}

impl Agent for Coordinator {
    fn start() -> Result<Self> {
        Ok(context::config()?)
    }

    fn work(&mut self, item: &Work) -> Result<Reply> {
        let request: Request = item.json()?;
        let deadline = Deadline::after(Duration::from_secs(self.patience));
        // Each attempt is a report of its own.
        let report = format!("{}-{}", context::request_id(), item.retries());
        let plan = Plan::of(&request, self.paragraphs);
        open(&report, &request, &plan)?;
        let pipelines = start_pipelines(&report, &request)?;
        for task in &plan.tasks {
            messaging::to(task.subject)
                .json(&task.payload)?
                .publish_stored()?;
        }
        log::info!(
            "report {report}: {} tasks, {} pipelines",
            plan.tasks.len(),
            pipelines.len()
        );
        for (place, workflow) in pipelines.iter().enumerate() {
            let summary = wait(workflow, &deadline)?;
            hand_over(&report, &plan::summary_id(place), &summary)?;
        }
        let reported = coordination::await_event_within(&report, "reported", deadline.left())?;
        if reported.is_none() {
            log::warn!("report {report}: not everything has come in time");
        }
        let made = messaging::request(&format!("reports.{report}.close"), "")?;
        Ok(Reply::bytes(made.payload()).with_content_type("application/json"))
    }

    fn configuration(&mut self) -> Result<()> {
        *self = Self::start()?;
        Ok(())
    }
}

/// The end of all waiting for one report, counted on the clock of the call.
struct Deadline {
    /// What is left of the call by then.
    remaining: Duration,
}

impl Deadline {
    fn after(patience: Duration) -> Self {
        Self {
            remaining: context::remaining().saturating_sub(patience),
        }
    }

    fn left(&self) -> Duration {
        context::remaining().saturating_sub(self.remaining)
    }
}

/// The result of a pipeline; null when it does not come in time.
fn wait(workflow: &str, deadline: &Deadline) -> Result<Value> {
    let Some(result) = coordination::pipeline_result_within(workflow, deadline.left())? else {
        log::warn!("the pipeline {workflow} has no result in time");
        return Ok(Value::Null);
    };
    Ok(result.json()?)
}

/// Opens the report at the reporter, before any work is published.
fn open(report: &str, request: &Request, plan: &Plan) -> Result<()> {
    let names: Vec<&str> = request
        .documents
        .iter()
        .map(|document| &*document.name)
        .collect();
    let wanted = json!({
        "report": report,
        "request": context::request_id(),
        "title": request.title,
        "documents": names,
        "questions": request.questions,
        "parts": plan.parts,
    });
    match messaging::request_json::<Value>("reports.open", &wanted) {
        Ok(_) => Ok(()),
        // There is a moment without a leader among the reporters, at the start or when one dies.
        Err(CallError::NoResponders) => Err(Error::retry("no reporter leads yet")),
        Err(error) => Err(error.into()),
    }
}

/// One workflow for each document, in their order.
fn start_pipelines(report: &str, request: &Request) -> Result<Vec<String>> {
    let mut started = Vec::new();
    for (place, document) in request.documents.iter().enumerate() {
        let input =
            coordination::pipeline("extract").workflow(format!("{report}-doc{}", place + 1));
        started.push(input.json(document)?.start()?);
    }
    Ok(started)
}

fn hand_over(report: &str, id: &str, value: &Value) -> Result<()> {
    let part = json!({"id": id, "value": value});
    messaging::request_json::<Value>(&format!("reports.{report}.part"), &part)?;
    Ok(())
}

export_agent!(Coordinator);

#[cfg(test)]
mod tests;
