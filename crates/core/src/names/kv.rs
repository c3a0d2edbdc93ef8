//! Names in key-value buckets: the bucket, a key, a pattern of keys.

use super::{NameError, name};
use crate::limits::{MAX_BUCKET, MAX_KEY};

name! {
    /// A key-value bucket: `[A-Za-z0-9_-]+`, at most 63 bytes.
    Bucket, check_bucket
}

name! {
    /// A key: `[-/_=.a-zA-Z0-9]+`, tokens separated by dots, none of them empty, at most 200 bytes.
    Key, check_key
}

name! {
    /// A pattern of keys: a key in which `*` stands for one token and a final `>` for all the rest.
    KeyPattern, check_pattern
}

impl KeyPattern {
    /// Does the pattern match this key?
    pub fn matches(&self, key: &str) -> bool {
        super::subject::matches(self.as_str(), key)
    }

    /// Does every key that `pattern` can match also match this one?
    pub fn covers(&self, pattern: &str) -> bool {
        super::subject::covers(self.as_str(), pattern)
    }
}

fn check_bucket(text: &str) -> Result<(), NameError> {
    let fail = |reason| Err(NameError::new(text, "a bucket name", reason));
    if text.len() > MAX_BUCKET {
        return fail("it has more than 63 bytes");
    }
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    if text.is_empty() || !text.bytes().all(allowed) {
        return fail("only A-Z, a-z, 0-9, \"_\" and \"-\" are allowed, and at least one of them");
    }
    Ok(())
}

fn check_key(text: &str) -> Result<(), NameError> {
    check_tokens(text, "a key", |token| token.bytes().all(is_key_byte))
}

fn check_pattern(text: &str) -> Result<(), NameError> {
    let last = text.split('.').count();
    let mut at = 0;
    check_tokens(text, "a pattern of keys", |token| {
        at += 1;
        token == "*" || (token == ">" && at == last) || token.bytes().all(is_key_byte)
    })
}

fn check_tokens(
    text: &str,
    kind: &str,
    mut allowed: impl FnMut(&str) -> bool,
) -> Result<(), NameError> {
    let fail = |reason| Err(NameError::new(text, kind, reason));
    if text.len() > MAX_KEY {
        return fail("it has more than 200 bytes");
    }
    for token in text.split('.') {
        if token.is_empty() {
            return fail("a part between two dots, or at an end, is empty");
        }
        if !allowed(token) {
            return fail("only A-Z, a-z, 0-9 and \"-\", \"/\", \"_\", \"=\", \".\" are allowed");
        }
    }
    Ok(())
}

fn is_key_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'/' | b'_' | b'=')
}
