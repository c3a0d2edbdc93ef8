//! Validation of subjects, queue groups and names before the client library sees them.
//!
//! The library writes subjects into the protocol as they are, and the server answers a control line
//! that is too long by closing the connection, which everybody shares. A bad subject must fail
//! here.

use super::TransportError;

/// Longest subject, reply or queue name that is sent, in bytes. Our own subjects have at most 255;
/// replies that other systems make (gateways, acknowledgements) are longer. Three of these fit a
/// control line of 4,096.
const MAX_WORD: usize = 1024;

/// A subject to publish on: tokens that are not empty, no white space, no control characters.
/// Wildcard tokens are let through: `agent.*.cmd.<type>` is published literally.
pub(crate) fn subject(subject: &str) -> Result<(), TransportError> {
    word("subject", subject)?;
    let bytes = subject.as_bytes();
    let pairs = bytes.iter().zip(bytes.iter().skip(1));
    let ends = bytes.first() == Some(&b'.') || bytes.last() == Some(&b'.');
    // In wide steps too.
    if ends || pairs.fold(false, |found, pair| found | (pair == (&b'.', &b'.'))) {
        return Err(TransportError::Invalid(format!(
            "subject {subject:?} has an empty token"
        )));
    }
    Ok(())
}

/// A subject to subscribe to: as [`subject()`], and `>` stands at the end only.
pub(crate) fn pattern(pattern: &str) -> Result<(), TransportError> {
    subject(pattern)?;
    let mut tokens = pattern.split('.').rev().skip(1);
    if tokens.any(|token| token == ">") {
        return Err(TransportError::Invalid(format!(
            "subject {pattern:?} has `>` before its end"
        )));
    }
    Ok(())
}

/// The name of a queue group.
pub(crate) fn queue(name: &str) -> Result<(), TransportError> {
    word("queue group", name)
}

/// The name of a stream, consumer or bucket, which becomes one token of a subject.
pub(crate) fn name(kind: &str, name: &str) -> Result<(), TransportError> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if name.is_empty() || name.len() > 255 || !name.chars().all(good) {
        return Err(TransportError::Invalid(format!(
            "{kind} {name:?} is not a name of letters, digits, `-` and `_`"
        )));
    }
    Ok(())
}

fn word(kind: &str, text: &str) -> Result<(), TransportError> {
    if text.is_empty() {
        return Err(TransportError::Invalid(format!("the {kind} is empty")));
    }
    if text.len() > MAX_WORD {
        return Err(TransportError::Invalid(format!(
            "the {kind} has {} bytes; at most {MAX_WORD} are allowed",
            text.len()
        )));
    }
    // Nearly every one, and looked at in a few wide steps: each message comes by here.
    if text
        .bytes()
        .fold(true, |plain, b| plain & (b > b' ') & (b < 0x7f))
    {
        return Ok(());
    }
    // Unicode white space too: other clients' parsers split control lines at it.
    if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(TransportError::Invalid(format!(
            "{kind} {text:?} has white space or control characters"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_that_would_break_the_protocol_are_refused() {
        let long = "a".repeat(MAX_WORD + 1);
        for bad in [
            "",
            ".",
            "a.",
            ".a",
            "a..b",
            "a b",
            "a\tb",
            "a\r\nPUB x 0",
            "a\0b",
            "a\u{a0}b",
            "a\u{2003}b",
            "a\u{7f}",
            &long,
        ] {
            assert!(subject(bad).is_err(), "{bad:?}");
            assert!(pattern(bad).is_err(), "{bad:?}");
        }
        for good in ["a", "a.b.c", "agent.*.cmd.pause", "$JS.ACK.x", "caf\u{e9}"] {
            assert_eq!(subject(good), Ok(()), "{good:?}");
        }
    }

    #[test]
    fn a_wildcard_for_the_rest_stands_at_the_end_only() {
        assert!(pattern("a.>.b").is_err());
        assert!(pattern(">.b").is_err());
        for good in [">", "a.>", "*.b", "a.*.>", "a>b.c"] {
            assert_eq!(pattern(good), Ok(()), "{good:?}");
        }
    }

    #[test]
    fn names_become_one_token() {
        assert!(name("stream", "A.B").is_err());
        assert!(name("stream", "A*").is_err());
        assert!(name("stream", "").is_err());
        assert_eq!(name("bucket", "NLP_CACHE-2"), Ok(()));
    }
}
