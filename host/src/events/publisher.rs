//! The event publisher: queues lifecycle events and audit entries, and sends them in order.
//!
//! Agents and patterns queue an entry without waiting; two tasks send while there is a connection.
//! The queues are bounded, and entries beyond the bound are counted and logged. Otherwise a guest
//! could delay the host or fill its memory with events.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

use mistersmith_core::limits;
use mistersmith_core::names::AgentId;
use mistersmith_nats::{Connection, Headers, RequestId, Trace, TransportError};

use crate::clock::now;

/// Queues events and audit entries from any part of the host.
#[derive(Debug, Clone)]
pub struct EventPublisher {
    events: mpsc::Sender<Note>,
    audits: mpsc::Sender<Note>,
    facts: Arc<Facts>,
}

#[derive(Debug)]
struct Facts {
    host: String,
    host_id: String,
    dropped: AtomicU64,
    audit_number: AtomicU64,
    /// Distinguishes audit entries of this process from those of an earlier process of the host.
    started: i128,
}

enum Note {
    Event {
        subject: String,
        agent: Option<AgentId>,
        body: Value,
    },
    Audit {
        kind: String,
        id: String,
        body: Value,
    },
    Flush(oneshot::Sender<()>),
}

impl EventPublisher {
    /// Starts the two tasks; they end when the last clone is dropped.
    pub fn start(connection: Connection, host: &str, host_id: &str) -> Self {
        let (events, events_in) = mpsc::channel(limits::MAX_EVENTS_WAITING);
        let (audits, audits_in) = mpsc::channel(limits::MAX_EVENTS_WAITING);
        tokio::spawn(send(connection.clone(), events_in));
        tokio::spawn(send(connection, audits_in));
        let facts = Facts {
            host: host.to_owned(),
            host_id: host_id.to_owned(),
            dropped: AtomicU64::new(0),
            audit_number: AtomicU64::new(0),
            started: time::OffsetDateTime::now_utc().unix_timestamp_nanos(),
        };
        Self {
            events,
            audits,
            facts: Arc::new(facts),
        }
    }

    /// The name of this host, as events carry it.
    pub fn host(&self) -> &str {
        &self.facts.host
    }

    /// Queues an event of an agent.
    pub fn event(&self, agent: &AgentId, subject: String, body: Value) {
        self.put(
            &self.events,
            Note::Event {
                subject,
                agent: Some(agent.clone()),
                body,
            },
        );
    }

    /// Queues an entry for `audit.<kind>`; `body` is an object, to which host and time are added.
    pub fn audit(&self, kind: &str, mut body: Value) {
        if let Some(object) = body.as_object_mut() {
            object.insert("kind".to_owned(), json!(kind));
            object.insert("host".to_owned(), json!(self.facts.host));
            object.insert("host_id".to_owned(), json!(self.facts.host_id));
            object.insert("at".to_owned(), json!(now()));
        }
        let number = self.facts.audit_number.fetch_add(1, Ordering::Relaxed);
        let id = format!(
            "audit:{}:{}:{number}",
            self.facts.host_id, self.facts.started
        );
        self.put(
            &self.audits,
            Note::Audit {
                kind: kind.to_owned(),
                id,
                body,
            },
        );
    }

    /// Waits until every entry queued before is sent, at most `limit`.
    pub async fn flush(&self, limit: Duration) {
        for queue in [&self.events, &self.audits] {
            let (done, sent) = oneshot::channel();
            let flushed = async {
                if queue.send(Note::Flush(done)).await.is_ok() {
                    let _ = sent.await;
                }
            };
            let _ = tokio::time::timeout(limit, flushed).await;
        }
    }

    fn put(&self, queue: &mpsc::Sender<Note>, note: Note) {
        if queue.try_send(note).is_err() {
            let dropped = self.facts.dropped.fetch_add(1, Ordering::Relaxed) + 1;
            // Logged at powers of two: visible early, without flooding the log.
            if dropped.is_power_of_two() {
                tracing::warn!(dropped, "events not sent: too many wait for the connection");
            }
        }
    }
}

async fn send(connection: Connection, mut notes: mpsc::Receiver<Note>) {
    while let Some(note) = notes.recv().await {
        match note {
            Note::Event {
                subject,
                agent,
                body,
            } => {
                let headers = Trace::begin(RequestId::new()).stamped_json(agent.as_ref());
                let payload = body.to_string();
                loop {
                    connection.connected().await;
                    match connection
                        .publish(&subject, None, headers.clone(), payload.clone().into())
                        .await
                    {
                        Err(TransportError::Unavailable(_)) => {}
                        Err(error) => break tracing::warn!(%error, %subject, "event not sent"),
                        Ok(()) => break,
                    }
                }
            }
            Note::Audit { kind, id, body } => audit(&connection, &kind, &id, &body).await,
            Note::Flush(done) => {
                connection.flush().await;
                let _ = done.send(());
            }
        }
    }
}

/// The trace of the entry's subject matter if the entry names one; else a new trace.
fn trace(body: &Value) -> Trace {
    let mut named = Headers::default();
    for (header, name) in [("X-Trace-ID", "trace_id"), ("X-Request-ID", "request_id")] {
        if let Some(id) = body.get(name).and_then(Value::as_str) {
            named.set(header, id);
        }
    }
    Trace::received(&named, RequestId::new)
}

/// The agent that the entry concerns.
fn agent(body: &Value) -> Option<AgentId> {
    let id = body.get("agent_id").or_else(|| body.get("agent"));
    id?.as_str()?.parse().ok()
}

async fn audit(connection: &Connection, kind: &str, id: &str, body: &Value) {
    let subject = format!("audit.{kind}");
    let headers = trace(body).stamped_json(agent(body).as_ref());
    loop {
        connection.connected().await;
        match connection
            .store(&subject, id, headers.clone(), body.to_string().into())
            .await
        {
            Ok(_) => return,
            Err(TransportError::Unavailable(_) | TransportError::Timeout) => {}
            // The log keeps the entry for the operator.
            Err(error) => return tracing::error!(%error, %subject, %body, "audit entry not stored"),
        }
    }
}
