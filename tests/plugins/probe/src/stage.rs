//! The stages of pipelines.

use mistersmith_sdk::{Reply, Result, Stage, Value, context, json, serde_json};

use super::{Origin, Probe};

impl Probe {
    /// Does what `on_stage` says, or where there is none, what the input says.
    pub(crate) fn staged(&mut self, input: &Stage) -> Result<Reply> {
        let origin = Origin {
            message: Some(input),
            stage: Some(input),
            retries: input.retries(),
        };
        match self.config.on_stage.clone() {
            Some(command) => self.answer(command, &origin),
            None => self.answer(input.json()?, &origin),
        }
    }
}

/// What a handler of a stage can know of its input.
pub(crate) fn told(origin: &Origin) -> Value {
    let Some(stage) = origin.stage else {
        return Value::Null;
    };
    let input: Value = serde_json::from_slice(stage.payload())
        .unwrap_or_else(|_| String::from_utf8_lossy(stage.payload()).into());
    json!({
        "stage": stage.name(), "n": stage.number(), "workflow": stage.workflow(),
        "retries": stage.retries(), "agent": context::agent_id(), "input": input,
    })
}
