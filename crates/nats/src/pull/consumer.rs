//! The consumer that is pulled from: whether it exists, and the most that a pull may ask for.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde::Deserialize;
use serde_json::json;

use super::bounds::MAX_PULL;
use crate::{Connection, TransportError};

#[derive(Debug)]
pub(super) struct Consumer {
    pub(super) stream: String,
    pub(super) name: String,
    /// The server has confirmed that it exists: a pull from one that does not is answered by
    /// silence.
    pub(super) known: AtomicBool,
    /// The most messages that the consumer allows a pull to ask for.
    max_batch: AtomicUsize,
    /// A message is larger than what a pull of several takes: the next pull asks for it alone.
    pub(super) oversized: AtomicBool,
}

/// The part of `CONSUMER.INFO` that decides about pulls.
#[derive(Deserialize)]
struct Info {
    config: Limits,
    #[serde(default)]
    num_ack_pending: i64,
}

#[derive(Deserialize)]
struct Limits {
    /// Absent or 0: as many as one likes.
    #[serde(default)]
    max_batch: usize,
    /// Absent, 0 or -1: no limit.
    #[serde(default)]
    max_ack_pending: i64,
}

impl Consumer {
    /// A consumer of which nothing is known yet.
    pub(super) fn new(stream: &str, name: &str) -> Self {
        Self {
            stream: stream.to_owned(),
            name: name.to_owned(),
            known: AtomicBool::new(false),
            max_batch: AtomicUsize::new(MAX_PULL),
            oversized: AtomicBool::new(false),
        }
    }

    /// Asks the server whether it exists, and for its limits; `NotFound` when it does not.
    pub(super) async fn check(&self, connection: &Connection) -> Result<(), TransportError> {
        let Self { stream, name, .. } = self;
        let call = format!("CONSUMER.INFO.{stream}.{name}");
        let found = connection.call::<Info>(&call, &json!(null)).await;
        self.known.store(found.is_ok(), Ordering::Relaxed);
        match found.map_err(TransportError::from) {
            Ok(info) => {
                let most = info.config.max_batch;
                let most = if most == 0 { MAX_PULL } else { most };
                self.max_batch.store(most, Ordering::Relaxed);
                Ok(())
            }
            Err(TransportError::NotFound(_)) => Err(TransportError::NotFound(format!(
                "stream {stream:?} has no consumer {name:?}"
            ))),
            Err(error) => Err(error),
        }
    }

    /// Whether so many of its messages are unacknowledged that it delivers no more.
    pub(super) async fn is_full(&self, connection: &Connection) -> bool {
        let Self { stream, name, .. } = self;
        let call = format!("CONSUMER.INFO.{stream}.{name}");
        let found = connection.call::<Info>(&call, &json!(null)).await;
        found.is_ok_and(|info| {
            let most = info.config.max_ack_pending;
            most > 0 && info.num_ack_pending >= most
        })
    }

    /// How many messages a pull may ask for.
    pub(super) fn most(&self) -> usize {
        if self.oversized.swap(false, Ordering::Relaxed) {
            return 1;
        }
        self.max_batch.load(Ordering::Relaxed).clamp(1, MAX_PULL)
    }
}
