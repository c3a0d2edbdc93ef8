//! `agent.<target>.cmd.<type>`: what anyone with the permission of the NATS server may tell agents.
//!
//! `<target>` is an agent id, a plugin, `all`, or the literal `*` that the seeds publish. Each agent
//! meant carries the command out and answers for itself. `execute` runs the plugin's handler; the
//! rest is done by the host: a plugin can neither see nor refuse it.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Mutex, Semaphore, oneshot};
use tokio_util::sync::CancellationToken;

use crate::limits;
use crate::runtime::Kind;
use crate::transport::{Kv, Link, Message, RequestId, Trace, TransportError};

use super::delivery::{Answer, Delivery, call, reply_subject};
use super::directory::{AgentPort, Control, Directory, Target};
use super::disposition::Reason;
use super::failure::{json_headers, send_error, service_error};
use super::lifecycle;
use super::outbox::Outbox;
use super::overrides::Overrides;
use super::{audit, health};

/// What commands need of the host.
#[derive(Clone)]
pub struct Commands {
    /// Where `pause`, `resume`, `shutdown`, `config` and `status` come by.
    pub control: Link,
    /// Where `execute` comes by: it is load, and must not delay the others.
    pub bulk: Link,
    /// The agents.
    pub directory: Directory,
    /// Bucket AGENT_CONFIG.
    pub kv: Kv,
    /// Where the audit trail is written.
    pub outbox: Outbox,
    /// One change of an override at a time.
    pub turn: Arc<Mutex<()>>,
}

/// What the host can do to an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Command {
    Pause,
    Resume,
    Shutdown,
    Config,
    Status,
}

impl Command {
    const ALL: [Self; 5] = [
        Self::Pause,
        Self::Resume,
        Self::Shutdown,
        Self::Config,
        Self::Status,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Shutdown => "shutdown",
            Self::Config => "config",
            Self::Status => "status",
        }
    }
}

impl Commands {
    /// Listens for commands until cancelled.
    pub async fn serve(self, cancel: &CancellationToken) -> Result<(), TransportError> {
        for command in Command::ALL {
            let subject = format!("agent.*.cmd.{}", command.name());
            let messages = self.control.subscribe(&subject, None).await?;
            tokio::spawn(self.clone().listen(messages, command, cancel.clone()));
        }
        let messages = self.bulk.subscribe("agent.*.cmd.execute", None).await?;
        tokio::spawn(self.executions(messages, cancel.clone()));
        Ok(())
    }

    async fn listen(
        self,
        mut messages: crate::transport::Subscription,
        command: Command,
        cancel: CancellationToken,
    ) {
        let places = Arc::new(Semaphore::new(limits::MAX_ANSWERING));
        loop {
            let message = tokio::select! {
                message = messages.next() => message,
                () = cancel.cancelled() => None,
            };
            let Some(message) = message else { return };
            for port in self.directory.find(&target(&message.subject)) {
                let (this, message) = (self.clone(), message.clone());
                let Ok(place) = places.clone().acquire_owned().await else {
                    return;
                };
                tokio::spawn(async move {
                    this.carry_out(command, &message, &port).await;
                    drop(place);
                });
            }
        }
    }

    async fn carry_out(&self, command: Command, message: &Message, port: &AgentPort) {
        let trace = Trace::received(&message.headers, RequestId::new);
        let done = match command {
            Command::Pause => self.pause(port, true).await,
            Command::Resume => self.pause(port, false).await,
            Command::Shutdown => shutdown(port).await,
            Command::Config => self.configure(port, &message.payload).await,
            Command::Status => {
                health::ask(port).await;
                Ok(())
            }
        };
        if command != Command::Status {
            self.outbox.audit(
                audit::COMMAND,
                json!({
                    "agent_id": port.id.as_str(),
                    "command": command.name(),
                    "subject": message.subject,
                    "from": message.headers.get("X-Agent-ID"),
                    "trace_id": trace.trace_id(),
                    "ok": done.is_ok(),
                    "error": done.as_ref().err().map(|reason| &reason.message),
                }),
            );
        }
        let answer = match &done {
            Ok(()) => status_body(port, command == Command::Status),
            Err(reason) => {
                json!({"ok": false, "agent_id": port.id.as_str(), "error": reason.message})
            }
        };
        if let Some(reply) = reply_subject(message) {
            let mut headers = json_headers(&trace, port);
            if let Err(reason) = &done {
                service_error(&mut headers, reason);
            }
            if let Err(error) = self
                .control
                .publish(reply, None, headers, answer.to_string().into())
                .await
            {
                tracing::debug!(agent = %port.id, %error, "command not answered");
            }
        }
    }

    async fn pause(&self, port: &AgentPort, paused: bool) -> Result<(), Reason> {
        let _turn = self.turn.lock().await;
        // Recorded first: an agent that is paused stays so when the host dies right here.
        Overrides::change(&self.kv, &port.id, |o| o.paused = paused)
            .await
            .map_err(not_recorded)?;
        port.cell.pause(paused);
        if paused {
            // An item that came by a poll which still stands would wait here, and count as delivered.
            let settled = async {
                let done = || {
                    port.cell.has_let_go() && (port.crew.taking() > 0 || !port.crew.expects_work())
                };
                while !done() {
                    tokio::time::sleep(limits::PAUSE_LOOK).await;
                }
            };
            let _ = tokio::time::timeout(limits::PAUSE_WAIT, settled).await;
        }
        Ok(())
    }

    async fn configure(&self, port: &AgentPort, payload: &[u8]) -> Result<(), Reason> {
        let changes: Map<String, Value> = serde_json::from_slice(payload).map_err(|error| {
            Reason::new(
                "invalid",
                format!("the payload must be a JSON object of values to replace: {error}"),
            )
        })?;
        let _turn = self.turn.lock().await;
        let overrides = Overrides::change(&self.kv, &port.id, |o| {
            for (key, value) in &changes {
                if value.is_null() {
                    o.config.remove(key);
                } else {
                    o.config.insert(key.clone(), value.clone());
                }
            }
        })
        .await
        .map_err(not_recorded)?;
        port.cell.set_overrides(overrides.config);
        let keys: Vec<&String> = changes.keys().collect();
        self.outbox.audit(
            audit::CONFIG,
            json!({"agent_id": port.id.as_str(), "keys": keys}),
        );
        // Questions about health leave room: a full queue holds a word of this or of its end already.
        let _ = port.control.try_send(Control::Configured);
        Ok(())
    }

    async fn executions(
        self,
        mut messages: crate::transport::Subscription,
        cancel: CancellationToken,
    ) {
        loop {
            let message = tokio::select! {
                message = messages.next() => message,
                () = cancel.cancelled() => None,
            };
            let Some(message) = message else { return };
            let ports = self.directory.find(&target(&message.subject));
            for port in ports {
                if let Err(reason) = self.execute(&message, &port) {
                    let refused = Some(reason.message.as_str());
                    port.cell.executed.add(Duration::ZERO, refused);
                    self.refuse(&message, &port, &reason).await;
                }
            }
        }
    }

    fn execute(&self, message: &Message, port: &AgentPort) -> Result<(), Reason> {
        if port.cell.is_paused() {
            return Err(Reason::new(
                "paused",
                format!("agent `{}` is paused", port.id),
            ));
        }
        port.cell.admit(&message.payload)?;
        if let Some(reason) = port.crew.circuit.refusal() {
            return Err(reason);
        }
        let trace = Trace::received(&message.headers, RequestId::new);
        let answer = match reply_subject(message) {
            Some(to) => Answer::Reply {
                to: to.to_owned(),
                link: self.bulk.clone(),
            },
            None => Answer::Stored,
        };
        let Some(weight) = port.cell.weigh(message.bytes()) else {
            let text = format!("agent `{}` has too many bytes waiting", port.id);
            return Err(Reason::new("busy", text));
        };
        let call = call(Kind::Execute, message.clone(), trace);
        let sent = port.mailbox.send(Delivery {
            call,
            answer,
            weight: Some(weight),
            rest: None,
        });
        let gone = || Reason::new("stopped", format!("agent `{}` has stopped", port.id));
        sent.then_some(()).ok_or_else(gone)
    }

    async fn refuse(&self, message: &Message, port: &AgentPort, reason: &Reason) {
        let Some(reply) = reply_subject(message) else {
            tracing::warn!(agent = %port.id, kind = %reason.kind, error = %reason.message, "execute refused");
            return;
        };
        let trace = Trace::received(&message.headers, RequestId::new);
        send_error(&self.bulk, reply, port, &trace, reason).await;
    }
}

async fn shutdown(port: &AgentPort) -> Result<(), Reason> {
    let (done, gone) = oneshot::channel();
    let stop = Control::Stop {
        reason: "shutdown",
        done,
    };
    // Told at once or not at all: whoever hears that it will stop can rely on it.
    if let Err(TrySendError::Full(_)) = port.control.try_send(stop) {
        let text = format!("agent `{}` has too many commands waiting", port.id);
        return Err(Reason::new("busy", text));
    }
    match tokio::time::timeout(limits::SHUTDOWN_WAIT, gone).await {
        // An agent that had gone already is as good.
        Ok(_) => Ok(()),
        Err(_) => Err(Reason::new(
            "timeout",
            format!(
                "agent `{}` still handles a message; it stops when that is done",
                port.id
            ),
        )),
    }
}

fn status_body(port: &AgentPort, full: bool) -> Value {
    let snapshot = port.snapshot();
    let mut body =
        json!({"ok": true, "agent_id": snapshot.agent_id, "status": snapshot.status.as_str()});
    if full
        && let (Some(body), Value::Object(health)) =
            (body.as_object_mut(), lifecycle::health(&snapshot))
    {
        body.extend(health);
        body.insert("plugin".into(), json!(snapshot.plugin));
        body.insert("version".into(), json!(snapshot.version));
        body.insert("host".into(), json!(snapshot.host));
        body.insert("handled".into(), json!(snapshot.handled));
        body.insert("failed".into(), json!(snapshot.failed));
    }
    body
}

fn not_recorded(error: TransportError) -> Reason {
    Reason::new(
        "unavailable",
        format!("not recorded in AGENT_CONFIG, so not done: {error}"),
    )
}

/// `agent.<target>.cmd.<type>`: the subscription guarantees the shape.
fn target(subject: &str) -> Target {
    Target::parse(subject.split('.').nth(1).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whom_a_command_is_for() {
        let cases = [
            ("agent.*.cmd.pause", Target::All),
            ("agent.all.cmd.pause", Target::All),
            ("agent.echo.cmd.pause", Target::Named("echo".into())),
            ("agent.echo-001.cmd.pause", Target::Named("echo-001".into())),
        ];
        for (subject, expected) in cases {
            assert_eq!(target(subject), expected, "{subject}");
        }
    }
}
