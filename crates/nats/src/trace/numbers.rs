//! Ids of traces and spans: random numbers, written as hexadecimal digits.

use rand::Rng as _;

/// Never zero, which W3C calls invalid.
pub(super) fn random_trace() -> u128 {
    rand::rng().random::<u128>().max(1)
}

/// Never zero, which W3C calls invalid.
pub(super) fn random_span() -> u64 {
    rand::rng().random::<u64>().max(1)
}

pub(super) fn hex128(number: u128) -> String {
    let mut text = String::with_capacity(32);
    push_hex(&mut text, number.to_be_bytes());
    text
}

pub(super) fn hex64(number: u64) -> String {
    let mut text = String::with_capacity(16);
    push_hex(&mut text, number.to_be_bytes());
    text
}

/// Appends bytes as lower-case hexadecimal digits.
pub(crate) fn push_hex<const N: usize>(line: &mut String, bytes: [u8; N]) {
    line.push_str(text(hex(bytes).as_flattened()));
}

/// The two lower-case hexadecimal digits of each byte.
pub(super) fn hex<const N: usize>(bytes: [u8; N]) -> [[u8; 2]; N] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |half: u8| DIGITS.get(usize::from(half)).copied().unwrap_or_default();
    bytes.map(|byte| [digit(byte >> 4), digit(byte & 15)])
}

/// Digits are always text.
pub(super) fn text(digits: &[u8]) -> &str {
    std::str::from_utf8(digits).unwrap_or_default()
}
