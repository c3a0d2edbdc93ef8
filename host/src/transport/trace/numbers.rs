//! Ids of traces and spans: random numbers, written as hexadecimal digits.

use rand::Rng as _;

/// Never zero, which W3C calls invalid.
pub(super) fn random_trace() -> u128 {
    rand::rng().random_range(1..=u128::MAX)
}

/// Never zero, which W3C calls invalid.
pub(super) fn random_span() -> u64 {
    rand::rng().random_range(1..=u64::MAX)
}

pub(super) fn hex128(number: u128) -> String {
    let mut text = String::with_capacity(32);
    push_hex(&mut text, &number.to_be_bytes());
    text
}

pub(super) fn hex64(number: u64) -> String {
    let mut text = String::with_capacity(16);
    push_hex(&mut text, &number.to_be_bytes());
    text
}

/// Appends bytes as lower-case hexadecimal digits; every message has five such numbers.
pub(super) fn push_hex(text: &mut String, bytes: &[u8]) {
    let digit = |half: u8| {
        char::from(if half < 10 {
            b'0' + half
        } else {
            b'a' + half - 10
        })
    };
    for byte in bytes {
        text.push(digit(byte >> 4));
        text.push(digit(byte & 15));
    }
}
