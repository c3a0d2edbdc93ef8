//! Lists the keys of a bucket, within a bound.
//!
//! The fast path is a consumer that delivers the newest message of each key without its value. A
//! stored message that the library cannot parse ends the connection on that path. The slow path
//! reads no stored headers through the library: it takes the subjects from the stream's info and
//! the newest message of each from the API. There such a message is found and removed, so that the
//! next listing is fast again.

use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};

use super::bucket::{Kv, check_pattern};
use super::cursor::{Cursor, Reading};
use crate::{TransportError, retry};

/// Keys that are fetched at once.
const BATCH: usize = 500;
/// Marks of deletions are walked too, and do not count; but not without end.
const MAX_WALK: usize = 20;
/// Messages that are asked for at a time.
const AT_ONCE: usize = 32;
/// How long the slow way is tried while the connection that broke comes back.
const BACK: Duration = Duration::from_secs(5);

impl Kv {
    /// The keys that match `pattern` (`*` one token, `>` the rest), in no order.
    ///
    /// Errors: `TooLarge` when there are more than `max`; as [`Kv::get`].
    pub async fn keys(&self, pattern: &str, max: usize) -> Result<Vec<String>, TransportError> {
        check_pattern(pattern)?;
        if self.connection.inner.suspects.contains(&self.stream()) {
            return self.keys_one_by_one(pattern, max).await;
        }
        let reading = Reading {
            pattern,
            from: None,
            headers_only: true,
            batch: BATCH,
            waits: false,
        };
        let mut cursor = self.read(&reading).await?;
        match self.keys_at_once(&mut cursor, max).await {
            // The last message may have broken the connection.
            Err(TransportError::Unavailable(_)) => {
                retry(BACK, || self.keys_one_by_one(pattern, max)).await
            }
            listed => {
                cursor.close().await;
                listed
            }
        }
    }

    /// The quick way.
    async fn keys_at_once(
        &self,
        cursor: &mut Cursor,
        max: usize,
    ) -> Result<Vec<String>, TransportError> {
        let (mut keys, mut walked) = (Vec::new(), 0_usize);
        while let Some(item) = cursor.next().await? {
            walked += 1;
            if !item.deleted {
                keys.push(item.key);
            }
            if keys.len() > max || walked > most_walked(max) {
                return Err(self.too_many(max));
            }
        }
        Ok(keys)
    }

    /// The slow way.
    async fn keys_one_by_one(
        &self,
        pattern: &str,
        max: usize,
    ) -> Result<Vec<String>, TransportError> {
        let (stream, prefix) = (self.stream(), self.subject(""));
        let view = self.connection.stream(&stream)?;
        let most = most_walked(max).saturating_add(1);
        let subjects = view.subjects(&self.subject(pattern), most).await;
        let subjects = subjects.map_err(|error| self.named(error))?;
        if subjects.len() >= most {
            return Err(self.too_many(max));
        }
        let lives = async |subject: String| {
            let newest = self.connection.raw_newest(&stream, &subject).await?;
            let Some(message) = newest else {
                return Ok(None);
            };
            let lives = self
                .readable(message)
                .await
                .is_some_and(|m| !m.is_deletion());
            Ok::<_, TransportError>(lives.then_some(subject))
        };
        let mut living = std::pin::pin!(
            stream::iter(subjects.into_keys())
                .map(lives)
                .buffer_unordered(AT_ONCE)
        );
        let mut keys = Vec::new();
        while let Some(subject) = living.try_next().await? {
            keys.extend(
                subject
                    .as_deref()
                    .and_then(|subject| subject.strip_prefix(&prefix))
                    .map(str::to_owned),
            );
            if keys.len() > max {
                return Err(self.too_many(max));
            }
        }
        Ok(keys)
    }

    fn too_many(&self, max: usize) -> TransportError {
        TransportError::TooLarge(format!(
            "more than {max} keys of bucket {:?} match; ask for a narrower pattern",
            self.bucket
        ))
    }
}

/// Messages that are walked to list so many keys.
fn most_walked(max: usize) -> usize {
    max.saturating_mul(MAX_WALK).saturating_add(BATCH)
}
