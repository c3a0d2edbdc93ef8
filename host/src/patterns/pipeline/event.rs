//! What is said about a stage: `coord.<workflow>.<event>`.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::names::AgentId;
use crate::patterns::delivery::Held;
use crate::patterns::lifecycle::now;
use crate::transport::{Headers, Link, MESSAGE_ID, Stored, Trace, TransportError};

use super::StageRun;

/// One event of a stage.
pub(super) struct Event<'a> {
    /// `ready`, `complete`, `error`, `late`.
    pub(super) name: &'static str,
    /// Which stage of which workflow.
    pub(super) run: &'a StageRun,
    /// The message that it is about.
    pub(super) held: &'a Held,
    /// What that message belongs to.
    pub(super) trace: &'a Trace,
    /// Who handles it; none when no agent was woken.
    pub(super) agent: Option<&'a AgentId>,
    /// What it says beyond `stage`, `n`, `agent_id`, `at`.
    pub(super) more: Vec<(&'static str, Value)>,
}

impl Event<'_> {
    /// Stores it. Repeated for the same message, it is recognised.
    pub(super) async fn store(&self, link: &Link) -> Result<Stored, TransportError> {
        let subject = self.run.at.event(self.name);
        link.store(&subject, &self.id(), self.headers(), self.body())
            .await
    }

    /// Sends it, and does not wait until it is stored. What is stored later over the same connection
    /// comes behind it.
    pub(super) async fn send(&self, link: &Link) -> Result<(), TransportError> {
        let mut headers = self.headers();
        headers.set(MESSAGE_ID, &self.id());
        let subject = self.run.at.event(self.name);
        link.publish(&subject, None, headers, self.body()).await
    }

    fn id(&self) -> String {
        let output = format!("coord.{}.{}", self.run.at.stage, self.name);
        self.held.meta.output_id(&output)
    }

    fn headers(&self) -> Headers {
        let mut headers = Headers::new();
        self.trace.child().stamp(self.agent, &mut headers);
        headers.set("Content-Type", "application/json");
        headers
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
