//! The consumer that is pulled from, and the requests to it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;

use super::bounds::{HEARTBEAT, MAX_PULL_BYTES, has_heartbeats};
use super::consumer::Consumer;
use crate::{Connection, Headers, TransportError};

/// One consumer, over one connection. Clones share what is known of the consumer.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) connection: Connection,
    pub(super) consumer: Arc<Consumer>,
}

impl Target {
    /// Asks for up to `max` messages until `expires`, to be sent to `inbox`.
    pub(super) async fn ask(
        &self,
        max: usize,
        expires: Duration,
        inbox: &str,
    ) -> Result<(), TransportError> {
        let Consumer { stream, name, .. } = &*self.consumer;
        let subject = self
            .connection
            .api(&format!("CONSUMER.MSG.NEXT.{stream}.{name}"));
        let body = Request::new(max, expires, self.connection.max_payload()).body()?;
        self.connection
            .send(&subject, Some(inbox), Headers::new(), body)
            .await
    }
}

/// The body of a pull request; times in nanoseconds.
#[derive(Default, Serialize)]
struct Request {
    batch: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_bytes: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    no_wait: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    idle_heartbeat: Option<u64>,
}

impl Request {
    fn new(max: usize, expires: Duration, max_payload: usize) -> Self {
        let nanos = |span: Duration| u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        // Less than the largest message would end every pull at once.
        let most = MAX_PULL_BYTES.max(max_payload.saturating_mul(2).saturating_add(8192));
        Self {
            batch: max,
            // One message has its own bound. Servers since 2.10 answer a pull with `max_bytes` once
            // more when it is filled.
            max_bytes: (max > 1).then_some(most),
            no_wait: expires.is_zero().then_some(true),
            expires: (!expires.is_zero()).then(|| nanos(expires)),
            idle_heartbeat: has_heartbeats(expires).then(|| nanos(HEARTBEAT)),
        }
    }

    fn body(&self) -> Result<Bytes, TransportError> {
        let body = serde_json::to_vec(self);
        body.map(Bytes::from)
            .map_err(|error| TransportError::Other(error.to_string()))
    }
}
