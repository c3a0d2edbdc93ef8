//! NATS subjects: which are valid, and which patterns match, cover or overlap which.
//!
//! A pattern may have `*` (exactly one token) and a final `>` (one or more tokens). The functions
//! on `&str` expect valid input and never fail: on anything else they answer "no".

use super::{NameError, name};
use crate::limits::MAX_SUBJECT;

name! {
    /// A subject that one can publish on: valid NATS tokens, none of them `*` or `>`, at most 255
    /// bytes.
    Subject, check_subject
}

name! {
    /// A subject that one can subscribe to: `*` stands for one token, a final `>` for the rest.
    SubjectPattern, check_pattern
}

impl SubjectPattern {
    /// Does the pattern match this subject?
    pub fn matches(&self, subject: &str) -> bool {
        matches(self.as_str(), subject)
    }

    /// Is every subject that `pattern` can match also matched by this one?
    pub fn covers(&self, pattern: &str) -> bool {
        covers(self.as_str(), pattern)
    }

    /// Is there a subject that both match?
    pub fn overlaps(&self, pattern: &str) -> bool {
        overlaps(self.as_str(), pattern)
    }
}

/// Does `pattern` match the literal `subject`?
pub fn matches(pattern: &str, subject: &str) -> bool {
    let mut subject = subject.split('.');
    for wanted in pattern.split('.') {
        let Some(token) = subject.next() else {
            return false;
        };
        match wanted {
            ">" => return true,
            "*" => {}
            _ if wanted == token => {}
            _ => return false,
        }
    }
    subject.next().is_none()
}

/// Is every subject that `pattern` can match also matched by `grant`? A true subset: `foo.*` does
/// not cover `foo.>`, although a NATS server would let such a subscription pass.
pub fn covers(grant: &str, pattern: &str) -> bool {
    let mut pattern = pattern.split('.');
    for allowed in grant.split('.') {
        let Some(token) = pattern.next() else {
            return false;
        };
        match (allowed, token) {
            (">", _) => return true,
            (_, ">") => return false,
            ("*", _) => {}
            _ if allowed == token => {}
            _ => return false,
        }
    }
    pattern.next().is_none()
}

/// Is there a subject that both patterns match?
pub fn overlaps(a: &str, b: &str) -> bool {
    let (mut a, mut b) = (a.split('.'), b.split('.'));
    loop {
        match (a.next(), b.next()) {
            (None, None) => return true,
            (None, _) | (_, None) => return false,
            (Some(">"), _) | (_, Some(">")) => return true,
            (Some("*"), _) | (_, Some("*")) => {}
            (Some(x), Some(y)) if x == y => {}
            _ => return false,
        }
    }
}

/// Is this a valid literal subject? One pass, no allocation unless it is not.
///
/// A wildcard token is refused rather than sent: a server routes a message on the literal `foo.*`
/// to subscribers of `foo.*`, and a check against grants would have to tell the two meanings apart.
pub(crate) fn check_subject(text: &str) -> Result<(), NameError> {
    check(text, "a subject", false)
}

/// Is this a valid pattern? One pass, no allocation unless it is not.
pub(crate) fn check_pattern(text: &str) -> Result<(), NameError> {
    check(text, "a subject pattern", true)
}

fn check(text: &str, kind: &str, wildcards: bool) -> Result<(), NameError> {
    if is_plain_subject(text.as_bytes()) {
        return Ok(());
    }
    match fault(text, wildcards) {
        None => Ok(()),
        Some(reason) => Err(NameError::new(text, kind, reason)),
    }
}

/// The common case, decided in loops that the compiler turns into a few wide instructions, because
/// every publish of every agent comes by here. What it does not accept may still be valid.
fn is_plain_subject(text: &[u8]) -> bool {
    let odd = |b: u8| b <= b' ' || b >= 0x7f || b == b'*' || b == b'>';
    let after = text.get(1..).unwrap_or_default();
    let dots = text.first() == Some(&b'.') || text.last().is_none_or(|b| *b == b'.');
    text.len() <= MAX_SUBJECT
        && !dots
        && !text.iter().fold(false, |found, b| found | odd(*b))
        && !text
            .iter()
            .zip(after)
            .fold(false, |found, (a, b)| found | (a == b && *a == b'.'))
}

fn fault(text: &str, wildcards: bool) -> Option<&'static str> {
    if text.len() > MAX_SUBJECT {
        return Some("it has more than 255 bytes");
    }
    if text.is_empty() {
        return Some("it is empty");
    }
    let mut ended = false;
    for token in text.as_bytes().split(|b| *b == b'.') {
        if ended {
            return Some("\">\" can only be its last token");
        }
        match token {
            [] => return Some("a token between two dots, or at an end, is empty"),
            [b'*' | b'>'] if !wildcards => return Some("wildcards are not allowed here"),
            [b'>'] => ended = true,
            _ if !token.iter().all(|b| is_plain(*b)) => return Some(UNPRINTABLE),
            _ => {}
        }
    }
    // Servers take only ASCII spaces for the end of a subject, but people cannot see the others.
    let hidden = |c: char| c.is_whitespace() || c.is_control();
    (!text.is_ascii() && text.chars().any(hidden)).then_some(UNPRINTABLE)
}

const UNPRINTABLE: &str = "spaces and control characters are not allowed";

/// A byte that can neither end the token nor the protocol line.
fn is_plain(byte: u8) -> bool {
    byte > b' ' && byte != 0x7f
}

#[cfg(test)]
mod tests;
