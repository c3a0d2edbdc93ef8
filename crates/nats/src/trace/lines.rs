//! The header lines of trace and span ids, written in one step: every message that is sent has
//! them.

use super::numbers::{hex, text};

/// As they are sent, with room for the digits.
const BLANK: [u8; 145] = *b"X-Trace-ID: ................................\r\n\
X-Span-ID: ................\r\n\
traceparent: 00-................................-................-..\r\n";

/// Where the digits stand.
const TRACE: usize = 12;
const SPAN: usize = 57;
const PARENT_TRACE: usize = 91;
const PARENT_SPAN: usize = 124;
const FLAGS: usize = 141;
/// Where the line of the trace's id ends.
const WITHOUT_NAME: usize = 46;

/// The lines of trace, span and W3C's form of both.
pub(super) struct Lines([u8; BLANK.len()]);

impl Lines {
    pub(super) fn of(trace: u128, span: u64, flags: u8) -> Self {
        let (trace, span) = (hex(trace.to_be_bytes()), hex(span.to_be_bytes()));
        let mut lines = Self(BLANK);
        lines.put(TRACE, &trace);
        lines.put(SPAN, &span);
        lines.put(PARENT_TRACE, &trace);
        lines.put(PARENT_SPAN, &span);
        lines.put(FLAGS, &hex([flags]));
        lines
    }

    #[inline]
    fn put<const N: usize>(&mut self, at: usize, digits: &[[u8; 2]; N]) {
        let digits = digits.as_flattened();
        if let Some(place) = self.0.get_mut(at..at + digits.len()) {
            place.copy_from_slice(digits);
        }
    }

    pub(super) fn all(&self) -> &str {
        text(&self.0)
    }

    /// All but that of the trace's id, for a trace that its sender has named otherwise.
    pub(super) fn but_the_name(&self) -> &str {
        self.all().get(WITHOUT_NAME..).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_digit_has_its_place() {
        let trace = 0x0123_4567_89ab_cdef_0011_2233_4455_6677;
        let lines = Lines::of(trace, 0x8899_aabb_ccdd_eeff, 0x01);
        let (id, span) = ("0123456789abcdef0011223344556677", "8899aabbccddeeff");
        let others = format!("X-Span-ID: {span}\r\ntraceparent: 00-{id}-{span}-01\r\n");
        assert_eq!(lines.all(), format!("X-Trace-ID: {id}\r\n{others}"));
        assert_eq!(lines.but_the_name(), others);
    }
}
