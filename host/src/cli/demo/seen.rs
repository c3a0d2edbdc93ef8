//! The demonstration's observer: watches the host from outside, over a connection of its own.

use std::time::{Duration, Instant};

use serde::Deserialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::sync::mpsc;

use super::tally::Tally;
use mistersmith_nats::{Connection, Message, Role, Transport, TransportError};

/// The subjects that it subscribes to.
const HEARD: [&str; 6] = [
    "agent.*.resp.*",
    "pipeline.>",
    "gather.*.result",
    "dlq.>",
    "agent.*.stopped",
    "agent.*.error",
];

/// The bucket with the leaders of all elections.
const LEASES: &str = "AGENT_LEASES";

/// Most elections shown.
const MOST: usize = 100;

/// The subscriptions, and the tally of their messages.
pub(super) struct Seen {
    pub(super) tally: Tally,
    heard: mpsc::UnboundedReceiver<Message>,
    _outside: Transport,
}

impl Seen {
    pub(super) async fn listen(outside: Transport, tally: Tally) -> anyhow::Result<Self> {
        let connection = outside.connection(Role::Bulk);
        let (tell, heard) = mpsc::unbounded_channel();
        for pattern in HEARD {
            let mut messages = connection.subscribe(pattern, None).await?;
            let tell = tell.clone();
            tokio::spawn(async move {
                while let Some(message) = messages.next().await {
                    if tell.send(message).is_err() {
                        return;
                    }
                }
            });
        }
        // The server must have the subscriptions before the work is published.
        connection.round_trip(Duration::from_secs(5)).await?;
        Ok(Self {
            tally,
            heard,
            _outside: outside,
        })
    }

    /// Receives one message; false when none arrives within `patience`.
    pub(super) async fn hear(&mut self, patience: Duration) -> bool {
        let Ok(Some(message)) = tokio::time::timeout(patience, self.heard.recv()).await else {
            return false;
        };
        self.tally.hear(&message);
        true
    }

    /// Receives until no message has arrived for a moment: the last events of the agents.
    pub(super) async fn hear_until_silence(&mut self) {
        while self.hear(Duration::from_millis(700)).await {}
    }

    /// The agents were ready before any subscription existed; the stream has stored the events.
    pub(super) async fn note_ready(
        &mut self,
        connection: &Connection,
        begun: Instant,
    ) -> anyhow::Result<()> {
        let start = OffsetDateTime::now_utc() - begun.elapsed();
        let stream = connection.stream("AGENT_LIFECYCLE")?;
        let mut from = 1;
        while let Some(event) = stream.next(from, "agent.*.ready").await? {
            from = event.sequence + 1;
            let body: serde_json::Value =
                serde_json::from_slice(&event.payload).unwrap_or_default();
            let text = |key: &str| body.get(key).and_then(|v| v.as_str()).unwrap_or_default();
            let at = OffsetDateTime::parse(text("at"), &Rfc3339);
            // The stream holds those of earlier runs too.
            if let Some(at) = at.ok().and_then(|at| Duration::try_from(at - start).ok()) {
                let line = format!("{} is ready", text("agent_id"));
                self.tally.note_earlier(at, line);
            }
        }
        Ok(())
    }

    /// Adds the leaders of the elections.
    pub(super) async fn note_leaders(
        &mut self,
        connection: &Connection,
    ) -> Result<(), TransportError> {
        #[derive(Deserialize)]
        struct Lease {
            agent_id: String,
            term: u64,
        }
        let bucket = connection.kv(LEASES).await?;
        for key in bucket.keys("election.*", MOST).await? {
            let lease = bucket.get(&key).await?;
            let lease = lease.and_then(|entry| serde_json::from_slice::<Lease>(&entry.value).ok());
            if let (Some(lease), Some(domain)) = (lease, key.strip_prefix("election.")) {
                let (agent, term) = (lease.agent_id, lease.term);
                self.tally.leaders.push((domain.to_owned(), agent, term));
            }
        }
        Ok(())
    }
}
