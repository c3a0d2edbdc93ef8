//! Texts that a host writes into headers, encoded as RFC 2047 where they are not ASCII.
//!
//! NATS allows any bytes in a header value, and some clients drop a header that is not ASCII. An
//! error text can hold a plugin's own words; without the encoding its reader would miss it.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::Headers;

/// Before an encoded word.
const OPEN: &str = "=?UTF-8?B?";
/// Behind it.
const CLOSE: &str = "?=";
/// The most bytes in an encoded word: with these it has 72 letters, and RFC 2047 allows 75.
const WORD: usize = 45;

impl Headers {
    /// Sets a header to a text of the host's, in ASCII. Control characters become spaces.
    pub fn set_text(&mut self, name: &str, text: &str) {
        self.set(name, &encode(text));
    }

    /// The first value of a header that [`Headers::set_text`] has set, without control characters.
    pub fn text(&self, name: &str) -> Option<Cow<'_, str>> {
        self.get(name).map(decode)
    }
}

fn encode(text: &str) -> Cow<'_, str> {
    // A text that looks encoded would be read as something else.
    if text.is_ascii() && !text.contains("=?") {
        return Cow::Borrowed(text);
    }
    let mut words: Vec<String> = Vec::new();
    let mut word = String::new();
    for letter in text.chars() {
        if word.len() + letter.len_utf8() > WORD {
            words.push(std::mem::take(&mut word));
        }
        word.push(letter);
    }
    words.push(word);
    let words = words
        .iter()
        .map(|word| format!("{OPEN}{}{CLOSE}", STANDARD.encode(word)));
    Cow::Owned(words.collect::<Vec<_>>().join(" "))
}

/// A value that is no sequence of encoded words stays as it is.
fn decode(value: &str) -> Cow<'_, str> {
    if !value.starts_with(OPEN) {
        return Cow::Borrowed(value);
    }
    let mut text = String::new();
    for word in value.split(' ') {
        let inner = word
            .strip_prefix(OPEN)
            .and_then(|rest| rest.strip_suffix(CLOSE));
        let bytes = inner.and_then(|inner| STANDARD.decode(inner).ok());
        match bytes.map(String::from_utf8) {
            Some(Ok(part)) => text.push_str(&part),
            _ => return Cow::Borrowed(value),
        }
    }
    // The words can hide what a header cannot have.
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    Cow::Owned(text.chars().map(plain).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_text_in_ascii_is_its_own_value() {
        for text in ["", "no such file", "40 % = full?", "a?=b"] {
            assert_eq!(encode(text), text);
            assert_eq!(decode(text), text);
        }
    }

    #[test]
    fn other_texts_travel_in_ascii_and_come_back() {
        let long = "größer 😀 ".repeat(200);
        for text in ["é", "größer", "😀", "=?UTF-8?B?eA==?=", "a =?b", &long] {
            let mut headers = Headers::new();
            headers.set_text("X-DLQ-Error", text);
            let value = headers.get("X-DLQ-Error").unwrap();
            assert!(value.is_ascii(), "{value}");
            assert!(value.split(' ').all(|word| word.len() <= 75), "{value}");
            assert_eq!(headers.text("x-dlq-error").unwrap(), text);
        }
        // As Python reads it: str(email.header.make_header(email.header.decode_header(value))).
        assert_eq!(encode("größer"), "=?UTF-8?B?Z3LDtsOfZXI=?=");
    }

    #[test]
    fn what_is_not_encoded_well_is_shown_as_it_is() {
        for value in [
            "=?UTF-8?B?",
            "=?UTF-8?B?!?=",
            "=?UTF-8?B?/w==?=",
            "=?UTF-8?B?eA==?= and more",
        ] {
            assert_eq!(decode(value), value);
        }
    }

    #[test]
    fn no_control_character_hides_in_a_word() {
        let hidden = format!("{OPEN}{}{CLOSE}", STANDARD.encode("a\u{1b}[2J\r\nb"));
        assert_eq!(decode(&hidden), "a [2J  b");
    }
}
