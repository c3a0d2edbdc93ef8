//! `agent.<target>.cmd.<type>`: commands to agents, for any client that the NATS server permits.
//!
//! `<target>` is an agent id, a plugin, `all`, or the literal `*` that the seeds publish. Each
//! targeted agent executes the command and answers for itself. `execute` runs the plugin's handler;
//! the host does the rest, so a plugin can neither see nor refuse it.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore, oneshot};
use tokio_util::sync::CancellationToken;

use crate::status::StopReason;
use mistersmith_core::limits::{self, MAX_LABEL};
use mistersmith_nats::{Connection, Kv, Message, RequestId, Subscription, Trace, TransportError};
use mistersmith_runtime::{ConfigValues, ExitKind, Kind};

use crate::agents::{AgentHandle, Control, Directory, Overrides, Target};
use crate::delivery::error_reply::{error_body, json_headers, send_error, service_error};
use crate::delivery::{Delivery, Destination, Reason, ReasonKind, call, reply_subject};
use crate::events::publisher::EventPublisher;
use crate::events::{audit, lifecycle};

use super::health;
use super::serve::{self, Answering};

/// The most names of changed values in one entry of the audit trail.
const MAX_KEYS_AUDITED: usize = 20;

/// The parts of the host that commands need.
#[derive(Clone)]
pub struct Commands {
    /// The connection of `pause`, `resume`, `shutdown`, `config` and `status`.
    pub control: Connection,
    /// The connection of `execute`, which is load and must not delay the others.
    pub bulk: Connection,
    /// The agents.
    pub directory: Directory,
    /// Bucket AGENT_CONFIG.
    pub kv: Kv,
    /// The publisher of the audit trail.
    pub events: EventPublisher,
    /// Allows one configuration to be parsed at a time: the parsed form takes many times the
    /// payload.
    pub reading: Arc<Mutex<()>>,
    /// Permits for `pause` commands that wait until their agent has released what it was given.
    pub pausing: Arc<Semaphore>,
}

/// A command that the host carries out on an agent.
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
    /// Serves commands until cancelled.
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

    /// Has each agent that a message targets carry the command out.
    async fn listen(self, messages: Subscription, command: Command, cancel: CancellationToken) {
        let answering = Answering::new();
        let carry_out = move |message: Message| {
            let (this, answering) = (self.clone(), answering.clone());
            async move {
                let handles = this.directory.find(&target(&message.subject));
                let each = |handle: AgentHandle, place| {
                    let (this, message) = (this.clone(), message.clone());
                    async move { this.carry_out(command, &message, &handle, place).await }
                };
                // A change of state is not put off.
                let spread = command == Command::Status;
                answering.each(handles, spread, each).await;
            }
        };
        match command {
            Command::Status => {
                let asks_all = |message: &Message| target(&message.subject) == Target::All;
                serve::serve_both(messages, cancel, asks_all, carry_out).await;
            }
            _ => serve::serve(messages, cancel, carry_out).await,
        }
    }

    /// Carries the command out and answers. It holds its place among the commands only until the
    /// change is made, so that a command to all agents does not wait for each of them in turn.
    async fn carry_out(
        &self,
        command: Command,
        message: &Message,
        handle: &AgentHandle,
        place: OwnedSemaphorePermit,
    ) {
        let trace = Trace::received(&message.headers, RequestId::new);
        let done = match command {
            Command::Pause => {
                let paused = self.pause(handle, true).await;
                drop(place);
                if paused.is_ok() {
                    self.let_go(handle).await;
                }
                paused
            }
            Command::Resume => self.pause(handle, false).await,
            Command::Shutdown => shutdown(handle).await,
            Command::Config => self.configure(handle, &message.payload).await,
            Command::Status => {
                health::ask(handle).await;
                Ok(())
            }
        };
        if command != Command::Status {
            self.events.audit(
                audit::COMMAND,
                json!({
                    "agent_id": handle.id.as_str(),
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
            Ok(()) => status_body(handle, command == Command::Status),
            Err(reason) => error_body(handle.id.as_str(), reason),
        };
        if let Some(reply) = reply_subject(message) {
            let mut headers = json_headers(&trace, &handle.id);
            if let Err(reason) = &done {
                service_error(&mut headers, reason);
            }
            if let Err(error) = self
                .control
                .publish(reply, None, headers, answer.to_string().into())
                .await
            {
                tracing::debug!(agent = %handle.id, %error, "command not answered");
            }
        }
    }

    async fn pause(&self, handle: &AgentHandle, paused: bool) -> Result<(), Reason> {
        let _change = handle.state.change.lock().await;
        // Recorded first, so that a paused agent stays paused if the host dies here.
        Overrides::change(&self.kv, &handle.id, |o| {
            o.paused = paused;
            Ok(())
        })
        .await?;
        handle.state.pause(paused);
        Ok(())
    }

    /// Waits until a paused agent holds no item of a pull that is still outstanding: the item would
    /// wait here and count as delivered. Without a permit the answer is sent before that.
    async fn let_go(&self, handle: &AgentHandle) {
        let Ok(_place) = self.pausing.try_acquire() else {
            return;
        };
        let settled = async {
            let done = || {
                handle.state.pause_in_force()
                    && (handle.plugin_queue.taking() > 0 || !handle.plugin_queue.expects_work())
            };
            while !done() {
                tokio::time::sleep(limits::PAUSE_LOOK).await;
            }
        };
        let _ = tokio::time::timeout(limits::PAUSE_WAIT, settled).await;
    }

    async fn configure(&self, handle: &AgentHandle, payload: &[u8]) -> Result<(), Reason> {
        let _reading = self.reading.lock().await;
        let _change = handle.state.change.lock().await;
        let changes = changes(payload)?;
        let mut keys: Vec<String> = changes
            .keys()
            .take(MAX_KEYS_AUDITED)
            .map(|key| key.chars().take(MAX_LABEL).collect())
            .collect();
        if changes.len() > keys.len() {
            keys.push(format!("and {} more", changes.len() - keys.len()));
        }
        let change = |overrides: &mut Overrides| overrides.configure(changes);
        let overrides = Overrides::change(&self.kv, &handle.id, change).await?;
        handle
            .state
            .set_overrides(ConfigValues::of(&overrides.config));
        self.events.audit(
            audit::CONFIG,
            json!({"agent_id": handle.id.as_str(), "keys": keys}),
        );
        // Health requests leave room in the queue: a full one already holds a `Configured` or a
        // stop.
        let _ = handle.control.try_send(Control::Configured);
        Ok(())
    }

    /// Puts each `execute` command into the mailboxes of the agents it targets.
    async fn executions(self, messages: Subscription, cancel: CancellationToken) {
        let hand_over = |message: Message| {
            let this = &self;
            async move {
                for handle in this.directory.find(&target(&message.subject)) {
                    if let Err(reason) = this.execute(&message, &handle) {
                        let refused = Some(reason.message.as_str());
                        handle.state.executed.add(Duration::ZERO, refused);
                        this.refuse(&message, &handle, &reason).await;
                    }
                }
            }
        };
        serve::serve(messages, cancel, hand_over).await;
    }

    fn execute(&self, message: &Message, handle: &AgentHandle) -> Result<(), Reason> {
        if handle.state.is_paused() {
            return Err(Reason::new(
                ReasonKind::Paused,
                format!("agent `{}` is paused", handle.id),
            ));
        }
        handle.state.admit(&message.payload)?;
        if let Some(reason) = handle.plugin_queue.circuit.refusal() {
            return Err(reason);
        }
        let trace = Trace::received(&message.headers, RequestId::new);
        let destination = match reply_subject(message) {
            Some(to) => Destination::Reply {
                to: to.to_owned(),
                connection: self.bulk.clone(),
            },
            None => Destination::Stored,
        };
        let Some(charge) = handle.state.weigh(message.bytes()) else {
            let text = format!(
                "agent `{}`: as many bytes of commands as it may have wait already; try again later",
                handle.id
            );
            return Err(Reason::new(ReasonKind::Busy, text));
        };
        let call = call(Kind::Execute, message.clone(), trace);
        let sent = handle.mailbox.send(Delivery {
            call,
            destination,
            charge: Some(charge),
            rest: None,
        });
        let gone = || {
            Reason::new(
                ReasonKind::Stopped,
                format!("agent `{}` has stopped", handle.id),
            )
        };
        sent.then_some(()).ok_or_else(gone)
    }

    async fn refuse(&self, message: &Message, handle: &AgentHandle, reason: &Reason) {
        let Some(reply) = reply_subject(message) else {
            tracing::warn!(agent = %handle.id, kind = %reason.kind, error = %reason.message, "execute refused");
            return;
        };
        let trace = Trace::received(&message.headers, RequestId::new);
        send_error(&self.bulk, reply, &handle.id, &trace, reason).await;
    }
}

async fn shutdown(handle: &AgentHandle) -> Result<(), Reason> {
    let (done, gone) = oneshot::channel();
    let stop = Control::Stop {
        reason: StopReason::Shutdown,
        done,
    };
    // Sent at once or not at all, so that a positive answer means that the agent will stop.
    if let Err(TrySendError::Full(_)) = handle.control.try_send(stop) {
        let text = format!("agent `{}` has too many commands waiting", handle.id);
        return Err(Reason::new(ReasonKind::Busy, text));
    }
    match tokio::time::timeout(limits::SHUTDOWN_WAIT, gone).await {
        // An agent that is already gone has the same effect.
        Ok(_) => Ok(()),
        Err(_) => Err(Reason::new(
            ExitKind::Timeout,
            format!(
                "agent `{}` still handles a message; it stops when that is done",
                handle.id
            ),
        )),
    }
}

fn status_body(handle: &AgentHandle, full: bool) -> Value {
    let snapshot = handle.snapshot();
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

/// The changes in the payload of a `cmd.config`.
fn changes(payload: &[u8]) -> Result<Map<String, Value>, Reason> {
    if payload.len() > limits::MAX_OVERRIDES {
        let (bytes, most) = (payload.len(), limits::MAX_OVERRIDES);
        return Err(Reason::new(
            ReasonKind::TooLarge,
            format!("the payload has {bytes} bytes, and `cmd.config` may have {most}"),
        ));
    }
    serde_json::from_slice(payload).map_err(|error| {
        Reason::new(
            ReasonKind::Invalid,
            format!("the payload must be a JSON object of values to replace: {error}"),
        )
    })
}

/// The target in `agent.<target>.cmd.<type>`; the subscription guarantees the shape.
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
