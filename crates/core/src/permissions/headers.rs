//! The headers that a plugin may set.
//!
//! `Content-Type` and free `X-…` names: everything else either makes a NATS server act (`Nats-*`,
//! `KV-*`) or says who sent a message and why, which the host says itself ([`is_of_hosts`]).

use super::Refusal;
use crate::limits::{MAX_HEADER_BYTES, MAX_HEADER_COUNT};
use crate::names::headers::{is_of_hosts, same};
use crate::names::quoted;

/// May a plugin set this header? Names are compared without case, and `_` counts as `-`, since
/// some readers fold them.
pub fn guest_header(name: &str, value: &str) -> Result<(), Refusal> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if name.is_empty() || !name.bytes().all(allowed) {
        return invalid(format!(
            "{} is not a header name: only A-Z, a-z, 0-9, \"-\", \"_\" and \".\" are allowed",
            quoted(name)
        ));
    }
    if value.chars().any(char::is_control) {
        return invalid(format!(
            "the value of header {} has control characters",
            quoted(name)
        ));
    }
    if name.len() + value.len() > MAX_HEADER_BYTES {
        return Err(too_large());
    }
    if same(name, "content-type") {
        return Ok(());
    }
    if is_of_hosts(name) {
        return invalid(format!("header {} is set by the host alone", quoted(name)));
    }
    if name.get(..2).is_some_and(|start| same(start, "x-")) && name.len() > 2 {
        return Ok(());
    }
    invalid(format!(
        "header {} cannot be set by an agent: only Content-Type and names that begin with \"X-\" \
         can",
        quoted(name)
    ))
}

/// May a plugin set these headers, all together?
pub fn guest_headers<'a>(
    headers: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Result<(), Refusal> {
    let (mut count, mut bytes) = (0, 0);
    for (name, value) in headers {
        guest_header(name, value)?;
        count += 1;
        bytes += name.len() + value.len();
        if count > MAX_HEADER_COUNT {
            return Err(Refusal::TooLarge(format!(
                "there are more than {MAX_HEADER_COUNT} headers"
            )));
        }
        if bytes > MAX_HEADER_BYTES {
            return Err(too_large());
        }
    }
    Ok(())
}

fn too_large() -> Refusal {
    Refusal::TooLarge(format!(
        "the headers have more than {MAX_HEADER_BYTES} bytes"
    ))
}

fn invalid(reason: String) -> Result<(), Refusal> {
    Err(Refusal::Invalid(reason))
}

#[cfg(test)]
mod tests;
