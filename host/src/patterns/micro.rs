//! `$SRV.PING`, `INFO` and `STATS`: every agent answers as an instance of a NATS micro service.
//!
//! The service is the plugin, the instance is the agent, and its one endpoint is
//! `agent.<id>.cmd.execute`. One subscription answers for all agents of the host: a service each
//! would cost nine. An answer is made of what is known already; no plugin is asked.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::status::{AgentSnapshot, AgentStatus};
use crate::transport::{Link, Message, RequestId, Trace, TransportError};

use super::delivery::reply_subject;
use super::directory::{AgentPort, Directory};
use super::failure::json_headers;

/// The version of what has none that a micro service may have.
const NO_VERSION: &str = "0.0.0";

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    Ping,
    Info,
    Stats,
}

/// What is asked, and of whom.
#[derive(Debug, PartialEq, Eq)]
struct Question<'a> {
    verb: Verb,
    /// The plugin; none: every one.
    name: Option<&'a str>,
    /// The agent; none: every one of the plugin.
    id: Option<&'a str>,
}

impl<'a> Question<'a> {
    /// Reads `$SRV.<verb>[.<name>[.<id>]]`; none for what is no question to us.
    fn parse(subject: &'a str) -> Option<Self> {
        let mut tokens = subject.strip_prefix("$SRV.")?.split('.');
        let verb = match tokens.next()? {
            "PING" => Verb::Ping,
            "INFO" => Verb::Info,
            "STATS" => Verb::Stats,
            _ => return None,
        };
        let (name, id) = (tokens.next(), tokens.next());
        tokens.next().is_none().then_some(Self { verb, name, id })
    }

    fn means(&self, port: &AgentPort) -> bool {
        self.name.is_none_or(|name| name == port.plugin.as_str())
            && self.id.is_none_or(|id| id == port.id.as_str())
    }
}

/// What came of the commands `execute` of one agent, refused ones included.
#[derive(Debug, Default)]
pub struct Executed {
    requests: AtomicU64,
    errors: AtomicU64,
    nanos: AtomicU64,
    last_error: Mutex<String>,
}

impl Executed {
    /// Counts one that took this long; `error` says why it failed.
    pub fn add(&self, took: Duration, error: Option<&str>) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.nanos.fetch_add(nanos, Ordering::Relaxed);
        if let Some(error) = error {
            self.errors.fetch_add(1, Ordering::Relaxed);
            error.clone_into(&mut self.last_error());
        }
    }

    fn last_error(&self) -> std::sync::MutexGuard<'_, String> {
        self.last_error
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn stats(&self) -> Value {
        let requests = self.requests.load(Ordering::Relaxed);
        let nanos = self.nanos.load(Ordering::Relaxed);
        json!({
            "num_requests": requests,
            "num_errors": self.errors.load(Ordering::Relaxed),
            "last_error": *self.last_error(),
            "processing_time": nanos,
            "average_processing_time": nanos.checked_div(requests).unwrap_or(0),
        })
    }
}

/// Answers until cancelled.
pub async fn serve(
    link: Link,
    directory: Directory,
    cancel: CancellationToken,
) -> Result<(), TransportError> {
    let mut questions = link.subscribe("$SRV.>", None).await?;
    tokio::spawn(async move {
        loop {
            let message = tokio::select! {
                message = questions.next() => message,
                () = cancel.cancelled() => None,
            };
            let Some(message) = message else { return };
            answer(&link, &directory, &message).await;
        }
    });
    Ok(())
}

/// One question after another, so that many of them cannot take the connection from the others.
async fn answer(link: &Link, directory: &Directory, message: &Message) {
    let (Some(question), Some(reply)) = (Question::parse(&message.subject), reply_subject(message))
    else {
        return;
    };
    let trace = Trace::received(&message.headers, RequestId::new);
    for port in directory.all() {
        let snapshot = port.snapshot();
        if !question.means(&port) || snapshot.status == AgentStatus::Stopped {
            continue;
        }
        let body = body(question.verb, &snapshot, &port);
        let headers = json_headers(&trace, &port);
        let sent = link.publish(reply, None, headers, body.to_string().into());
        if let Err(error) = sent.await {
            tracing::debug!(agent = %port.id, %error, "a question on $SRV was not answered");
        }
    }
}

fn body(verb: Verb, agent: &AgentSnapshot, port: &AgentPort) -> Value {
    let mut body = json!({
        "name": agent.plugin,
        "id": agent.agent_id,
        "version": version(&agent.version),
        "metadata": metadata(agent),
    });
    let mut endpoint = json!({
        "name": "execute",
        "subject": format!("agent.{}.cmd.execute", agent.agent_id),
        "queue_group": "",
    });
    match verb {
        Verb::Ping => put(&mut body, json!({"type": "io.nats.micro.v1.ping_response"})),
        Verb::Info => {
            put(&mut endpoint, json!({"metadata": {}}));
            put(
                &mut body,
                json!({
                    "type": "io.nats.micro.v1.info_response",
                    "description": port.cell.description(),
                    "endpoints": [endpoint],
                }),
            );
        }
        Verb::Stats => {
            put(&mut endpoint, port.cell.executed.stats());
            put(
                &mut body,
                json!({
                    "type": "io.nats.micro.v1.stats_response",
                    "started": port.cell.started(),
                    "endpoints": [endpoint],
                }),
            );
        }
    }
    body
}

/// Values are texts: that is all that the clients read.
fn metadata(agent: &AgentSnapshot) -> Value {
    json!({
        "plugin_version": agent.version,
        "host": agent.host,
        "host_id": agent.host_id,
        "status": agent.status.as_str(),
        "capabilities": agent.capabilities.join(","),
    })
}

/// Clients refuse what is no semantic version; the real one stands in the metadata.
fn version(of_plugin: &str) -> &str {
    match semver::Version::parse(of_plugin) {
        Ok(_) => of_plugin,
        Err(_) => NO_VERSION,
    }
}

fn put(body: &mut Value, more: Value) {
    if let (Some(body), Value::Object(more)) = (body.as_object_mut(), more) {
        body.extend(more);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_a_question() {
        let cases = [
            ("$SRV.PING", Some((Verb::Ping, None, None))),
            ("$SRV.INFO.echo", Some((Verb::Info, Some("echo"), None))),
            (
                "$SRV.STATS.echo.echo-001",
                Some((Verb::Stats, Some("echo"), Some("echo-001"))),
            ),
            ("$SRV.STATS.echo.echo-001.more", None),
            ("$SRV.SCHEMA", None),
            ("$SRV.ping", None),
            ("SRV.PING", None),
        ];
        for (subject, expected) in cases {
            let read = Question::parse(subject).map(|q| (q.verb, q.name, q.id));
            assert_eq!(read, expected, "{subject}");
        }
    }

    #[test]
    fn only_semantic_versions_are_shown_as_such() {
        for (plugin, shown) in [
            ("0.1.0", "0.1.0"),
            ("1.2.3-rc.1+4", "1.2.3-rc.1+4"),
            ("2026-01", NO_VERSION),
            ("v1.0.0", NO_VERSION),
        ] {
            assert_eq!(version(plugin), shown);
        }
    }

    #[test]
    fn commands_are_counted_and_their_time_is_averaged() {
        let executed = Executed::default();
        let stats = executed.stats();
        assert_eq!(stats.get("average_processing_time"), Some(&json!(0)));
        executed.add(Duration::from_nanos(10), None);
        executed.add(Duration::from_nanos(20), Some("no"));
        assert_eq!(
            executed.stats(),
            json!({
                "num_requests": 2, "num_errors": 1, "last_error": "no",
                "processing_time": 30, "average_processing_time": 15,
            })
        );
    }
}
