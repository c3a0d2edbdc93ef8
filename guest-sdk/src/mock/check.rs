//! The checks of arguments that the host makes too: a test finds a malformed subject before the
//! host does.

use crate::error::{CallError, Result};

/// The largest payload or value, in bytes: the default of `limits.payload`.
pub(super) const MAX_PAYLOAD: usize = 1024 * 1024;
/// The longest subject, in bytes.
const MAX_SUBJECT: usize = 255;
/// The longest key, in bytes.
const MAX_KEY: usize = 200;
/// The longest id of a workflow, in bytes.
const MAX_ID: usize = 96;
/// The most keys that `keys` lists.
pub(super) const MAX_KEYS: usize = 10_000;
/// The most subscriptions of one agent: the default of `limits.subscriptions`.
pub(super) const MAX_SUBSCRIPTIONS: usize = 1000;
/// The most headers of a message.
const MAX_HEADERS: usize = 64;
/// The most bytes of all names and values of a message's headers.
const MAX_HEADER_BYTES: usize = 16 * 1024;
/// The headers that the host alone sets.
const HOST_HEADERS: [&str; 7] = [
    "x-agent-id",
    "x-request-id",
    "x-trace-id",
    "x-span-id",
    "x-priority",
    "x-retry-count",
    "x-claim",
];

/// `subject` matches `pattern`, token by token: `*` is any one token, `>` at the end is one or
/// more.
pub(super) fn matches(pattern: &str, subject: &str) -> bool {
    let mut tokens = subject.split('.');
    for expected in pattern.split('.') {
        match (expected, tokens.next()) {
            (">", Some(_)) => return true,
            ("*", Some(_)) => {}
            (expected, Some(token)) if expected == token => {}
            _ => return false,
        }
    }
    tokens.next().is_none()
}

/// A subject to publish on: valid tokens, no wildcards.
pub(super) fn subject(subject: &str) -> Result<(), CallError> {
    pattern(subject)?;
    if subject.split('.').any(|token| token == "*" || token == ">") {
        return invalid(format!("the subject `{subject}` has wildcards"));
    }
    Ok(())
}

/// A subject to subscribe to: valid tokens, `*` for one, `>` at the end.
pub(super) fn pattern(subject: &str) -> Result<(), CallError> {
    if subject.len() > MAX_SUBJECT {
        return invalid(format!("the subject has more than {MAX_SUBJECT} bytes"));
    }
    let bad = |c: char| c.is_whitespace() || c.is_control();
    if subject.chars().any(bad) || subject.split('.').any(str::is_empty) {
        return invalid(format!("{subject:?} is not a subject"));
    }
    match subject.split('.').position(|token| token == ">") {
        Some(index) if index + 1 != subject.split('.').count() => invalid(format!(
            "in the subject `{subject}` `>` does not stand last"
        )),
        _ => Ok(()),
    }
}

/// The name of a bucket.
pub(super) fn bucket(bucket: &str) -> Result<(), CallError> {
    let good = |b: u8| b.is_ascii_alphanumeric() || b"_-".contains(&b);
    if bucket.is_empty() || !bucket.bytes().all(good) {
        return invalid(format!("{bucket:?} is not a bucket"));
    }
    Ok(())
}

/// A key.
pub(super) fn key(key: &str) -> Result<(), CallError> {
    let good = |b: u8| b.is_ascii_alphanumeric() || b"-/_=.".contains(&b);
    if key.len() > MAX_KEY || !key.bytes().all(good) || key.split('.').any(str::is_empty) {
        return invalid(format!("{key:?} is not a key"));
    }
    Ok(())
}

/// The id of a workflow, or the name of an event or a stage.
pub(super) fn id(id: &str) -> Result<(), CallError> {
    let good = |b: u8| b.is_ascii_alphanumeric() || b"_-".contains(&b);
    if id.is_empty() || id.len() > MAX_ID || !id.bytes().all(good) {
        return invalid(format!("{id:?} is not an id"));
    }
    Ok(())
}

/// The id of an agent, `<plugin>-<NNN>`.
pub(super) fn agent(id: &str) -> Result<(), CallError> {
    let digits = id.rsplit_once('-').map(|(_, digits)| digits);
    let good = |d: &str| d.len() >= 3 && d.bytes().all(|b| b.is_ascii_digit());
    if !digits.is_some_and(good) {
        return invalid(format!("{id:?} is not an agent id"));
    }
    self::id(id)
}

/// A payload or a value.
pub(super) fn payload(payload: &[u8]) -> Result<(), CallError> {
    if payload.len() > MAX_PAYLOAD {
        let size = payload.len();
        return Err(CallError::TooLarge(format!(
            "{size} bytes are over the limit of {MAX_PAYLOAD}"
        )));
    }
    Ok(())
}

/// The headers of a message: `Content-Type` and free `X-…` names, few and short.
pub(super) fn headers(headers: &[(String, String)]) -> Result<(), CallError> {
    let bytes: usize = headers.iter().map(|(n, v)| n.len() + v.len()).sum();
    if headers.len() > MAX_HEADERS || bytes > MAX_HEADER_BYTES {
        return Err(CallError::TooLarge(format!(
            "more than {MAX_HEADERS} headers, or {MAX_HEADER_BYTES} bytes of them"
        )));
    }
    for (name, value) in headers {
        let lower = name.to_ascii_lowercase();
        let free = lower.len() > 2 && lower.starts_with("x-");
        let token = name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
        let theirs = HOST_HEADERS.contains(&lower.as_str());
        if lower != "content-type" && (!free || !token || theirs) {
            return invalid(format!("a plugin cannot set the header {name:?}"));
        }
        if value.chars().any(char::is_control) {
            return invalid(format!("the header `{name}` has control characters"));
        }
    }
    Ok(())
}

fn invalid<T>(text: String) -> Result<T, CallError> {
    Err(CallError::Invalid(text))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use super::*;

    #[test]
    fn patterns_match_token_by_token() {
        for (pattern, subject, expected) in [
            ("a.b", "a.b", true),
            ("a.b", "a.c", false),
            ("a.*", "a.b", true),
            ("a.*", "a.b.c", false),
            ("a.*", "a", false),
            ("*.b", "a.b", true),
            ("a.>", "a.b.c", true),
            ("a.>", "a", false),
            (">", "a", true),
            ("a", "a.b", false),
            ("a.b", "a", false),
        ] {
            assert_eq!(matches(pattern, subject), expected, "{pattern} {subject}");
        }
    }

    #[test]
    fn subjects() {
        let long = "a".repeat(256);
        for bad in [
            "", ".a", "a.", "a..b", "a b", "a\r\nb", "a\0", "a.\u{a0}", &long,
        ] {
            assert!(subject(bad).is_err(), "{bad:?}");
            assert!(pattern(bad).is_err(), "{bad:?}");
        }
        for wild in ["a.*", ">", "*.b", "a.>"] {
            assert!(subject(wild).is_err(), "{wild:?}");
            assert!(pattern(wild).is_ok(), "{wild:?}");
        }
        assert!(pattern("a.>.b").is_err());
        for good in ["a", "a.b-c_D.1", "a*.b", "grüße.x"] {
            assert!(subject(good).is_ok(), "{good:?}");
        }
    }

    #[test]
    fn keys_and_buckets() {
        let long = "k".repeat(201);
        for bad in ["", ".a", "a.", "a..b", "a b", "a*", "a>", "ä", &long] {
            assert!(key(bad).is_err(), "{bad:?}");
        }
        for good in ["a", "a.b/c_d=E-1", "a/"] {
            assert!(key(good).is_ok(), "{good:?}");
        }
        for bad in ["", "a.b", "a b", "ä"] {
            assert!(bucket(bad).is_err(), "{bad:?}");
        }
        assert!(bucket("NLP_CACHE-1").is_ok());
    }

    #[test]
    fn payloads() {
        assert!(payload(&vec![0; MAX_PAYLOAD]).is_ok());
        let error = payload(&vec![0; MAX_PAYLOAD + 1]).unwrap_err();
        assert_eq!(error.kind(), "too-large");
    }

    #[test]
    fn header_names_and_values() {
        let one = |name: &str, value: &str| headers(&[(name.to_owned(), value.to_owned())]);
        for good in ["Content-Type", "content-type", "X-Mine", "x-a_b"] {
            assert!(one(good, "v").is_ok(), "{good}");
        }
        for bad in [
            "X-Agent-ID",
            "x-request-id",
            "X-Claim",
            "traceparent",
            "Nats-Msg-Id",
            "KV-Operation",
            "X-",
            "X-a b",
            "X-a:b",
            "",
        ] {
            assert_eq!(one(bad, "v").unwrap_err().kind(), "invalid", "{bad}");
        }
        for bad in ["a\r\nb", "a\0"] {
            assert!(one("X-Mine", bad).is_err(), "{bad:?}");
        }
        let header = ("X-Mine".to_owned(), "v".to_owned());
        assert_eq!(headers(&vec![header; 65]).unwrap_err().kind(), "too-large");
        let error = one("X-Mine", &"v".repeat(16 * 1024)).unwrap_err();
        assert_eq!(error.kind(), "too-large");
    }
}
