//! The headers of a message, kept as the lines of the protocol in one string.
//!
//! The library keeps headers in a hash map of vectors of strings: several allocations for each
//! header of each message, and as many again for each clone. A message of an agent has five headers
//! or more, and the host reads few of them. [`Headers::sent`] hands all lines to the library as one
//! header value.

mod text;

use std::ops::Deref;
use std::sync::Arc;

use async_nats::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize as _;
use serde::de::IntoDeserializer as _;
use serde::de::value::Error as Refused;

use super::TransportError;
use super::trace::header;

/// Between a name and its value.
const COLON: &str = ": ";
/// Behind a value.
const END: &str = "\r\n";
/// The first header of most messages, as the client library wants it.
static FIRST: HeaderName = HeaderName::from_static(header::REQUEST_ID);
/// Characters that no value has.
const LINE_ENDS: [char; 3] = ['\r', '\n', '\0'];

/// The headers of a message: names with one or more values each, in the order in which they were
/// set.
///
/// Names are kept as written and compared without case, because other languages' clients change it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Headers {
    /// `<name>: <value>\r\n` for each. No name has a colon or a space, and no value CR, LF or NUL.
    lines: String,
}

impl Headers {
    /// No headers.
    pub fn new() -> Self {
        Self::default()
    }

    const fn none() -> Self {
        Self {
            lines: String::new(),
        }
    }

    /// The first value of a header, whatever the case of its name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter()
            .find(|(other, _)| other.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    /// The bytes that they take in a message.
    pub fn wire_size(&self) -> usize {
        match self.lines.len() {
            0 => 0,
            // The line with the version, and the empty one at the end.
            lines => lines + "NATS/1.0\r\n\r\n".len(),
        }
    }

    /// Every name with every value; a name with several values comes several times.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.lines.split_inclusive('\n').filter_map(read)
    }

    /// Sets a header to one value, in place of what stood under this name in any case.
    ///
    /// Refuses a name that is empty or has a colon, white space or other than ASCII, and a value
    /// with CR, LF or NUL: either would end this header early and begin one the sender was not to
    /// set.
    pub fn insert(&mut self, name: &str, value: &str) -> Result<(), TransportError> {
        check(name, value)?;
        self.remove(name);
        self.line(name, |line| line.push_str(value));
        Ok(())
    }

    /// Sets a header that the host makes, whatever its value: control characters become spaces. A
    /// name that no header may have is a bug of the caller, and nothing is set.
    pub fn set(&mut self, name: &str, value: &str) {
        let set = if !is_plain(value) && value.contains(char::is_control) {
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

    /// Says that the payload is JSON.
    pub fn set_json(&mut self) {
        self.set("Content-Type", "application/json");
    }

    /// Removes a header, whatever the case of its name.
    pub fn remove(&mut self, name: &str) {
        self.forget(|other| other.eq_ignore_ascii_case(name));
    }

    /// Adds a further value under a name; refuses what [`Headers::insert`] refuses.
    pub fn append(&mut self, name: &str, value: &str) -> Result<(), TransportError> {
        check(name, value)?;
        self.line(name, |line| line.push_str(value));
        Ok(())
    }

    /// How many values there are, over all names.
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// How many bytes they have.
    pub fn bytes(&self) -> usize {
        self.lines.len()
    }

    /// Removes all headers with such names.
    pub(super) fn forget(&mut self, is_such: impl Fn(&str) -> bool) {
        if self.iter().any(|(name, _)| is_such(name)) {
            let lines = self.lines.split_inclusive('\n');
            let kept = lines.filter(|line| !read(line).is_some_and(|(name, _)| is_such(name)));
            self.lines = kept.collect();
        }
    }

    /// Room for lines of so many bytes.
    pub(super) fn reserve(&mut self, bytes: usize) {
        self.lines.reserve(bytes);
    }

    /// Adds a line with a name that is one. In what is written as its value, spaces take the place
    /// of what would end the line.
    #[inline]
    pub(super) fn line(&mut self, name: &str, write: impl FnOnce(&mut String)) {
        self.lines.push_str(name);
        self.lines.push_str(COLON);
        let begin = self.lines.len();
        write(&mut self.lines);
        let value = self.lines.get(begin..).unwrap_or_default();
        if !is_line(value) {
            let value = value.replace(LINE_ENDS, " ");
            self.lines.truncate(begin);
            self.lines.push_str(&value);
        }
        self.lines.push_str(END);
    }

    /// Adds whole lines.
    pub(super) fn lines(&mut self, lines: &str) {
        let each = || lines.split_inclusive('\n');
        debug_assert!(each().all(|line| read(line).is_some()), "{lines:?}");
        self.lines.push_str(lines);
    }

    /// Takes over what the client library has received.
    pub(super) fn received(map: &HeaderMap) -> Self {
        let lines = || {
            let names = map.iter();
            names.flat_map(|(name, values)| {
                values.iter().map(|value| (name.as_ref(), value.as_str()))
            })
        };
        let bytes =
            |(name, value): (&str, &str)| name.len() + COLON.len() + value.len() + END.len();
        let mut headers = Self::new();
        headers.reserve(lines().map(bytes).sum());
        for (name, value) in lines() {
            headers.line(name, |line| line.push_str(value));
        }
        headers
    }

    /// As the client library sends them: one header, whose value has all the other lines in it.
    /// None where there are no headers.
    ///
    /// Errors: `Other`, where another version of the library does not take them. Nothing is ever
    /// sent without its headers: they say what must hold for a write, and by what a repetition is
    /// known.
    pub(super) fn sent(self) -> Result<Option<HeaderMap>, TransportError> {
        let refused = |_| TransportError::Other("the client library refuses headers".to_owned());
        let usual = self.lines.strip_prefix(header::REQUEST_ID);
        let name = if usual.is_some_and(|rest| rest.starts_with(COLON)) {
            FIRST.clone()
        } else {
            let Some((first, _)) = self.iter().next() else {
                return Ok(None);
            };
            first.parse().map_err(|_| refused(()))?
        };
        let mut lines = self.lines;
        lines.drain(..AsRef::<str>::as_ref(&name).len() + COLON.len());
        lines.truncate(lines.len() - END.len());
        // The library makes sure that no value made of a string has a line break. It must not,
        // here; a value that was serialised is taken as it is.
        let value = HeaderValue::deserialize(lines.into_deserializer());
        let value: Result<_, Refused> = value;
        let mut map = HeaderMap::new();
        map.insert(name, value.map_err(|_| refused(()))?);
        Ok(Some(map))
    }
}

/// The headers of a message that was received, for all who look at them. Cheap to clone, and where
/// there are none, nothing is allocated.
#[derive(Debug, Clone, Default)]
pub struct SharedHeaders(Option<Arc<Headers>>);

impl From<Headers> for SharedHeaders {
    fn from(headers: Headers) -> Self {
        Self((!headers.is_empty()).then(|| Arc::new(headers)))
    }
}

impl Deref for SharedHeaders {
    type Target = Headers;

    fn deref(&self) -> &Headers {
        static NONE: Headers = Headers::none();
        self.0.as_deref().unwrap_or(&NONE)
    }
}

/// A line's name and value.
fn read(line: &str) -> Option<(&str, &str)> {
    let colon = line.find(':')?;
    let value = line.get(colon + COLON.len()..)?;
    Some((line.get(..colon)?, value.strip_suffix(END)?))
}

/// Whether a value can stand in a line. Looks at every byte, which is quicker than to look for an
/// end.
fn is_line(value: &str) -> bool {
    let ends = |b: u8| matches!(b, b'\r' | b'\n' | 0);
    !value.bytes().fold(false, |found, b| found | ends(b))
}

/// Whether a value has surely no control characters.
fn is_plain(value: &str) -> bool {
    value
        .bytes()
        .fold(true, |plain, b| plain & matches!(b, b' '..=b'~'))
}

fn check(name: &str, value: &str) -> Result<(), TransportError> {
    let is_name = |b: u8| b.is_ascii_graphic() && b != b':';
    if name.is_empty() || !name.bytes().all(is_name) {
        return Err(TransportError::Invalid(format!(
            "header name {name:?} is empty or has a character that no header name may have"
        )));
    }
    if !is_line(value) {
        return Err(TransportError::Invalid(format!(
            "the value of header {name:?} has a line break or NUL"
        )));
    }
    Ok(())
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

    #[test]
    fn a_value_may_have_what_stands_between_names_and_values() {
        let mut headers = Headers::new();
        headers.insert("X-A", "b: c: d").unwrap();
        headers.insert("X-B", ":").unwrap();
        let all: Vec<_> = headers.iter().collect();
        assert_eq!(all, [("X-A", "b: c: d"), ("X-B", ":")]);
    }

    #[test]
    fn shared_headers_are_those_that_came_and_none_are_none() {
        let mut headers = Headers::new();
        headers.insert("X-A", "1").unwrap();
        let shared = SharedHeaders::from(headers);
        assert_eq!(shared.clone().get("x-a"), Some("1"));
        for none in [SharedHeaders::default(), Headers::new().into()] {
            assert!(none.is_empty() && none.0.is_none());
        }
    }

    #[test]
    fn what_would_end_a_line_becomes_a_space() {
        let mut headers = Headers::new();
        headers.line("X-A", |line| line.push_str("1\r\nNats-Rollup: all\0"));
        headers.line("X-B", |line| line.push_str("2 3"));
        let all: Vec<_> = headers.iter().collect();
        assert_eq!(all, [("X-A", "1  Nats-Rollup: all "), ("X-B", "2 3")]);
    }

    #[test]
    fn the_library_sends_one_header_that_has_them_all() {
        assert_eq!(Headers::new().sent(), Ok(None));
        let mut headers = Headers::new();
        headers.append("X-A", "1").unwrap();
        headers.append("X-A", "2").unwrap();
        headers.insert("X-B", "").unwrap();
        let sent = headers.sent().unwrap().unwrap();
        assert_eq!(sent.len(), 1);
        assert_eq!(sent.get("X-A").unwrap().as_str(), "1\r\nX-A: 2\r\nX-B: ");
        // The name that is usually the first one, and one that begins as it does.
        for name in ["X-Request-ID", "X-Request-IDs"] {
            let mut headers = Headers::new();
            headers.append(name, "1").unwrap();
            headers.append("X-B", "2").unwrap();
            let sent = headers.sent().unwrap().unwrap();
            assert_eq!(sent.get(name).unwrap().as_str(), "1\r\nX-B: 2");
        }
    }
}
