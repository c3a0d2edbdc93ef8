//! Several messages of a subscription in one call.

use mistersmith_sdk::{Agent, Message, Reply, Result, Value, context, json};

use super::Probe;

impl Probe {
    /// Reports `{"agent", "batch": ["<payload>", …]}`, then does with each what it does with one.
    pub(crate) fn together(&mut self, messages: &[Message]) -> Vec<Result<Reply>> {
        let payloads: Vec<Value> = messages
            .iter()
            .map(|message| String::from_utf8_lossy(message.payload()).into())
            .collect();
        self.report(&json!({"agent": context::agent_id(), "batch": payloads}));
        messages
            .iter()
            .map(|message| self.message(message))
            .collect()
    }
}
