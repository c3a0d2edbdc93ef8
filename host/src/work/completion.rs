//! The completion of a work item: its result on `agent.<id>.resp.<request-id>`.

use futures_util::future::BoxFuture;

use mistersmith_core::names::AgentId;
use mistersmith_nats::{Connection, TransportError};
use mistersmith_runtime::{Call, Reply};

use crate::delivery::reply::{reply_headers, result_subject};
use crate::delivery::{Completion, HeldMessage};

/// Stores results of work items. All items of a plugin share one.
#[derive(Debug)]
pub(super) struct WorkResult {
    /// The connection for work.
    pub(super) connection: Connection,
}

impl Completion for WorkResult {
    fn store<'a>(
        &'a self,
        agent: &'a AgentId,
        call: &'a Call,
        held: &'a HeldMessage,
        reply: &'a Reply,
    ) -> BoxFuture<'a, Result<(), TransportError>> {
        Box::pin(async move {
            let subject = result_subject(agent, call.trace.request_id());
            let headers = reply_headers(agent, call, reply);
            let id = held.info.output_id("result");
            let payload = reply.payload.clone();
            let stored = self.connection.store_any(&subject, &id, headers, payload);
            stored.await.map(drop)
        })
    }
}
