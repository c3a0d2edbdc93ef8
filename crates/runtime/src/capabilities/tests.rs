//! Every host function with what a hostile guest would give it, and with what an honest one does.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod authority;
mod coordination;
mod hostile;
mod refused;
mod served;
mod stored;

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::fixture::{Built, Fixture};
use super::{Guest, Scope};
use crate::bindings::mistersmith::agent::types::Error;

/// An instance of the agent in the middle of a call that may take this long.
fn guest(built: &Built, call: Duration) -> Guest {
    let mut guest = Guest::new(Arc::clone(&built.context));
    guest.enter(Scope::outside(Instant::now() + call));
    guest
}

fn calling(built: &Built) -> Guest {
    guest(built, Duration::from_secs(5))
}

/// The case of an error, without its text.
fn case(error: &Error) -> &'static str {
    match error {
        Error::Denied(_) => "denied",
        Error::Invalid(_) => "invalid",
        Error::NoResponders => "no-responders",
        Error::Timeout => "timeout",
        Error::TooLarge(_) => "too-large",
        Error::RateLimited => "rate-limited",
        Error::Exhausted(_) => "exhausted",
        Error::Conflict => "conflict",
        Error::NotFound(_) => "not-found",
        Error::Full(_) => "full",
        Error::Unavailable(_) => "unavailable",
        Error::Other(_) => "other",
    }
}

/// How a call ended: `ok`, or the case of its error.
fn outcome<T>(result: &Result<T, Error>) -> &'static str {
    result.as_ref().map_or_else(case, |_| "ok")
}
