//! The completion of a stage input: stores the outputs, then the event of the stage.

use futures_util::future::BoxFuture;

use mistersmith_core::names::AgentId;
use mistersmith_nats::{Stored, TransportError};
use mistersmith_runtime::{Call, Reply};

use crate::delivery::{Completion, FinalFailure, HeldMessage};

use super::StageRun;
use super::cancelled::is_cancelled;

impl Completion for StageRun {
    fn is_cancelled(&self) -> Option<BoxFuture<'_, Result<bool, TransportError>>> {
        let (connection, workflow) = (&self.stage.connection, &self.at.workflow);
        Some(Box::pin(is_cancelled(connection, workflow)))
    }

    fn begin<'a>(
        &'a self,
        agent: &'a AgentId,
        call: &'a Call,
        held: &'a HeldMessage,
    ) -> Option<BoxFuture<'a, ()>> {
        Some(Box::pin(self.ready(agent, call, held)))
    }

    fn store<'a>(
        &'a self,
        agent: &'a AgentId,
        call: &'a Call,
        held: &'a HeldMessage,
        reply: &'a Reply,
    ) -> BoxFuture<'a, Result<(), TransportError>> {
        Box::pin(async move {
            let (connection, headers) = (&self.stage.connection, self.headers(agent, call, reply));
            for (subject, output) in self.outputs() {
                let id = held.info.output_id(&output);
                let payload = reply.payload.clone();
                connection
                    .store_any(&subject, &id, headers.clone(), payload)
                    .await?;
            }
            self.complete(agent, call, held).await.map(drop)
        })
    }

    fn failed<'a>(
        &'a self,
        failure: FinalFailure<'a>,
        letter: &'a Stored,
    ) -> Option<BoxFuture<'a, Result<(), TransportError>>> {
        Some(Box::pin(self.report_failure(failure, letter)))
    }
}
