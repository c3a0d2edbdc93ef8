//! What the host says for itself: lifecycle events and the audit trail.
//!
//! Agents and patterns put notes in and go on; two tasks send them, in order, when there is a
//! connection. Nothing here ever waits for a guest, and nothing a guest does can make it grow:
//! the queues are bounded, and what does not fit is counted and said.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

use crate::limits;
use crate::names::AgentId;
use crate::transport::{Headers, Link, RequestId, Trace, TransportError};

use super::lifecycle::now;

/// Takes notes from everywhere in the host.
#[derive(Debug, Clone)]
pub struct Outbox {
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
    /// Tells one process's audit entries from those of an earlier one of the same host.
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

impl Outbox {
    /// Starts the two tasks; they end when the last clone is gone.
    pub fn start(link: Link, host: &str, host_id: &str) -> Self {
        let (events, events_in) = mpsc::channel(limits::MAX_EVENTS_WAITING);
        let (audits, audits_in) = mpsc::channel(limits::MAX_EVENTS_WAITING);
        tokio::spawn(send(link.clone(), events_in));
        tokio::spawn(send(link, audits_in));
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

    /// Publishes an event of an agent.
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

    /// Stores `audit.<kind>`; `body` is an object, to which host and time are added.
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

    /// Waits until what was put in before is sent, at most `limit`.
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
            // Powers of two: often enough to be seen, too seldom to flood the log.
            if dropped.is_power_of_two() {
                tracing::warn!(dropped, "events not sent: too many wait for the connection");
            }
        }
    }
}

async fn send(link: Link, mut notes: mpsc::Receiver<Note>) {
    while let Some(note) = notes.recv().await {
        match note {
            Note::Event {
                subject,
                agent,
                body,
            } => {
                let mut headers = Headers::default();
                headers.set("Content-Type", "application/json");
                Trace::begin(RequestId::new()).stamp(agent.as_ref(), &mut headers);
                let payload = body.to_string();
                loop {
                    link.connected().await;
                    match link
                        .publish(&subject, None, headers.clone(), payload.clone().into())
                        .await
                    {
                        Err(TransportError::Unavailable(_)) => {}
                        Err(error) => break tracing::warn!(%error, %subject, "event not sent"),
                        Ok(()) => break,
                    }
                }
            }
            Note::Audit { kind, id, body } => audit(&link, &kind, &id, &body).await,
            Note::Flush(done) => {
                link.flush().await;
                let _ = done.send(());
            }
        }
    }
}

/// The trace that an entry names, so that it is found with what it is about; else one of its own.
fn trace(body: &Value) -> Trace {
    let mut named = Headers::default();
    for (header, name) in [("X-Trace-ID", "trace_id"), ("X-Request-ID", "request_id")] {
        if let Some(id) = body.get(name).and_then(Value::as_str) {
            named.set(header, id);
        }
    }
    Trace::received(&named, RequestId::new)
}

/// The agent that an entry is about.
fn agent(body: &Value) -> Option<AgentId> {
    let id = body.get("agent_id").or_else(|| body.get("agent"));
    id?.as_str()?.parse().ok()
}

async fn audit(link: &Link, kind: &str, id: &str, body: &Value) {
    let subject = format!("audit.{kind}");
    let mut headers = Headers::default();
    headers.set("Content-Type", "application/json");
    trace(body).stamp(agent(body).as_ref(), &mut headers);
    loop {
        link.connected().await;
        match link
            .store(&subject, id, headers.clone(), body.to_string().into())
            .await
        {
            Ok(_) => return,
            Err(TransportError::Unavailable(_) | TransportError::Timeout) => {}
            // The log is the second place where an operator looks.
            Err(error) => return tracing::error!(%error, %subject, %body, "audit entry not stored"),
        }
    }
}
