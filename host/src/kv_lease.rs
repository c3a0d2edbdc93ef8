//! A lease on one key of a bucket: taken, renewed and given up by compare-and-swap.
//!
//! The host's lease and the leaderships of elections are both such leases. [`state`] decides what
//! the owner may rely on; [`KvLease`] executes its decisions on a [`KeyPort`] and waits. The owner
//! supplies its values, bucket and [`Rules`].
//!
//! At whatever point the process dies, the key expires by itself. Every value is remembered before
//! it is sent; otherwise a write whose answer is lost would be taken for another owner's.

mod clock;
mod state;

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;

use mistersmith_core::backoff;
use mistersmith_nats::{Entry, TransportError};

use crate::kv_key::KeyPort;

pub(crate) use clock::Clock;
#[cfg(test)]
pub(crate) use clock::TestClock;
pub(crate) use state::{Conflict, HeldKey, Late, Rules};
use state::{Found, LeaseState, Next, Written};

/// Number of values remembered: more than are sent in the time in which a lost answer matters.
const REMEMBERED: usize = 64;

/// The outcome of one renewal.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Renewal {
    /// The key is ours, counted from before the write was sent.
    Renewed,
    /// The write may be stored or not, so it is repeated. [`KvLease::is_held`] is whether the lease
    /// is still relied on.
    Failed(TransportError),
    /// The key holds an earlier write of ours whose answer was lost; it is overwritten.
    Recognised,
    /// The key has no value. The owner decides why; `begun` is from before that read.
    Gone {
        /// The time just before the read.
        begun: Duration,
    },
    /// The key belongs to another owner.
    Lost,
}

/// A lease on the key behind `P`, timed by the clock `C`.
#[derive(Debug)]
pub(crate) struct KvLease<P, C> {
    port: P,
    clock: C,
    state: LeaseState,
    /// The newest values sent, answered or not.
    sent: VecDeque<Bytes>,
    /// The last write did not renew the lease, so that the next one follows after [`Rules::retry`].
    failed: bool,
}

impl<P: KeyPort, C: Clock> KvLease<P, C> {
    /// A lease that has not been taken yet.
    pub(crate) fn new(port: P, clock: C, rules: Rules) -> Self {
        Self {
            port,
            clock,
            state: LeaseState::new(rules),
            sent: VecDeque::new(),
            failed: false,
        }
    }

    /// The port to the key.
    pub(crate) fn port(&self) -> &P {
        &self.port
    }

    /// The time on this lease's clock.
    pub(crate) fn now(&self) -> Duration {
        self.clock.now()
    }

    /// The key, even after the time for which it was relied on.
    pub(crate) fn held(&self) -> Option<HeldKey> {
        self.state.held()
    }

    /// Whether the lease is relied on.
    pub(crate) fn is_held(&self) -> bool {
        self.state.is_held(self.now())
    }

    /// The rest of the time for which the lease is relied on.
    pub(crate) fn left(&self) -> Duration {
        self.state.left(self.now())
    }

    /// The wait before the next write.
    pub(crate) fn pause(&self) -> Duration {
        let rules = self.state.rules();
        if self.failed || !self.is_held() {
            backoff::pause(rules.retry, rules.retry, 0)
        } else {
            rules.renewal
        }
    }

    /// How long the answer to a write is awaited: no longer than the lease is relied on. A machine
    /// that slept beyond that still checks whether the key is its own.
    pub(crate) fn patience(&self) -> Duration {
        let rules = self.state.rules();
        match self.left() {
            Duration::ZERO => rules.safe.saturating_sub(rules.renewal),
            left => left,
        }
    }

    /// Whether this lease has sent the value, answered or not.
    pub(crate) fn has_sent(&self, value: &[u8]) -> bool {
        self.sent.iter().any(|sent| sent == value)
    }

    /// The current value of the key.
    pub(crate) async fn read(&self) -> Result<Option<Entry>, TransportError> {
        self.port.read().await
    }

    /// Takes the key: creates it, or writes over the revision that was read. Returns false if
    /// another write came first.
    ///
    /// # Errors
    /// The key may be taken or not; [`KvLease::has_sent`] recognises the write later.
    pub(crate) async fn take(
        &mut self,
        value: Bytes,
        over: Option<u64>,
    ) -> Result<bool, TransportError> {
        let sent = self.now();
        let written = self.write(value, over).await;
        self.state.took(sent, judge(&written));
        self.failed = written.is_err();
        match written {
            Ok(_) => Ok(true),
            Err(TransportError::Conflict) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Writes over our own last write. A stopped clock does not notice that the lease has expired,
    /// but the conditional write does.
    pub(crate) async fn renew(&mut self, value: Bytes) -> Renewal {
        let patience = self.patience();
        let renewed = tokio::time::timeout(patience, self.renew_once(value)).await;
        let renewed = renewed.unwrap_or(Renewal::Failed(TransportError::Timeout));
        self.failed = renewed != Renewal::Renewed;
        renewed
    }

    async fn renew_once(&mut self, value: Bytes) -> Renewal {
        let Some(held) = self.held() else {
            return Renewal::Lost;
        };
        let sent = self.now();
        let written = self.write(value, Some(held.revision)).await;
        let next = self.state.renewed(sent, self.now(), judge(&written));
        match next {
            Next::Renewed => Renewal::Renewed,
            Next::Examine => self.examine().await,
            // A successful answer came too late to count.
            Next::Retry => Renewal::Failed(written.err().unwrap_or(TransportError::Timeout)),
            // Only an examined lease can be gone.
            Next::Lost | Next::Gone => Renewal::Lost,
        }
    }

    /// Reads why our last write is not the newest.
    async fn examine(&mut self) -> Renewal {
        let begun = self.now();
        let found = match self.port.read().await {
            Ok(Some(entry)) if self.has_sent(&entry.value) => Found::Ours(entry.revision),
            Ok(Some(_)) => Found::Another,
            Ok(None) => Found::Nothing,
            Err(error) => return Renewal::Failed(error),
        };
        match self.state.examined(found) {
            Next::Gone => Renewal::Gone { begun },
            Next::Lost => Renewal::Lost,
            Next::Retry | Next::Renewed | Next::Examine => Renewal::Recognised,
        }
    }

    /// Writes the key into a bucket that was lost, for a lease that goes on; counted from `begun`.
    ///
    /// # Errors
    /// The key may be ours or not.
    pub(crate) async fn restore(
        &mut self,
        value: Bytes,
        begun: Duration,
    ) -> Result<(), TransportError> {
        let written = self.write(value, None).await;
        let next = self.state.restored(begun, judge(&written));
        self.failed = next != Next::Renewed;
        written.map(drop)
    }

    /// Stops relying on the key, which belongs to another owner.
    pub(crate) fn lose(&mut self) {
        self.state.lost();
        self.failed = true;
    }

    /// Deletes the key if our own write is its newest, so that others need not wait until it
    /// expires. Looks for a write whose answer is missing.
    ///
    /// # Errors
    /// The key may still exist; it expires.
    pub(crate) async fn give_up(&mut self) -> Result<(), TransportError> {
        let deleted = match self.held() {
            Some(held) => self.port.delete(held.revision).await,
            None if self.state.in_doubt() => Err(TransportError::Conflict),
            None => return Ok(()),
        };
        match deleted {
            Err(TransportError::Conflict) if self.state.in_doubt() => match self.read().await? {
                Some(entry) if self.has_sent(&entry.value) => {
                    self.port.delete(entry.revision).await?;
                }
                _ => {}
            },
            deleted => deleted?,
        }
        self.state.given_up();
        Ok(())
    }

    async fn write(&mut self, value: Bytes, over: Option<u64>) -> Result<u64, TransportError> {
        if self.sent.len() == REMEMBERED {
            self.sent.pop_front();
        }
        // Before sending: the answer may be lost, and this future dropped.
        self.sent.push_back(value.clone());
        self.state.sends();
        match over {
            Some(revision) => self.port.update(value, revision).await,
            None => self.port.create(value).await,
        }
    }
}

fn judge(written: &Result<u64, TransportError>) -> Written {
    match written {
        Ok(revision) => Written::Done(*revision),
        Err(TransportError::Conflict) => Written::Conflict,
        Err(_) => Written::Unknown,
    }
}

#[cfg(test)]
mod tests;
