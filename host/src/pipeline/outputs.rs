//! Outputs and events of a stage: stored after its input was handled, or published when it failed.

use bytes::Bytes;
use serde_json::json;

use crate::delivery::reply::reply_headers;
use crate::delivery::{FinalFailure, HeldMessage};
use mistersmith_core::names::AgentId;
use mistersmith_nats::{Headers, Stored, Trace, TransportError};
use mistersmith_runtime::{Call, Reply};

use super::event::Event;
use super::{FAILED, JOIN, STAGE, StageRun};

impl StageRun {
    /// Publishes that an agent is about to handle the input. Storage is not confirmed: nothing
    /// waits for it.
    pub(super) async fn ready(&self, agent: &AgentId, call: &Call, held: &HeldMessage) {
        let event = self.event("ready", Some(agent), call, held);
        if let Err(error) = event.send(&self.stage.connection).await {
            tracing::debug!(%error, subject = %call.subject, "event `ready` not sent");
        }
    }

    /// The messages to store for the output of the stage: subject and output name.
    pub(super) fn outputs(&self) -> Vec<(String, String)> {
        let next = &self.stage.spec.next;
        if next.is_empty() {
            return vec![(self.at.complete(), "result".to_owned())];
        }
        // An input with the last step number, after which no other can follow, does not wake the
        // plugin.
        let outputs = next.iter().filter_map(|stage| {
            let at = self.at.next(stage)?;
            Some((at.to_string(), format!("next.{stage}")))
        });
        outputs.collect()
    }

    /// The headers of its outputs.
    pub(super) fn headers(&self, agent: &AgentId, call: &Call, reply: &Reply) -> Headers {
        let mut headers = reply_headers(agent, call, reply);
        headers.set(STAGE, self.at.stage.as_str());
        headers
    }

    /// Publishes that its outputs are stored.
    pub(super) async fn complete(
        &self,
        agent: &AgentId,
        call: &Call,
        held: &HeldMessage,
    ) -> Result<Stored, TransportError> {
        let event = self.event("complete", Some(agent), call, held);
        event.store(&self.stage.connection).await
    }

    /// Publishes that the workflow ends here.
    pub(super) async fn report_failure(
        &self,
        failure: FinalFailure<'_>,
        letter: &Stored,
    ) -> Result<(), TransportError> {
        let FinalFailure {
            agent,
            call,
            held,
            reason,
        } = failure;
        let mut event = self.event("error", agent, call, held);
        event.more = vec![
            ("kind", json!(reason.kind)),
            ("error", json!(reason.message)),
            ("deliveries", json!(held.info.deliveries)),
            ("attempts", json!(held.tries.begun())),
            ("dlq_sequence", json!(letter.sequence)),
        ];
        event.store(&self.stage.connection).await?;
        let why = json!({
            "stage": self.at.stage,
            "kind": reason.kind,
            "error": reason.message,
            "dlq_sequence": letter.sequence,
        });
        let why = Bytes::from(why.to_string());
        self.pass_on(&call.trace, held, &why).await
    }

    /// Notifies the following stages that this one has no output, so that a join need not wait for
    /// its timeout. The stream drops a repetition for the same message.
    pub(super) async fn pass_on(
        &self,
        trace: &Trace,
        held: &HeldMessage,
        why: &Bytes,
    ) -> Result<(), TransportError> {
        for stage in &self.stage.spec.next {
            let Some(at) = self.at.next(stage) else {
                continue;
            };
            let mut headers = trace.child().stamped_json(None);
            headers.set(JOIN, FAILED);
            headers.set(STAGE, self.at.stage.as_str());
            let id = held.info.output_id(&format!("failed.{stage}"));
            let connection = &self.stage.connection;
            connection
                .store(&at.to_string(), &id, headers, why.clone())
                .await?;
        }
        Ok(())
    }

    fn event<'a>(
        &'a self,
        name: &'static str,
        agent: Option<&'a AgentId>,
        call: &'a Call,
        held: &'a HeldMessage,
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
