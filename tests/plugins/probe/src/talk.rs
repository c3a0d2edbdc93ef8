//! The calls of `messaging` and `kv`.

use std::time::Duration;

use mistersmith_sdk::kv::Bucket;
use mistersmith_sdk::messaging::{self, Draft};
use mistersmith_sdk::{CallError, Value, json};

use crate::command::{Kv, Send};
use crate::done;

pub(crate) fn send(send: Send) -> Result<Value, CallError> {
    match send {
        Send::Publish {
            subject,
            payload,
            bytes,
            headers,
        } => {
            draft(subject, payload, bytes, headers).publish()?;
            Ok(done())
        }
        Send::PublishStored {
            subject,
            payload,
            bytes,
            headers,
        } => {
            let stored = draft(subject, payload, bytes, headers).publish_stored()?;
            Ok(json!({
                "stream": stored.stream, "sequence": stored.sequence, "duplicate": stored.duplicate,
            }))
        }
        Send::Request {
            subject,
            payload,
            bytes,
            headers,
            timeout_ms,
        } => {
            let draft = draft(subject, payload, bytes, headers);
            let answer = match timeout_ms {
                Some(ms) => draft.request_within(Duration::from_millis(ms))?,
                None => draft.request()?,
            };
            let payload = String::from_utf8_lossy(answer.payload());
            let (subject, headers) = (answer.subject(), answer.headers());
            Ok(json!({"subject": subject, "payload": payload, "headers": headers}))
        }
        Send::Subscribe { subject, queue } => {
            let subscription = match queue {
                Some(queue) => messaging::subscribe_queue(&subject, &queue)?,
                None => messaging::subscribe(&subject)?,
            };
            Ok(json!({"subscription": subscription}))
        }
        Send::Unsubscribe { subscription } => {
            messaging::unsubscribe(subscription)?;
            Ok(done())
        }
    }
}

fn draft(subject: String, payload: Value, bytes: usize, headers: Vec<(String, String)>) -> Draft {
    let mut payload = match payload {
        Value::Null => String::new(),
        Value::String(text) => text,
        other => other.to_string(),
    };
    payload.push_str(&"x".repeat(bytes));
    headers.into_iter().fold(
        messaging::to(subject).bytes(payload),
        |draft, (name, value)| draft.header(name, value),
    )
}

pub(crate) fn kv(kv: Kv) -> Result<Value, CallError> {
    match kv {
        Kv::KvGet { bucket, key } => Ok(json!(Bucket::named(bucket).get(&key)?.map(|entry| {
            let value = String::from_utf8_lossy(&entry.value);
            json!({"value": value, "revision": entry.revision})
        }))),
        Kv::KvPut {
            bucket,
            key,
            value,
            bytes,
        } => revision(Bucket::named(bucket).put(&key, value + &"x".repeat(bytes))),
        Kv::KvCreate { bucket, key, value } => revision(Bucket::named(bucket).create(&key, value)),
        Kv::KvUpdate {
            bucket,
            key,
            value,
            revision: expected,
        } => revision(Bucket::named(bucket).update(&key, value, expected)),
        Kv::KvDelete {
            bucket,
            key,
            revision,
        } => {
            let bucket = Bucket::named(bucket);
            match revision {
                Some(revision) => bucket.delete_if(&key, revision)?,
                None => bucket.delete(&key)?,
            }
            Ok(done())
        }
        Kv::KvKeys { bucket, pattern } => {
            let mut keys = Bucket::named(bucket).keys(&pattern)?;
            keys.sort();
            Ok(json!({"keys": keys}))
        }
    }
}

fn revision(written: Result<u64, CallError>) -> Result<Value, CallError> {
    Ok(json!({"revision": written?}))
}
