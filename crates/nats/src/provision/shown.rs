//! Settings of streams as text for people.

use std::time::Duration;

use serde_json::Value;

/// A setting as text.
pub(super) fn shown(field: &str, value: &Value) -> String {
    match (field, value) {
        ("max_age" | "duplicate_window", Value::Number(number)) => match number.as_u64() {
            Some(0) | None => "for ever".to_owned(),
            Some(nanos) => duration(Duration::from_nanos(nanos)),
        },
        ("max_bytes", Value::Number(number)) => number
            .as_u64()
            .filter(|bytes| *bytes > 0)
            .map_or("no limit".to_owned(), bytes),
        ("max_msgs_per_subject", Value::Number(number))
            if number.as_i64().is_some_and(|n| n <= 0) =>
        {
            "no limit".to_owned()
        }
        (_, Value::Array(values)) => values
            .iter()
            .map(|value| shown("", value))
            .collect::<Vec<_>>()
            .join(" "),
        (_, Value::String(text)) => text.clone(),
        (_, Value::Null) => "none".to_owned(),
        (_, other) => other.to_string(),
    }
}

/// A number of bytes, in thousands as the server counts them.
pub(super) fn bytes(bytes: u64) -> String {
    let units = [(1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "kB")];
    let (size, unit) = units
        .into_iter()
        .find(|(size, _)| bytes >= *size)
        .unwrap_or((1, "B"));
    let (whole, tenth) = (bytes / size, bytes % size * 10 / size);
    if tenth == 0 {
        format!("{whole} {unit}")
    } else {
        format!("{whole}.{tenth} {unit}")
    }
}

fn duration(duration: Duration) -> String {
    let (seconds, millis) = (duration.as_secs(), duration.subsec_millis());
    let units = [(86_400, "d"), (3_600, "h"), (60, "m")];
    match units
        .into_iter()
        .find(|(size, _)| seconds >= *size && seconds % size == 0)
    {
        _ if millis > 0 => format!("{}ms", duration.as_millis()),
        Some((size, unit)) => format!("{}{unit}", seconds / size),
        None => format!("{seconds}s"),
    }
}
