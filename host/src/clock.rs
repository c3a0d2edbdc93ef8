//! The clock of the machine.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// The current time in the format of every payload: RFC 3339, UTC.
pub fn now() -> String {
    // Formatting fails only for years beyond 9999.
    OffsetDateTime::now_utc()
        .format(&Rfc3339)
        .unwrap_or_default()
}

/// The milliseconds since 1970; 0 if the clock is set to a time before.
pub fn unix_millis() -> u64 {
    let millis = OffsetDateTime::now_utc().unix_timestamp_nanos() / 1_000_000;
    u64::try_from(millis).unwrap_or_default()
}
