//! Durations, sizes and rates in text form: a whole number and a unit.

use std::time::Duration;

/// The units of a duration in milliseconds, the longest first.
const TIME: [(&str, u64); 5] = [
    ("d", 24 * 60 * 60 * 1000),
    ("h", 60 * 60 * 1000),
    ("m", 60 * 1000),
    ("s", 1000),
    ("ms", 1),
];

/// The units of a size in bytes, the largest first of each family; the last one is used to show the
/// rest.
const BYTES: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1000),
    ("", 1),
];

/// Reads `5s`, `500ms`, `10m`, `12h`, `7d`.
pub fn duration(text: &str) -> Option<Duration> {
    with_unit(text, &TIME).map(Duration::from_millis)
}

/// Reads `32MiB`, `10GB`, `1024`: bytes, powers of two with an `i`, powers of ten without.
pub(crate) fn size(text: &str) -> Option<u64> {
    with_unit(text, &BYTES)
}

/// Reads `1000/s`.
pub(crate) fn rate(text: &str) -> Option<u32> {
    whole(text.strip_suffix("/s")?)?.try_into().ok()
}

/// Writes a duration with the longest unit that leaves it a whole number.
pub fn show_duration(duration: Duration) -> String {
    show(
        u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
        &TIME,
    )
}

/// Writes a size with the largest unit that leaves it a whole number.
pub fn show_size(bytes: u64) -> String {
    show(bytes, &BYTES)
}

/// Writes a rate per second.
pub fn show_rate(rate: u32) -> String {
    format!("{rate}/s")
}

fn with_unit(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let end = text
        .bytes()
        .position(|b| !b.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(end)?;
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    whole(number)?.checked_mul(*factor)
}

fn whole(digits: &str) -> Option<u64> {
    let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| digits.parse().ok())?
}

fn show(value: u64, units: &[(&str, u64)]) -> String {
    let fits = |(_, factor): &&(&str, u64)| value >= *factor && value.is_multiple_of(*factor);
    match units.iter().find(fits) {
        Some((unit, factor)) => format!("{}{unit}", value / factor),
        None => format!("{value}{}", units.last().map_or("", |(unit, _)| unit)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_people_write() {
        for (text, ms) in [
            ("500ms", 500),
            ("5s", 5000),
            ("10m", 600_000),
            ("2h", 7_200_000),
            ("7d", 604_800_000),
            ("0s", 0),
        ] {
            assert_eq!(duration(text).unwrap().as_millis(), ms, "{text}");
        }
        for (text, bytes) in [
            ("1024", 1024),
            ("32MiB", 32 << 20),
            ("10GB", 10_000_000_000),
            ("1KiB", 1024),
            ("1KB", 1000),
        ] {
            assert_eq!(size(text), Some(bytes), "{text}");
        }
        assert_eq!(rate("1000/s"), Some(1000));
    }

    #[test]
    fn what_is_refused() {
        for text in [
            "",
            "5",
            "s",
            "-5s",
            "+5s",
            "1.5s",
            "5 s",
            "5S",
            "5sec",
            "99999999999999999999s",
            "18446744073709551615d",
            "٣s",
        ] {
            assert_eq!(duration(text), None, "{text}");
        }
        for text in [
            "",
            "MiB",
            "32 MiB",
            "32mib",
            "32apples",
            "1e3",
            "20000000TiB",
            "-1",
            "0x10",
        ] {
            assert_eq!(size(text), None, "{text}");
        }
        for text in [
            "",
            "1000",
            "/s",
            "1000/m",
            "1000 /s",
            "4294967296/s",
            "-1/s",
        ] {
            assert_eq!(rate(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_can_be_read(value in any::<u32>(), factor in 0..6u32) {
            let bytes = u64::from(value) << (factor * 5);
            prop_assert_eq!(size(&show_size(bytes)), Some(bytes));
            let time = Duration::from_millis(bytes);
            prop_assert_eq!(duration(&show_duration(time)), Some(time));
            prop_assert_eq!(rate(&show_rate(value)), Some(value));
        }

        #[test]
        fn nothing_panics(text in any::<String>()) {
            let _ = (duration(&text), size(&text), rate(&text));
        }
    }
}
