//! Does what the JSON in its payload says, and returns what happened as JSON: see [`Command`] for
//! the list. It does so alike for `cmd.execute`, for work, for questions, and for messages of
//! subscriptions.
//!
//! A call that the host refuses is a result, not a failure: `{"error": {"kind": "denied",
//! "message": "…"}}`. A payload that is no command is rejected, except in a subscription and a
//! question, where it is only heard.
//!
//! `[config]`: `report_to`, a subject on which the probe publishes what it hears (`{"agent",
//! "subject", "payload"}`, `{"agent", "batch"}`, `{"agent", "notice", …}`, `{"agent", "stop"}`),
//! and the commands `on_start`, `on_stop`, `on_message` and `on_stage`: without the last an input
//! of a stage is a command itself.

#![allow(
    clippy::disallowed_methods,
    reason = "it tries what a sandbox must refuse"
)]

mod batch;
mod command;
mod flood;
mod hostile;
mod sandbox;
mod stage;
mod talk;
mod together;

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::thread::sleep;
use std::time::{Duration, Instant};

use command::{Answer, Command, Output, Pause, Plain};
use mistersmith_sdk::{
    Agent, CallError, Error, Event, Health, Leadership, Message, Question, Reply, Result, Stage,
    Value, Work, context, export_agent, json, log, messaging,
};
use serde::Deserialize;

/// How many heard messages and notices are remembered; older ones are forgotten.
const REMEMBERED: usize = 1000;

#[derive(Deserialize)]
struct Config {
    report_to: Option<String>,
    on_start: Option<Command>,
    on_stop: Option<Command>,
    on_message: Option<Command>,
    on_stage: Option<Command>,
}

struct Probe {
    config: Config,
    /// A number drawn at the start: another number is another instance.
    instance: u64,
    calls: u64,
    health: Health,
    heard: VecDeque<Value>,
    notices: VecDeque<Value>,
    kept: Vec<Vec<u8>>,
}

/// What a command can know of the message that brought it.
struct Origin<'a> {
    message: Option<&'a Message>,
    stage: Option<&'a Stage>,
    retries: u32,
}

impl Agent for Probe {
    fn start() -> Result<Self> {
        let mut probe = Self {
            config: context::config()?,
            instance: RandomState::new().hash_one(0),
            calls: 0,
            health: Health::ok(),
            heard: VecDeque::new(),
            notices: VecDeque::new(),
            kept: Vec::new(),
        };
        if let Some(command) = probe.config.on_start.clone() {
            probe.run_alone(command)?;
        }
        Ok(probe)
    }

    fn execute(&mut self, message: &Message) -> Result<Reply> {
        let origin = Origin {
            message: Some(message),
            stage: None,
            retries: 0,
        };
        self.answer(message.json()?, &origin)
    }

    fn work(&mut self, item: &Work) -> Result<Reply> {
        let origin = Origin {
            message: Some(item),
            stage: None,
            retries: item.retries(),
        };
        self.answer(item.json()?, &origin)
    }

    fn stage(&mut self, input: &Stage) -> Result<Reply> {
        self.staged(input)
    }

    fn message(&mut self, message: &Message) -> Result<Reply> {
        let payload = String::from_utf8_lossy(message.payload());
        let heard = json!({
            "agent": context::agent_id(), "subject": message.subject(), "payload": payload,
            "subscription": message.subscription(), "wants_reply": message.wants_reply(),
        });
        self.report(&heard);
        remember(&mut self.heard, heard.clone());
        let command = match message.json() {
            Ok(command) => Some(command),
            Err(error) if payload.contains("\"do\"") => return Err(error),
            Err(_) => self.config.on_message.clone(),
        };
        let origin = Origin {
            message: Some(message),
            stage: None,
            retries: 0,
        };
        match command {
            Some(command) => self.answer(command, &origin),
            None => Ok(heard.into()),
        }
    }

    fn leadership(&mut self, change: &Leadership) -> Result<()> {
        let notice = json!({
            "agent": context::agent_id(), "notice": "leadership", "domain": change.domain,
            "leading": change.leading, "term": change.term,
        });
        self.report(&notice);
        remember(&mut self.notices, notice);
        Ok(())
    }

    fn scatter(&mut self, question: &Question) -> Result<Reply> {
        let payload = String::from_utf8_lossy(question.payload());
        let heard = json!({
            "agent": context::agent_id(), "request": question.request(), "payload": payload,
        });
        remember(&mut self.heard, heard.clone());
        let origin = Origin {
            message: Some(question),
            stage: None,
            retries: 0,
        };
        match question.json() {
            Ok(command) => self.answer(command, &origin),
            Err(error) if payload.contains("\"do\"") => Err(error),
            Err(_) => Ok(heard.into()),
        }
    }

    fn coordination(&mut self, event: &Event) -> Result<()> {
        let payload = String::from_utf8_lossy(&event.payload);
        let notice = json!({
            "agent": context::agent_id(), "notice": "coordination", "workflow": event.workflow,
            "event": event.event, "payload": payload,
        });
        self.report(&notice);
        remember(&mut self.notices, notice);
        Ok(())
    }

    fn batch(&mut self, messages: &[Message]) -> Vec<Result<Reply>> {
        self.together(messages)
    }

    fn configuration(&mut self) -> Result<()> {
        self.config = context::config()?;
        let notice = json!({
            "agent": context::agent_id(), "notice": "configuration",
            "config": context::config::<Value>()?,
        });
        self.report(&notice);
        remember(&mut self.notices, notice);
        Ok(())
    }

    fn health(&mut self) -> Health {
        self.health.clone()
    }

    fn stop(&mut self, reason: &str) -> Result<()> {
        self.report(&json!({"agent": context::agent_id(), "stop": reason}));
        match self.config.on_stop.clone() {
            Some(command) => self.run_alone(command),
            None => Ok(()),
        }
    }
}

export_agent!(Probe);

impl Probe {
    fn answer(&mut self, command: Command, origin: &Origin) -> Result<Reply> {
        self.calls += 1;
        match command {
            Command::Answer(Answer::Reply {
                payload,
                content_type,
                headers,
            }) => {
                let mut reply = Reply::from(payload);
                if let Some(content_type) = content_type {
                    reply = reply.with_content_type(content_type);
                }
                Ok(headers
                    .into_iter()
                    .fold(reply, |reply, (name, value)| reply.with_header(name, value)))
            }
            Command::Answer(Answer::NoReply {}) => Ok(Reply::none()),
            Command::Answer(Answer::BigReply { bytes }) => Ok(Reply::bytes(vec![b'x'; bytes])),
            command => Ok(self.run(command, origin)?.into()),
        }
    }

    /// Runs a command outside a delivery.
    fn run_alone(&mut self, command: Command) -> Result<()> {
        let origin = Origin {
            message: None,
            stage: None,
            retries: 0,
        };
        self.run(command, &origin).map(|_| ())
    }

    /// Runs a command and tells what happened. An error is what the command asked for.
    fn run(&mut self, command: Command, origin: &Origin) -> Result<Value> {
        let told = match command {
            Command::Plain(plain) => return self.plain(plain, origin),
            Command::Fail(fail) => return Err(fail.into()),
            Command::Send(send) => talk::send(send),
            Command::Kv(kv) => talk::kv(kv),
            Command::Together(together) => together::together(together),
            Command::Hostile(hostile) => Ok(hostile::run(hostile, &mut self.kept)),
            Command::Sandbox(sandbox) => Ok(sandbox::run(sandbox)),
            Command::Flood(flood) => Ok(flood::run(flood)),
            Command::Answer(_) => Err(CallError::Invalid("a reply stands alone".to_owned())),
        };
        Ok(told.unwrap_or_else(|error| refused(&error)))
    }

    fn plain(&mut self, plain: Plain, origin: &Origin) -> Result<Value> {
        Ok(match plain {
            Plain::Echo { value } => value,
            Plain::Sequence { commands } => {
                let results = commands
                    .into_iter()
                    .map(|command| self.run(command, origin));
                Value::Array(results.collect::<Result<_>>()?)
            }
            Plain::Log {
                level,
                message,
                bytes,
                fields,
            } => {
                let fields: Vec<_> = fields.into_iter().collect();
                log::write(level.into(), &(message + &"x".repeat(bytes)), &fields);
                done()
            }
            Plain::Print { text, to } => {
                match to {
                    Output::Stdout => println!("{text}"),
                    Output::Stderr => eprintln!("{text}"),
                }
                done()
            }
            Plain::Context {} => self.context()?,
            Plain::Headers {} => json!(origin.message.map(Message::headers)),
            Plain::Header { name } => json!(origin.message.map(|m| m.header(&name))),
            Plain::Stage {} => stage::told(origin),
            Plain::Counter {} => json!({
                "agent": context::agent_id(), "count": self.calls, "instance": self.instance,
            }),
            Plain::Heard {} => json!(std::mem::take(&mut self.heard)),
            Plain::Notices {} => json!(std::mem::take(&mut self.notices)),
            Plain::Health { ok, detail, load } => {
                self.health = Health { ok, detail, load };
                done()
            }
            Plain::Sleep { ms, how, subject } => {
                let slept = pause(Duration::from_millis(ms), how, &subject);
                slept.unwrap_or_else(|error| refused(&error))
            }
            Plain::FailTimes { n } if origin.retries < n => {
                return Err(Error::retry(format_args!("try {} fails", origin.retries)));
            }
            Plain::FailTimes { .. } => json!({"retries": origin.retries}),
        })
    }

    fn context(&self) -> Result<Value, CallError> {
        let remaining = u64::try_from(context::remaining().as_millis()).unwrap_or(u64::MAX);
        Ok(json!({
            "agent": context::agent_id(), "plugin": context::plugin(), "version": context::version(),
            "config": context::config::<Value>()?, "request_id": context::request_id(),
            "trace_id": context::trace_id(), "remaining_ms": remaining,
        }))
    }

    fn report(&self, what: &Value) {
        if let Some(subject) = &self.config.report_to {
            if let Err(error) = messaging::publish_json(subject, what) {
                log::warn!("cannot report to `{subject}`: {error}");
            }
        }
    }
}

fn remember(list: &mut VecDeque<Value>, value: Value) {
    if list.len() == REMEMBERED {
        list.pop_front();
    }
    list.push_back(value);
}

/// Lets time pass: in the guest, in a WASI call, or in a call of the host.
fn pause(time: Duration, how: Pause, subject: &str) -> Result<Value, CallError> {
    let begin = Instant::now();
    match how {
        Pause::Busy => while begin.elapsed() < time {},
        Pause::Wait => sleep(time),
        Pause::Request => {
            messaging::to(subject).request_within(time)?;
        }
    }
    let slept = u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX);
    Ok(json!({"slept_ms": slept}))
}

/// The result of what has none.
fn done() -> Value {
    json!({"ok": true})
}

/// The result of what the host did not do.
fn refused(error: &CallError) -> Value {
    json!({"error": {"kind": error.kind(), "message": error.message()}})
}

#[cfg(test)]
mod tests;
