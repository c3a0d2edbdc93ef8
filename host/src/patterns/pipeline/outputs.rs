//! What is stored when a stage's input was handled, and what is said when it failed.

use serde_json::json;

use crate::names::AgentId;
use crate::patterns::delivery::Held;
use crate::patterns::disposition::Reason;
use crate::patterns::lifecycle::reply_headers;
use crate::runtime::{Call, Reply};
use crate::transport::{Link, Stored, TransportError};

use super::event::Event;
use super::{STAGE, StageRun};

impl StageRun {
    /// Says that an agent is about to handle the input. Not stored for sure: nothing waits for it.
    pub(in crate::patterns) async fn ready(
        &self,
        link: &Link,
        agent: &AgentId,
        call: &Call,
        held: &Held,
    ) {
        let event = self.event("ready", Some(agent), call, held);
        if let Err(error) = event.send(link).await {
            tracing::debug!(%error, subject = %call.subject, "event `ready` not sent");
        }
    }

    /// What is stored of what the stage made: subjects, and which output each is.
    pub(in crate::patterns) fn outputs(&self) -> Vec<(String, String)> {
        let next = &self.stage.spec.next;
        if next.is_empty() {
            return vec![(self.at.complete(), "result".to_owned())];
        }
        // An input with the last number, which nothing can follow, does not wake the plugin.
        let outputs = next.iter().filter_map(|stage| {
            let at = self.at.next(stage)?;
            Some((at.to_string(), format!("next.{stage}")))
        });
        outputs.collect()
    }

    /// The headers of its outputs.
    pub(in crate::patterns) fn headers(
        &self,
        agent: &AgentId,
        call: &Call,
        reply: &Reply,
    ) -> crate::transport::Headers {
        let mut headers = reply_headers(agent, call, reply);
        headers.set(STAGE, self.at.stage.as_str());
        headers
    }

    /// Says that its outputs are stored.
    pub(in crate::patterns) async fn complete(
        &self,
        link: &Link,
        agent: &AgentId,
        call: &Call,
        held: &Held,
    ) -> Result<Stored, TransportError> {
        let event = self.event("complete", Some(agent), call, held);
        event.store(link).await
    }

    /// Says that the workflow ends here.
    pub(in crate::patterns) async fn failed(
        &self,
        link: &Link,
        agent: Option<&AgentId>,
        call: &Call,
        held: &Held,
        reason: &Reason,
        letter: &Stored,
    ) -> Result<Stored, TransportError> {
        let mut event = self.event("error", agent, call, held);
        event.more = vec![
            ("kind", json!(reason.kind)),
            ("error", json!(reason.message)),
            ("deliveries", json!(held.meta.deliveries)),
            ("attempts", json!(held.tries.begun())),
            ("dlq_sequence", json!(letter.sequence)),
        ];
        event.store(link).await
    }

    fn event<'a>(
        &'a self,
        name: &'static str,
        agent: Option<&'a AgentId>,
        call: &'a Call,
        held: &'a Held,
    ) -> Event<'a> {
        Event {
            name,
            run: self,
            held,
            trace: &call.trace,
            agent,
            more: Vec::new(),
        }
    }
}
