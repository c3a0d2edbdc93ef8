//! The longest duplicate window that a server allows, read from its refusal of a longer one. Pure.

/// In nanoseconds, from "…can not be larger then server limit of 1m30s"; none in any other text.
pub(super) fn allowed(text: &str) -> Option<u64> {
    let window = text.contains("duplicate") && text.contains("window");
    let (_, limit) = text.rsplit_once("limit of ").filter(|_| window)?;
    let limit = limit.split_whitespace().next()?;
    nanos(limit).filter(|nanos| *nanos > 0)
}

/// A span as Go prints it: `24h0m0s`, `1m30s`, `1.5s`, `100ms`.
fn nanos(text: &str) -> Option<u64> {
    let mut all = 0_f64;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, behind) = rest.split_at(digits);
        let letters = behind
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(behind.len());
        let (unit, next) = behind.split_at(letters);
        let scale = match unit {
            "h" => 3.6e12,
            "m" => 6e10,
            "s" => 1e9,
            "ms" => 1e6,
            "µs" | "us" => 1e3,
            "ns" => 1.0,
            _ => return None,
        };
        all += number.parse::<f64>().ok()? * scale;
        rest = next;
    }
    Some(all.round() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_read_from_the_refusal() {
        let refusal = |span: &str| {
            format!(
                "JetStream error: duplicates window can not be larger then server limit of {span} (10052)"
            )
        };
        for (span, seconds) in [
            ("30s", 30.0),
            ("24h0m0s", 86_400.0),
            ("1m30s", 90.0),
            ("1.5s", 1.5),
            ("100ms", 0.1),
            ("250µs", 0.000_25),
        ] {
            let nanos = (seconds * 1e9) as u64;
            assert_eq!(allowed(&refusal(span)), Some(nanos), "{span}");
        }
        for other in [
            refusal("0s"),
            refusal("soon"),
            refusal(""),
            "JetStream error: max bytes exceed the limit of 30s (10052)".to_owned(),
            "JetStream error: duplicates window can not be larger then max age (10052)".to_owned(),
        ] {
            assert_eq!(allowed(&other), None, "{other}");
        }
    }
}
