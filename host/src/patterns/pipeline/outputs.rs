//! What is stored when a stage's input was handled, and what is said when it failed.

use bytes::Bytes;
use serde_json::json;

use crate::names::AgentId;
use crate::patterns::delivery::Held;
use crate::patterns::disposition::Reason;
use crate::patterns::lifecycle::reply_headers;
use crate::runtime::{Call, Reply};
use crate::transport::{Headers, Link, Stored, Trace, TransportError};

use super::event::Event;
use super::{FAILED, JOIN, STAGE, StageRun};

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
    ) -> Headers {
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
        let stored = event.store(link).await?;
        let why = json!({
            "stage": self.at.stage,
            "kind": reason.kind,
            "error": reason.message,
            "dlq_sequence": letter.sequence,
        });
        let why = Bytes::from(why.to_string());
        self.pass_on(link, &call.trace, held, &why).await?;
        Ok(stored)
    }

    /// Says to the stages that follow that no output of this one comes, so that a join need not
    /// wait for its timeout. Repeated for the same message, it is recognised.
    pub(super) async fn pass_on(
        &self,
        link: &Link,
        trace: &Trace,
        held: &Held,
        why: &Bytes,
    ) -> Result<(), TransportError> {
        for stage in &self.stage.spec.next {
            let Some(at) = self.at.next(stage) else {
                continue;
            };
            let mut headers = Headers::new();
            trace.child().stamp(None, &mut headers);
            headers.set("Content-Type", "application/json");
            headers.set(JOIN, FAILED);
            headers.set(STAGE, self.at.stage.as_str());
            let id = held.meta.output_id(&format!("failed.{stage}"));
            link.store(&at.to_string(), &id, headers, why.clone())
                .await?;
        }
        Ok(())
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
