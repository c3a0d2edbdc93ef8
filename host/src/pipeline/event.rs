//! Events of a stage: `coord.<workflow>.<event>`.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::clock::now;
use crate::delivery::HeldMessage;
use mistersmith_core::names::AgentId;
use mistersmith_nats::{Connection, Headers, MESSAGE_ID, Stored, Trace, TransportError};

use super::StageRun;

/// One event of a stage.
pub(super) struct Event<'a> {
    /// The name: `ready`, `complete`, `error`, `late`.
    pub(super) name: &'static str,
    /// The stage and its workflow.
    pub(super) run: &'a StageRun,
    /// The message that the event is about.
    pub(super) held: &'a HeldMessage,
    /// The trace of that message.
    pub(super) trace: &'a Trace,
    /// The agent that handles it; none when no agent was woken.
    pub(super) agent: Option<&'a AgentId>,
    /// Fields besides `stage`, `n`, `agent_id`, `at`.
    pub(super) more: Vec<(&'static str, Value)>,
}

impl Event<'_> {
    /// Stores the event. The stream drops a repetition for the same message.
    pub(super) async fn store(&self, connection: &Connection) -> Result<Stored, TransportError> {
        let subject = self.run.at.event(self.name);
        connection
            .store(&subject, &self.id(), self.headers(), self.body())
            .await
    }

    /// Sends the event without waiting until it is stored. Messages stored later over the same
    /// connection come after it.
    pub(super) async fn send(&self, connection: &Connection) -> Result<(), TransportError> {
        let mut headers = self.headers();
        headers.set(MESSAGE_ID, &self.id());
        let subject = self.run.at.event(self.name);
        connection
            .publish(&subject, None, headers, self.body())
            .await
    }

    fn id(&self) -> String {
        let output = format!("coord.{}.{}", self.run.at.stage, self.name);
        self.held.info.output_id(&output)
    }

    fn headers(&self) -> Headers {
        self.trace.child().stamped_json(self.agent)
    }

    fn body(&self) -> Bytes {
        let mut body = Map::new();
        body.insert("stage".to_owned(), json!(self.run.at.stage));
        body.insert("n".to_owned(), json!(self.run.at.number));
        let agent = self.agent.map(AgentId::as_str);
        body.insert("agent_id".to_owned(), json!(agent));
        body.insert("at".to_owned(), json!(now()));
        for (name, value) in &self.more {
            body.insert((*name).to_owned(), value.clone());
        }
        Value::Object(body).to_string().into()
    }
}
