//! The imported interfaces, translated to the types of the SDK.

use crate::agent::Leadership;
pub(crate) use crate::bindings::mistersmith::agent::context::{
    agent_id, config, config_value, header_value as header, headers, plugin, remaining_ms,
    request_id, trace_id, version,
};
use crate::bindings::mistersmith::agent::{coordination, kv, log as logging, messaging, types};
use crate::coordination::{self as coord, Circuit, Gathered, Gathering};
use crate::error::{CallError, Result};
use crate::kv::Entry;
use crate::log::Level;
use crate::messaging::{Answer, Stored};

type Headers = [(String, String)];

pub(crate) fn publish(subject: &str, payload: &[u8], headers: &Headers) -> Result<(), CallError> {
    Ok(messaging::publish(subject, payload, headers)?)
}

pub(crate) fn publish_stored(
    subject: &str,
    payload: &[u8],
    headers: &Headers,
) -> Result<Stored, CallError> {
    let stored = messaging::publish_stored(subject, payload, headers)?;
    Ok(Stored {
        stream: stored.stream,
        sequence: stored.sequence,
        duplicate: stored.duplicate,
    })
}

pub(crate) fn request(
    subject: &str,
    payload: &[u8],
    headers: &Headers,
    timeout_ms: Option<u32>,
) -> Result<Answer, CallError> {
    let message = messaging::request(subject, payload, headers, timeout_ms)?;
    Ok(Answer {
        subject: message.subject,
        headers: message.headers,
        payload: message.payload,
    })
}

pub(crate) fn subscribe(subject: &str, queue: Option<&str>) -> Result<u64, CallError> {
    Ok(messaging::subscribe(subject, queue)?)
}

pub(crate) fn unsubscribe(subscription: u64) -> Result<(), CallError> {
    Ok(messaging::unsubscribe(subscription)?)
}

pub(crate) fn kv_get(bucket: &str, key: &str) -> Result<Option<Entry>, CallError> {
    let entry = kv::get(bucket, key)?;
    Ok(entry.map(|entry| Entry {
        value: entry.value,
        revision: entry.revision,
    }))
}

pub(crate) fn kv_put(bucket: &str, key: &str, value: &[u8]) -> Result<u64, CallError> {
    Ok(kv::put(bucket, key, value)?)
}

pub(crate) fn kv_create(bucket: &str, key: &str, value: &[u8]) -> Result<u64, CallError> {
    Ok(kv::create(bucket, key, value)?)
}

pub(crate) fn kv_update(
    bucket: &str,
    key: &str,
    value: &[u8],
    revision: u64,
) -> Result<u64, CallError> {
    Ok(kv::update(bucket, key, value, revision)?)
}

pub(crate) fn kv_delete(bucket: &str, key: &str, revision: Option<u64>) -> Result<(), CallError> {
    Ok(kv::delete(bucket, key, revision)?)
}

pub(crate) fn kv_keys(bucket: &str, pattern: &str) -> Result<Vec<String>, CallError> {
    Ok(kv::keys(bucket, pattern)?)
}

pub(crate) fn log(level: Level, message: &str, fields: &Headers) {
    let level = match level {
        Level::Debug => logging::Level::Debug,
        Level::Info => logging::Level::Info,
        Level::Warn => logging::Level::Warn,
        Level::Error => logging::Level::Error,
    };
    logging::log(level, message, fields);
}

impl From<types::Error> for CallError {
    fn from(error: types::Error) -> Self {
        match error {
            types::Error::Denied(text) => Self::Denied(text),
            types::Error::Invalid(text) => Self::Invalid(text),
            types::Error::NoResponders => Self::NoResponders,
            types::Error::Timeout => Self::Timeout,
            types::Error::TooLarge(text) => Self::TooLarge(text),
            types::Error::RateLimited => Self::RateLimited,
            types::Error::Exhausted(text) => Self::Exhausted(text),
            types::Error::Conflict => Self::Conflict,
            types::Error::NotFound(text) => Self::NotFound(text),
            types::Error::Full(text) => Self::Full(text),
            types::Error::Unavailable(text) => Self::Unavailable(text),
            types::Error::Other(text) => Self::Other(text),
        }
    }
}

pub(crate) fn scatter(
    payload: &[u8],
    headers: &Headers,
    gathering: Gathering,
) -> Result<Gathered, CallError> {
    let gathering = coordination::Gathering {
        timeout_ms: gathering.timeout_ms,
        min: gathering.min,
        expected: gathering.expected,
    };
    let gathered = coordination::scatter(payload, headers, &gathering)?;
    let answer = |answer: coordination::Answer| coord::Answer {
        agent_id: answer.agent_id,
        payload: answer.payload,
        content_type: answer.content_type,
    };
    let failed = |failed: coordination::NoAnswer| coord::Failed {
        agent_id: failed.agent_id,
        reason: failed.reason,
    };
    Ok(Gathered {
        request: gathered.request,
        status: match gathered.status {
            coordination::GatherStatus::Complete => coord::Status::Complete,
            coordination::GatherStatus::Partial => coord::Status::Partial,
            coordination::GatherStatus::Timeout => coord::Status::Timeout,
        },
        answers: gathered.answers.into_iter().map(answer).collect(),
        failed: gathered.failed.into_iter().map(failed).collect(),
        missing: gathered.missing,
    })
}

pub(crate) fn start_pipeline(
    stage: &str,
    workflow: Option<&str>,
    payload: &[u8],
    headers: &Headers,
) -> Result<String, CallError> {
    Ok(coordination::start_pipeline(
        stage, workflow, payload, headers,
    )?)
}

pub(crate) fn pipeline_result(
    workflow: &str,
    timeout_ms: Option<u32>,
) -> Result<Option<Answer>, CallError> {
    let message = coordination::pipeline_result(workflow, timeout_ms)?;
    Ok(message.map(|message| Answer {
        subject: message.subject,
        headers: message.headers,
        payload: message.payload,
    }))
}

pub(crate) fn signal(workflow: &str, event: &str, payload: &[u8]) -> Result<(), CallError> {
    Ok(coordination::signal(workflow, event, payload)?)
}

pub(crate) fn await_event(
    workflow: &str,
    event: &str,
    timeout_ms: Option<u32>,
) -> Result<Option<Vec<u8>>, CallError> {
    Ok(coordination::await_event(workflow, event, timeout_ms)?)
}

pub(crate) fn watch(workflow: &str) -> Result<(), CallError> {
    Ok(coordination::watch(workflow)?)
}

pub(crate) fn unwatch(workflow: &str) -> Result<(), CallError> {
    Ok(coordination::unwatch(workflow)?)
}

pub(crate) fn leadership() -> Option<Leadership> {
    coordination::leadership().map(|standing| Leadership {
        domain: standing.domain,
        leading: standing.leading,
        term: standing.term,
    })
}

pub(crate) fn circuit(service: &str) -> Result<Circuit, CallError> {
    Ok(match coordination::circuit(service)? {
        coordination::CircuitState::Closed => Circuit::Closed,
        coordination::CircuitState::Open => Circuit::Open,
        coordination::CircuitState::HalfOpen => Circuit::HalfOpen,
    })
}
