//! Follows the changes of a bucket.
//!
//! A watch reads the bucket in the order of its sequences and knows the next one, so that it
//! continues after any break. After a break it reads the next messages one by one through the API,
//! because one of them may have caused the break.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;

use super::bucket::{Kv, check_pattern};
use super::cursor::{Cursor, Item, Reading};
use crate::TransportError;

/// Messages of one pull: so many may be on their way when the connection breaks, and are then read
/// one by one.
const BATCH: usize = 32;
/// Most messages that are read one by one after the connection has broken again and again at the
/// same place.
const MAX_BATCH: usize = 4096;
/// The pause before a watch tries again.
const PAUSE: Duration = Duration::from_millis(500);
/// The same, at least.
const SETTLE: Duration = Duration::from_millis(10);

/// One change, or one value that stood there when the watch began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The key.
    pub key: String,
    /// The new value; none when it was deleted. Only newer servers report an expiry.
    pub value: Option<Bytes>,
    /// The number of the write in the bucket.
    pub revision: u64,
}

/// Changes of the keys that match a pattern. Survives reconnects; dropping it ends it.
#[derive(Debug)]
pub struct Watch {
    kv: Kv,
    pattern: String,
    cursor: Option<Cursor>,
    /// Read one by one, and not taken yet.
    ready: VecDeque<Item>,
    /// The sequence that comes next; none for the newest value of each key.
    next: Option<u64>,
    /// When the bucket was made; another one begins at the beginning.
    created: String,
    /// Messages that are read one by one after the next break.
    one_by_one: usize,
}

impl Kv {
    /// First the values that stand there, then each change. An empty bucket sends nothing at first.
    pub async fn watch(&self, pattern: &str) -> Result<Watch, TransportError> {
        check_pattern(pattern)?;
        let mut watch = Watch {
            kv: self.clone(),
            pattern: pattern.to_owned(),
            cursor: None,
            ready: VecDeque::new(),
            next: None,
            created: String::new(),
            one_by_one: 0,
        };
        watch.open().await?;
        Ok(watch)
    }
}

impl From<Item> for Change {
    fn from(item: Item) -> Self {
        Self {
            key: item.key,
            value: (!item.deleted).then_some(item.value),
            revision: item.revision,
        }
    }
}

impl Watch {
    /// The next change; none when the connection was closed for good. Goes on by itself after a
    /// break of the connection. Cancel safe.
    ///
    /// Errors: `NotFound` when the bucket is gone; with the next call the watch begins again.
    pub async fn next(&mut self) -> Option<Result<Change, TransportError>> {
        loop {
            if let Some(item) = self.ready.pop_front() {
                return Some(Ok(item.into()));
            }
            if self.kv.connection.is_closed() {
                return None;
            }
            let read = match &mut self.cursor {
                Some(cursor) => cursor.next().await,
                None => match self.resume().await {
                    Ok(()) => continue,
                    Err(error) => Err(error),
                },
            };
            match read {
                Ok(Some(item)) => {
                    self.next = Some(item.revision.saturating_add(1));
                    self.one_by_one = BATCH;
                    return Some(Ok(item.into()));
                }
                // A cursor that waits has no end.
                Ok(None) => self.cursor = None,
                Err(error) => {
                    self.cursor = None;
                    if let Some(error) = self.after(error).await {
                        return Some(Err(error));
                    }
                }
            }
        }
    }

    /// The error to return; none for a passing one, after a wait for the connection.
    async fn after(&mut self, error: TransportError) -> Option<TransportError> {
        if error.is_transient() {
            tracing::debug!(bucket = self.kv.bucket, %error, "a watch is interrupted, and goes on");
            // That it broke may be known here sooner than elsewhere.
            tokio::time::sleep(SETTLE).await;
            let back = self.kv.connection.connected();
            let _ = tokio::time::timeout(PAUSE, back).await;
            return None;
        }
        tokio::time::sleep(PAUSE).await;
        Some(error)
    }

    /// Goes on after a break: with care over the messages that were on their way, and then quickly
    /// again.
    async fn resume(&mut self) -> Result<(), TransportError> {
        if self.one_by_one > 0 {
            let most = self.one_by_one;
            self.check_bucket().await?;
            let from = self.next.unwrap_or(1);
            let read = self.kv.next_messages(&self.pattern, from, most).await?;
            let (items, next) = read;
            self.ready.extend(items);
            self.next = Some(next);
            // Found it not: the next time look further.
            self.one_by_one = (most * 2).min(MAX_BATCH);
        }
        self.open().await
    }

    async fn open(&mut self) -> Result<(), TransportError> {
        self.check_bucket().await?;
        let reading = Reading {
            pattern: &self.pattern,
            from: self.next,
            headers_only: false,
            batch: BATCH,
            waits: true,
        };
        self.cursor = Some(self.kv.read(&reading).await?);
        self.one_by_one = self.one_by_one.max(BATCH);
        Ok(())
    }

    /// Begins at the beginning when the bucket is another one, or was emptied.
    async fn check_bucket(&mut self) -> Result<(), TransportError> {
        let info = self.kv.info().await?;
        let behind = self.next.is_some_and(|next| next > info.state.last_seq + 1);
        if info.created != self.created || behind {
            self.next = None;
            self.created = info.created;
        }
        Ok(())
    }
}
