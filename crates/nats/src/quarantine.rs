//! The quarantine of messages that the client library cannot read: its interface, and the streams
//! that are known to hold such messages.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;

use super::DeliveryInfo;

/// How long a stream counts as suspect after such a message was found in it and stayed.
const SUSPECT: Duration = Duration::from_secs(10 * 60);

/// A stored message that cannot be delivered to this client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// The subject, with what is no text in it replaced.
    pub subject: String,
    /// Where it is. `deliveries` and `pending` are not known, and 0.
    pub info: DeliveryInfo,
    /// Its payload.
    pub payload: Bytes,
    /// The problem, for a person.
    pub problem: &'static str,
}

/// Takes such messages out of the way, and keeps their content.
pub trait Quarantine: Debug + Send + Sync {
    /// Keeps the message elsewhere and removes it with
    /// [`Connection::remove`](crate::Connection::remove); returns whether it is gone.
    fn bury<'a>(&'a self, found: &'a Unreadable)
    -> Pin<Box<dyn Future<Output = bool> + Send + 'a>>;
}

/// Streams with such messages that stay: no quarantine is set, or they cannot be removed.
#[derive(Debug, Default)]
pub(super) struct Suspects(Mutex<BTreeMap<String, Instant>>);

impl Suspects {
    pub(super) fn add(&self, stream: &str) {
        let mut streams = self.0.lock();
        streams.retain(|_, since| since.elapsed() < SUSPECT);
        streams.insert(stream.to_owned(), Instant::now());
    }

    pub(super) fn contains(&self, stream: &str) -> bool {
        let streams = self.0.lock();
        let since = streams.get(stream);
        since.is_some_and(|since| since.elapsed() < SUSPECT)
    }
}
