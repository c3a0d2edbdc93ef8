//! One request, and all its answers within a time.

use std::time::Duration;

use async_nats::StatusCode;
use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio::time::Instant;

use super::{Connection, Headers, Message, TransportError};

impl Connection {
    /// Asks everybody who listens on `subject`, and returns what came within `wait`, at most `most`
    /// answers.
    ///
    /// Errors: as [`Connection::publish`]; `NoResponders` when nobody listens, reported at once by
    /// the server; `Unavailable` also when the connection breaks meanwhile.
    pub async fn gather(
        &self,
        subject: &str,
        wait: Duration,
        most: usize,
    ) -> Result<Vec<Message>, TransportError> {
        let until = Instant::now() + wait;
        let inbox = self.new_inbox();
        let (mut answers, _) = self.raw_subscribe(&inbox).await?;
        self.publish(subject, Some(&inbox), Headers::new(), Bytes::new())
            .await?;
        let mut gathered = Vec::new();
        while gathered.len() < most {
            let next = tokio::time::timeout_at(until, answers.next()).await;
            let Ok(next) = next else {
                break;
            };
            // It ends with its client: what was answered meanwhile is not known.
            let answer = next.ok_or_else(TransportError::disconnected)?;
            if answer.status == Some(StatusCode::NO_RESPONDERS) {
                return Err(TransportError::NoResponders);
            }
            gathered.push(Message::received(answer));
        }
        Ok(gathered)
    }
}
