//! A message as the rest of the host sees it, and its headers.
//!
//! Payloads are shared, never copied, on the way in and out.

use async_nats::{HeaderMap, HeaderName, HeaderValue};
use bytes::Bytes;

use super::TransportError;

/// A message that was received.
#[derive(Debug, Clone)]
pub struct Message {
    /// The subject it was published on. It may have literal wildcard tokens: `agent.*.cmd.pause`.
    pub subject: String,
    /// Where the sender waits for an answer, if it does.
    pub reply: Option<String>,
    /// Its headers.
    pub headers: Headers,
    /// Its payload, in whatever format the sender chose.
    pub payload: Bytes,
}

impl Message {
    /// Takes over what the client library received; nothing is copied.
    pub(crate) fn received(message: async_nats::Message) -> Self {
        Self {
            subject: message.subject.into_string(),
            reply: message.reply.map(async_nats::Subject::into_string),
            headers: Headers(message.headers.unwrap_or_default()),
            payload: message.payload,
        }
    }
}

/// The headers of a message: names with one or more values each, in no order.
///
/// Names are kept as written and compared without case, because other languages' clients change it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Headers(pub(super) HeaderMap);

impl Headers {
    /// No headers.
    pub fn new() -> Self {
        Self::default()
    }

    /// The first value of a header, whatever the case of its name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter()
            .find(|(other, _)| other.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    /// Every name with every value; a name with several values comes several times.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().flat_map(|(name, values)| {
            values
                .iter()
                .map(move |value| (AsRef::<str>::as_ref(name), value.as_str()))
        })
    }

    /// Sets a header to one value, in place of what stood under this name in any case.
    ///
    /// Refuses a name that is empty or has a colon, white space or other than ASCII, and a value
    /// with CR, LF or NUL: either would end this header early and begin one the sender was not to set.
    pub fn insert(&mut self, name: &str, value: &str) -> Result<(), TransportError> {
        let (name, value) = (header_name(name)?, header_value(name, value)?);
        let same = |other: &str| other.eq_ignore_ascii_case(name.as_ref());
        if self.0.iter().any(|(other, _)| {
            let other: &str = other.as_ref();
            other != AsRef::<str>::as_ref(&name) && same(other)
        }) {
            // The map of the library has no remove: build it again without the other spelling.
            self.0 = self.without(AsRef::<str>::as_ref(&name));
        }
        self.0.insert(name, value);
        Ok(())
    }

    /// Sets one of the host's own headers where no other spelling of its name can stand: on a message
    /// that the host begins. Saves a look at every header that is there, and takes the value over.
    pub(super) fn set_first(&mut self, name: &'static HeaderName, value: String) {
        if is_line(&value) {
            self.0.insert(name.clone(), value);
        }
    }

    /// Sets a header that the host makes, whatever its value: control characters become spaces. A name
    /// that no header may have is a mistake of ours, and nothing is set.
    pub fn set(&mut self, name: &str, value: &str) {
        let set = if value.contains(char::is_control) {
            let line: String = value
                .chars()
                .map(|c| if c.is_control() { ' ' } else { c })
                .collect();
            self.insert(name, &line)
        } else {
            self.insert(name, value)
        };
        debug_assert!(set.is_ok(), "{name}");
    }

    /// Removes a header, whatever the case of its name.
    pub fn remove(&mut self, name: &str) {
        if self.get(name).is_some() {
            self.0 = self.without(name);
        }
    }

    /// Adds a further value under a name; refuses what [`Headers::insert`] refuses.
    pub fn append(&mut self, name: &str, value: &str) -> Result<(), TransportError> {
        let (name, value) = (header_name(name)?, header_value(name, value)?);
        self.0.append(name, value);
        Ok(())
    }

    /// How many values there are, over all names.
    pub fn len(&self) -> usize {
        self.0.iter().map(|(_, values)| values.len()).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn without(&self, name: &str) -> HeaderMap {
        let mut kept = HeaderMap::new();
        for (other, values) in self.0.iter() {
            let text: &str = other.as_ref();
            if !text.eq_ignore_ascii_case(name) {
                for value in values {
                    kept.append(other.clone(), value.clone());
                }
            }
        }
        kept
    }
}

fn header_name(name: &str) -> Result<HeaderName, TransportError> {
    let refused = || {
        TransportError::Invalid(format!(
            "header name {name:?} is empty or has a character that no header name may have"
        ))
    };
    if name.is_empty() {
        return Err(refused());
    }
    name.parse::<HeaderName>().map_err(|_| refused())
}

/// Whether a header can have this value.
fn is_line(value: &str) -> bool {
    !value.bytes().any(|b| matches!(b, b'\r' | b'\n' | 0))
}

fn header_value(name: &str, value: &str) -> Result<HeaderValue, TransportError> {
    let refused = || {
        TransportError::Invalid(format!(
            "the value of header {name:?} has a line break or NUL"
        ))
    };
    if value.contains('\0') {
        return Err(refused());
    }
    value.parse::<HeaderValue>().map_err(|_| refused())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names_are_compared_without_case_and_kept_as_written() {
        let mut headers = Headers::new();
        headers.insert("x-request-id", "1").unwrap();
        assert_eq!(headers.get("X-Request-ID"), Some("1"));
        headers.insert("X-Request-ID", "2").unwrap();
        assert_eq!(headers.len(), 1);
        assert_eq!(headers.iter().next(), Some(("X-Request-ID", "2")));
    }

    #[test]
    fn smuggling_is_refused_not_a_panic() {
        let mut headers = Headers::new();
        for bad in ["a\r\nNats-Rollup: all", "a\nb", "a\rb", "a\0b"] {
            assert!(headers.insert("X-A", bad).is_err(), "{bad:?}");
            assert!(headers.append("X-A", bad).is_err(), "{bad:?}");
        }
        for bad in ["", "X A", "X:A", "X\r\nB", "X\0", "\u{e9}"] {
            assert!(headers.insert(bad, "v").is_err(), "{bad:?}");
        }
        assert!(headers.is_empty());
    }

    #[test]
    fn a_name_has_several_values() {
        let mut headers = Headers::new();
        headers.append("X-A", "1").unwrap();
        headers.append("X-A", "2").unwrap();
        headers.insert("X-B", "").unwrap();
        assert_eq!(headers.len(), 3);
        assert_eq!(headers.get("x-a"), Some("1"));
        assert_eq!(headers.get("X-B"), Some(""));
        assert_eq!(headers.get("X-C"), None);
        headers.remove("x-a");
        assert_eq!(headers.iter().next(), Some(("X-B", "")));
        assert_eq!(headers.len(), 1);
    }
}
