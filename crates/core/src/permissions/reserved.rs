//! The reserved subjects, which no grant can open.
//!
//! The functions take patterns; a literal subject is a pattern that matches only itself. Each
//! answers with the reason, or with nothing when the pattern is free.

use crate::names::{AgentId, subject};

/// Subjects that the host's streams capture. A request there is answered by the stream, and a
/// queue group would not keep the other copies from being stored.
pub const CAPTURED: [&str; 13] = [
    "agent.*.created",
    "agent.*.started",
    "agent.*.ready",
    "agent.*.stopped",
    "agent.*.error",
    "agent.*.resp.*",
    "work.>",
    "coord.>",
    "pipeline.>",
    "scatter.>",
    "gather.>",
    "dlq.>",
    "audit.>",
];

/// What the host measures of every agent: `metrics.agent.<id>.<metric>`.
pub const HOST_METRICS: [&str; 6] = [
    "cpu_usage",
    "memory_usage",
    "tasks_processed",
    "tasks_failed",
    "messages_in",
    "messages_out",
];

const SYSTEM: &str = "it belongs to the NATS server";
const INBOX: &str = "inboxes are the host's: it makes the reply subject of a request itself";
const LIFE: &str = "the host alone reports the life of agents";
const COMMAND: &str = "`execute` is the only command that agents may give";
const RESULT: &str = "the host alone publishes what handlers return";
const DEAD: &str = "the host alone writes dead letters";
const AUDIT: &str = "the host alone writes the audit trail";
const ELECTION: &str = "the host alone speaks in elections";
const GATHER: &str = "the host alone collects the answers of a scatter";
const HEALTH: &str = "the host alone speaks about health";
const CIRCUIT: &str = "the host alone reports circuits";
const METRICS: &str = "an agent may publish only metrics.agent.{agent}.<a name of its own>";
const EMERGENCY: &str = "an emergency is not called by agents";
const STORED: &str = "a stream stores what is published there, and its acknowledgement would be \
                      taken for the answer";
const WORK: &str = "work and pipeline stages are delivered by patterns such as [[work]], never to \
                    a subscription: each message would stay stored for ever";
const WIDE: &str =
    "its first token must be a name: with a wildcard there it would hear work, inboxes and `$…`";
const QUEUE_BROADCAST: &str = "a broadcast is for every subscriber, so it takes no queue group";
const QUEUE_STORED: &str = "a stream captures the subject, so it takes no queue group";

/// Whose own metrics are meant.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Own<'a> {
    /// Those of this agent.
    Agent(&'a AgentId),
    /// Those of any agent of this plugin: what a manifest can be about.
    Plugin(&'a str),
}

impl Own<'_> {
    fn is(self, token: &str) -> bool {
        match self {
            Self::Agent(id) => id.as_str() == token,
            Self::Plugin(name) => token.parse::<AgentId>().is_ok_and(|id| id.plugin() == name),
        }
    }
}

/// Why nothing that `pattern` matches can be published by an agent. A pattern that merely
/// includes reserved subjects is free.
pub(crate) fn publish(pattern: &str, own: Own<'_>) -> Option<&'static str> {
    let mut tokens = pattern.split('.');
    let first = tokens.next().unwrap_or_default();
    if let Some(reason) = internal(first) {
        return Some(reason);
    }
    match first {
        "agent" => {
            tokens.next();
            agent(tokens)
        }
        "metrics" => metrics(tokens, own),
        "broadcast" => (tokens.next() == Some("emergency")).then_some(EMERGENCY),
        "dlq" => Some(DEAD),
        "audit" => Some(AUDIT),
        "election" => Some(ELECTION),
        "gather" => Some(GATHER),
        "health" => Some(HEALTH),
        "circuit" => Some(CIRCUIT),
        _ => None,
    }
}

/// What follows `agent.<id>.`
fn agent<'a>(mut tokens: impl Iterator<Item = &'a str>) -> Option<&'static str> {
    let (what, next, more) = (tokens.next(), tokens.next(), tokens.next());
    match (what?, next) {
        ("created" | "started" | "ready" | "stopped" | "error" | "heartbeat", None) => Some(LIFE),
        ("resp", _) => Some(RESULT),
        ("cmd", Some("execute" | "*" | ">")) if more.is_none() => None,
        ("cmd", _) => Some(COMMAND),
        _ => None,
    }
}

/// What follows `metrics.`
fn metrics<'a>(mut tokens: impl Iterator<Item = &'a str>, own: Own<'_>) -> Option<&'static str> {
    match tokens.next()? {
        "system" => Some(METRICS),
        "agent" => {
            let id = tokens.next()?;
            let of_others = id != "*" && id != ">" && !own.is(id);
            let of_host = tokens
                .next()
                .is_some_and(|name| HOST_METRICS.contains(&name));
            (of_others || of_host).then_some(METRICS)
        }
        _ => None,
    }
}

/// Why no request can be sent on what `pattern` matches: a request is a publish, and where a
/// stream listens its acknowledgement comes before any answer.
pub(crate) fn request(pattern: &str, own: Own<'_>) -> Option<&'static str> {
    let stored = || {
        CAPTURED
            .iter()
            .any(|captured| subject::covers(captured, pattern))
    };
    publish(pattern, own).or_else(|| stored().then_some(STORED))
}

/// Why a grant to subscribe is useless: every subscription under it would be refused.
pub(crate) fn subscribe_grant(pattern: &str) -> Option<&'static str> {
    let first = first(pattern);
    internal(first).or_else(|| matches!(first, "work" | "pipeline").then_some(WORK))
}

/// Why `pattern` cannot be subscribed to: it overlaps what nobody but the host may hear.
pub(crate) fn subscribe(pattern: &str) -> Option<&'static str> {
    let wide = matches!(first(pattern), "*" | ">");
    wide.then_some(WIDE).or_else(|| subscribe_grant(pattern))
}

/// Why a subscription to `pattern` cannot be one of a queue group.
pub(crate) fn queue(pattern: &str) -> Option<&'static str> {
    if subject::overlaps("broadcast.>", pattern) {
        return Some(QUEUE_BROADCAST);
    }
    let stored = CAPTURED
        .iter()
        .any(|captured| subject::overlaps(captured, pattern));
    stored.then_some(QUEUE_STORED)
}

/// May what an agent answers to a message on this literal subject be sent to its sender?
///
/// Not where the host speaks for itself (commands, health, elections), and not where a stream
/// captures: the sender would take it for the acknowledgement of the stream.
pub fn may_answer(heard: &str) -> bool {
    let command = subject::matches("agent.*.cmd.>", heard);
    !command && !is_captured(heard) && publish(heard, Own::Plugin("")).is_none()
}

/// May the host send an answer to this reply subject, which a stranger chose?
///
/// The host may publish nearly everywhere, its senders may not: without this check, a request
/// with the reply subject `$JS.API.STREAM.PURGE.…` would make the host purge a stream for anybody.
pub fn may_reply_to(reply: &str) -> bool {
    if subject::check_subject(reply).is_err() {
        return false;
    }
    let inbox = reply.starts_with('_');
    let command = || subject::matches("agent.*.cmd.>", reply);
    inbox || !(is_captured(reply) || command() || publish(reply, Own::Plugin("")).is_some())
}

/// Whether one of the host's streams captures this literal subject. Asked for every message, so
/// most are told by their first token.
fn is_captured(literal: &str) -> bool {
    let first = first(literal);
    CAPTURED
        .iter()
        .filter(|captured| captured.starts_with(first))
        .any(|captured| subject::matches(captured, literal))
}

/// Server and inbox subjects. Every prefix with `_` is closed, not only `_INBOX`, `_R_` and `_GR_`:
/// clients choose inbox prefixes of their own, the host does too, and by custom they begin so.
fn internal(first: &str) -> Option<&'static str> {
    match first.as_bytes().first() {
        Some(b'$') => Some(SYSTEM),
        Some(b'_') => Some(INBOX),
        _ => None,
    }
}

fn first(pattern: &str) -> &str {
    pattern.split('.').next().unwrap_or_default()
}

#[cfg(test)]
mod tests;
