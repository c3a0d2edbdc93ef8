//! Frames of the NATS protocol: where each ends, and what it carries.
//!
//! Faults are placed between frames, so a frame is passed on whole or not at all.

use bytes::{Bytes, BytesMut};
use serde_json::Value;

/// Longest line without an end; the longest in use is INFO.
const LINE: usize = 64 * 1024;

/// Bytes that are no frame of the protocol.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// One frame: a line, and for a message its headers and payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    /// All of it, as it travels.
    pub(crate) bytes: Bytes,
    /// Length of the line with its end.
    line: usize,
    /// Length of the headers.
    headers: usize,
}

impl Frame {
    /// A frame that has only a line.
    pub(crate) fn of_line(line: &str) -> Self {
        let bytes = Bytes::from(format!("{line}\r\n"));
        let line = bytes.len();
        Self {
            bytes,
            line,
            headers: 0,
        }
    }

    /// The line without its end.
    pub(crate) fn line(&self) -> &str {
        let line = std::str::from_utf8(&self.bytes[..self.line]);
        line.unwrap_or_default().trim_end_matches(['\r', '\n'])
    }

    /// Its first word, in capitals.
    pub(crate) fn word(&self) -> String {
        word(self.line())
    }

    /// The rest after the first word.
    pub(crate) fn rest(&self) -> &str {
        let line = self.line().trim_start();
        let end = line.find(char::is_whitespace).unwrap_or(line.len());
        line[end..].trim()
    }

    /// Whether it carries a message, to the server or from it.
    pub(crate) fn is_message(&self) -> bool {
        message_lengths(&self.word()) > 0
    }

    /// Whether it carries a message of the server.
    fn is_delivery(&self) -> bool {
        matches!(self.word().as_str(), "MSG" | "HMSG")
    }

    /// The subscription that a message of the server is for.
    pub(crate) fn subscription(&self) -> Option<&str> {
        let mut fields = self.rest().split_ascii_whitespace();
        let second = fields.nth(1);
        second.filter(|_| self.is_delivery())
    }

    /// Whether it delivers a message of a stream that is to be acknowledged.
    pub(crate) fn is_from_a_stream(&self) -> bool {
        let mut fields = self.rest().split_ascii_whitespace();
        let reply = fields.nth(2).unwrap_or_default();
        self.is_delivery() && reply.starts_with("$JS.ACK.")
    }

    /// The code of a status message, which says something about a pull: `NATS/1.0 408 …`.
    pub(crate) fn status(&self) -> Option<u16> {
        let headers = self.bytes.get(self.line..self.line + self.headers)?;
        let code = headers.strip_prefix(b"NATS/1.0 ")?.get(..3)?;
        let code = std::str::from_utf8(code).ok()?.parse().ok();
        code.filter(|_| self.is_delivery())
    }

    pub(crate) fn payload(&self) -> &[u8] {
        let end = match self.is_message() {
            true => self.bytes.len().saturating_sub(2),
            false => self.line,
        };
        self.bytes
            .get(self.line + self.headers..end)
            .unwrap_or_default()
    }

    /// Whether the server says in it that a stream has stored a message.
    pub(crate) fn is_publish_ack(&self) -> bool {
        if !self.is_delivery() {
            return false;
        }
        let Ok(said) = serde_json::from_slice::<Value>(self.payload()) else {
            return false;
        };
        said["stream"].is_string() && said["seq"].is_u64() && said["type"].is_null()
    }
}

/// Cuts a stream of bytes into frames.
#[derive(Debug, Default)]
pub(crate) struct Frames(BytesMut);

impl Frames {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// The next frame that has arrived whole.
    pub(crate) fn next(&mut self) -> Result<Option<Frame>, Malformed> {
        let Some(end) = self.0.iter().position(|byte| *byte == b'\n') else {
            return match self.0.len() > LINE {
                true => Err(Malformed),
                false => Ok(None),
            };
        };
        let line = end + 1;
        let text = std::str::from_utf8(&self.0[..line]).map_err(|_| Malformed)?;
        let (headers, body) = lengths(text)?;
        let Some(bytes) = line.checked_add(body) else {
            return Err(Malformed);
        };
        if self.0.len() < bytes {
            return Ok(None);
        }
        let bytes = self.0.split_to(bytes).freeze();
        if body > 0 && !bytes.ends_with(b"\r\n") {
            return Err(Malformed);
        }
        Ok(Some(Frame {
            bytes,
            line,
            headers,
        }))
    }
}

/// The length of the headers, and of all that follows the line.
fn lengths(line: &str) -> Result<(usize, usize), Malformed> {
    let count = message_lengths(&word(line));
    if count == 0 {
        return Ok((0, 0));
    }
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    // The word and a subject come before the lengths.
    if fields.len() < count + 2 {
        return Err(Malformed);
    }
    let number = |field: &&str| field.parse::<usize>().map_err(|_| Malformed);
    let numbers = fields[fields.len() - count..].iter().map(number);
    let numbers = numbers.collect::<Result<Vec<usize>, Malformed>>()?;
    let total = numbers[count - 1];
    let headers = if count == 2 { numbers[0] } else { 0 };
    let whole = total.checked_add(2).ok_or(Malformed)?;
    match headers <= total {
        true => Ok((headers, whole)),
        false => Err(Malformed),
    }
}

/// How many lengths end the line of a frame that carries a message: headers and total, or total.
fn message_lengths(word: &str) -> usize {
    match word {
        "HMSG" | "HPUB" => 2,
        "MSG" | "PUB" => 1,
        _ => 0,
    }
}

fn word(line: &str) -> String {
    let first = line.split_ascii_whitespace().next().unwrap_or_default();
    first.to_ascii_uppercase()
}

#[cfg(test)]
mod tests;
