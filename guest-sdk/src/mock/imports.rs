//! The functions of the host, implemented by the bus of the current thread.

use std::cell::RefCell;
use std::time::Duration;

use super::record::{Call, LogLine, Sent};
use super::state::State;
use super::{Bus, check};
use crate::error::{CallError, Result};
use crate::headers::find;
use crate::kv::Entry;
use crate::log::Level;
use crate::messaging::{Answer, Stored};
use crate::millis::millis;

type Headers = [(String, String)];

/// The message that is being handled.
#[derive(Debug, Clone, Default)]
pub(super) struct Handling {
    pub(super) request_id: String,
    pub(super) trace_id: String,
    /// The headers of each item.
    pub(super) items: Vec<Vec<(String, String)>>,
}

/// The bus and the agent of the current thread.
#[derive(Clone)]
pub(super) struct Current {
    pub(super) bus: Bus,
    agent: String,
    handling: Handling,
}

thread_local! {
    static CURRENT: RefCell<Option<Current>> = const { RefCell::new(None) };
}

/// Runs `body` as the agent; the agent before is restored afterwards, also after a panic.
pub(super) fn enter<R>(bus: &Bus, agent: &str, handling: Handling, body: impl FnOnce() -> R) -> R {
    struct Before(Option<Current>);
    impl Drop for Before {
        fn drop(&mut self) {
            CURRENT.set(self.0.take());
        }
    }
    let now = Current {
        bus: bus.clone(),
        agent: agent.to_owned(),
        handling,
    };
    let _before = Before(CURRENT.replace(Some(now)));
    body()
}

pub(super) fn current() -> Option<Current> {
    CURRENT.with_borrow(Clone::clone)
}

fn required() -> Result<Current, CallError> {
    current().ok_or_else(|| {
        CallError::Unavailable(
            "no mock bus: a test calls an agent through `mistersmith_sdk::mock::Bus`".to_owned(),
        )
    })
}

/// Runs `body` on the state of the bus, unless this kind of call is to fail.
pub(super) fn call<R>(
    kind: Call,
    body: impl FnOnce(&mut State, &str) -> Result<R, CallError>,
) -> Result<R, CallError> {
    let current = required()?;
    let mut state = current.bus.state();
    state.failure(kind)?;
    body(&mut state, &current.agent)
}

pub(super) fn sent(agent: &str, subject: &str, payload: &[u8], headers: &Headers) -> Sent {
    Sent {
        agent: agent.to_owned(),
        subject: subject.to_owned(),
        payload: payload.to_vec(),
        headers: headers.to_vec(),
        stream: None,
        timeout: None,
    }
}

pub(super) fn sendable(
    state: &State,
    subject: &str,
    payload: &[u8],
    headers: &Headers,
) -> Result<(), CallError> {
    check::subject(subject)?;
    check::headers(headers)?;
    check::payload(payload)?;
    state.allowed(subject)
}

pub(crate) fn publish(subject: &str, payload: &[u8], headers: &Headers) -> Result<(), CallError> {
    call(Call::Publish, |state, agent| {
        sendable(state, subject, payload, headers)?;
        let message = sent(agent, subject, payload, headers);
        state.published.push(message);
        Ok(())
    })
}

pub(crate) fn publish_stored(
    subject: &str,
    payload: &[u8],
    headers: &Headers,
) -> Result<Stored, CallError> {
    call(Call::PublishStored, |state, agent| {
        sendable(state, subject, payload, headers)?;
        state.store(sent(agent, subject, payload, headers))
    })
}

pub(crate) fn request(
    subject: &str,
    payload: &[u8],
    headers: &Headers,
    timeout_ms: Option<u32>,
) -> Result<Answer, CallError> {
    let (request, answer) = call(Call::Request, |state, agent| {
        sendable(state, subject, payload, headers)?;
        let mut request = sent(agent, subject, payload, headers);
        request.timeout = timeout_ms.map(|ms| Duration::from_millis(ms.into()));
        state.requests.push(request.clone());
        Ok((request, state.answer_to(subject)))
    })?;
    let answer = answer.ok_or(CallError::NoResponders)?;
    // The state is not locked here: the answer may use the bus, and other agents on it.
    let mut answer = answer.lock().unwrap_or_else(|e| e.into_inner());
    let body = answer(&request)?.body.unwrap_or_default();
    let mut headers = body.headers;
    if let Some(content_type) = body.content_type {
        headers.push(("Content-Type".to_owned(), content_type));
    }
    Ok(Answer {
        subject: "_INBOX.mock".to_owned(),
        headers,
        payload: body.payload,
    })
}

pub(crate) fn subscribe(subject: &str, queue: Option<&str>) -> Result<u64, CallError> {
    call(Call::Subscribe, |state, agent| {
        check::pattern(subject)?;
        if let Some(queue) = queue {
            check::subject(queue)?;
        }
        state.allowed(subject)?;
        let own = state.subscriptions.iter().filter(|s| s.agent == agent);
        if own.count() >= check::MAX_SUBSCRIPTIONS {
            let limit = check::MAX_SUBSCRIPTIONS;
            return Err(CallError::Exhausted(format!("{limit} subscriptions")));
        }
        Ok(state.subscribe(agent, subject, queue))
    })
}

pub(crate) fn unsubscribe(subscription: u64) -> Result<(), CallError> {
    call(Call::Unsubscribe, |state, agent| {
        let before = state.subscriptions.len();
        state
            .subscriptions
            .retain(|s| s.agent != agent || s.id != subscription);
        if state.subscriptions.len() == before {
            let text = format!("no subscription {subscription}");
            return Err(CallError::NotFound(text));
        }
        Ok(())
    })
}

/// Runs `body` on a bucket, after the checks of bucket and key.
fn on_key<R>(
    kind: Call,
    bucket: &str,
    key: &str,
    body: impl FnOnce(&mut super::state::Bucket) -> Result<R, CallError>,
) -> Result<R, CallError> {
    call(kind, |state, _| {
        check::bucket(bucket)?;
        check::key(key)?;
        state.key_allowed(bucket, key)?;
        body(state.bucket(bucket))
    })
}

pub(crate) fn kv_get(bucket: &str, key: &str) -> Result<Option<Entry>, CallError> {
    on_key(Call::KvGet, bucket, key, |bucket| Ok(bucket.get(key)))
}

pub(crate) fn kv_put(bucket: &str, key: &str, value: &[u8]) -> Result<u64, CallError> {
    on_key(Call::KvPut, bucket, key, |bucket| {
        check::payload(value)?;
        Ok(bucket.put(key, value))
    })
}

pub(crate) fn kv_create(bucket: &str, key: &str, value: &[u8]) -> Result<u64, CallError> {
    on_key(Call::KvCreate, bucket, key, |bucket| {
        check::payload(value)?;
        bucket.create(key, value)
    })
}

pub(crate) fn kv_update(
    bucket: &str,
    key: &str,
    value: &[u8],
    revision: u64,
) -> Result<u64, CallError> {
    on_key(Call::KvUpdate, bucket, key, |bucket| {
        check::payload(value)?;
        bucket.update(key, value, revision)
    })
}

pub(crate) fn kv_delete(bucket: &str, key: &str, revision: Option<u64>) -> Result<(), CallError> {
    on_key(Call::KvDelete, bucket, key, |bucket| {
        bucket.delete(key, revision)
    })
}

pub(crate) fn kv_keys(bucket: &str, pattern: &str) -> Result<Vec<String>, CallError> {
    call(Call::KvKeys, |state, _| {
        check::bucket(bucket)?;
        check::pattern(pattern)?;
        state.key_allowed(bucket, pattern)?;
        let keys = state.bucket(bucket).keys(pattern);
        if keys.len() > check::MAX_KEYS {
            let text = format!("more than {} keys match `{pattern}`", check::MAX_KEYS);
            return Err(CallError::TooLarge(text));
        }
        Ok(keys)
    })
}

pub(crate) fn log(level: Level, message: &str, fields: &Headers) {
    let shown: String = fields.iter().map(|(k, v)| format!(" {k}={v}")).collect();
    let Some(current) = current() else {
        eprintln!("{level:5} {message}{shown}");
        return;
    };
    eprintln!("{level:5} {}: {message}{shown}", current.agent);
    current.bus.state().logs.push(LogLine {
        level,
        message: message.to_owned(),
        fields: fields.to_vec(),
    });
}

pub(crate) fn agent_id() -> String {
    current().map(|current| current.agent).unwrap_or_default()
}

pub(crate) fn plugin() -> String {
    of_bus(|state| state.plugin.clone())
}

pub(crate) fn version() -> String {
    of_bus(|state| state.version.clone())
}

pub(crate) fn config() -> String {
    current().map_or_else(
        || "{}".to_owned(),
        |current| current.bus.state().config.to_string(),
    )
}

pub(crate) fn config_value(key: &str) -> Option<String> {
    let current = current()?;
    let state = current.bus.state();
    state.config.get(key).map(ToString::to_string)
}

pub(crate) fn request_id() -> String {
    current().map_or_else(String::new, |current| current.handling.request_id)
}

pub(crate) fn trace_id() -> String {
    current().map_or_else(String::new, |current| current.handling.trace_id)
}

pub(crate) fn remaining_ms() -> u32 {
    current().map_or(0, |current| millis(current.bus.state().remaining))
}

pub(crate) fn headers(item: u32) -> Vec<(String, String)> {
    let items = current().map(|current| current.handling.items);
    let index = usize::try_from(item).unwrap_or(usize::MAX);
    items
        .and_then(|items| items.into_iter().nth(index))
        .unwrap_or_default()
}

pub(crate) fn header(item: u32, name: &str) -> Option<String> {
    find(&headers(item), name).map(str::to_owned)
}

fn of_bus(read: impl FnOnce(&State) -> String) -> String {
    current().map_or_else(String::new, |current| read(&current.bus.state()))
}
