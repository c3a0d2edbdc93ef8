//! Key-value buckets. Each call needs a grant for the bucket and the key in `[permissions] kv`.
//!
//! ```
//! use mistersmith_sdk::kv::Bucket;
//! # use mistersmith_sdk::mock::Bus;
//!
//! const COUNTS: Bucket = Bucket::new("COUNTS");
//!
//! # fn main() -> Result<(), mistersmith_sdk::CallError> { Bus::new().run(|| {
//! COUNTS.put("started", "text or bytes")?;
//! // Reads, changes and writes back, again and again until nobody else wrote in between:
//! let total: u64 = COUNTS.update_with("total", |old: Option<u64>| old.unwrap_or(0) + 1)?;
//! # assert_eq!(total, 1);
//! # Ok(()) }) }
//! ```
//!
//! A key consists of `[-/_=.a-zA-Z0-9]`, neither begins nor ends with a dot, and has at most 200
//! bytes. A value is bounded by `limits.payload` of the manifest (1 MiB).

mod entry;

use std::borrow::Cow;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{CallError, Result};
use crate::imports;

pub use entry::Entry;

/// How often [`Bucket::update_with`] tries before it gives up with [`CallError::Conflict`]. Each
/// lost try is a write that another writer won, so progress is certain.
pub const MAX_UPDATE_TRIES: u32 = 100;

/// A bucket. Making one asks nothing of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bucket {
    name: Cow<'static, str>,
}

impl Bucket {
    /// The bucket `name`, `[A-Za-z0-9_-]+`. Can be a constant.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self {
            name: Cow::Borrowed(name),
        }
    }

    /// A bucket whose name is known at run time only.
    #[must_use]
    pub fn named(name: impl Into<String>) -> Self {
        Self {
            name: Cow::Owned(name.into()),
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Reads the newest value; none when the key was never written, was deleted, or has expired.
    ///
    /// # Errors
    /// Needs `access` `read` or `read-write`: [`Denied`](CallError::Denied).
    /// [`Invalid`](CallError::Invalid), [`NotFound`](CallError::NotFound) (the bucket),
    /// [`TooLarge`](CallError::TooLarge), [`Timeout`](CallError::Timeout),
    /// [`Unavailable`](CallError::Unavailable).
    pub fn get(&self, key: &str) -> Result<Option<Entry>, CallError> {
        imports::kv_get(&self.name, key)
    }

    /// Reads the newest value as JSON, and its revision.
    ///
    /// # Errors
    /// As [`get`](Self::get), and [`Json`](CallError::Json) when it is not of the shape wanted.
    pub fn get_json<T: DeserializeOwned>(&self, key: &str) -> Result<Option<(T, u64)>, CallError> {
        match self.get(key)? {
            Some(entry) => Ok(Some((entry.json().map_err(at(key))?, entry.revision))),
            None => Ok(None),
        }
    }

    /// Writes a value whatever was there. Returns the new revision.
    ///
    /// # Errors
    /// Needs `access` `write` or `read-write`. As [`get`](Self::get), and
    /// [`RateLimited`](CallError::RateLimited), [`Full`](CallError::Full).
    pub fn put(&self, key: &str, value: impl AsRef<[u8]>) -> Result<u64, CallError> {
        imports::kv_put(&self.name, key, value.as_ref())
    }

    /// Writes JSON whatever was there. Returns the new revision.
    ///
    /// # Errors
    /// As [`put`](Self::put), and [`Json`](CallError::Json) when `value` does not become JSON.
    pub fn put_json<T: Serialize + ?Sized>(&self, key: &str, value: &T) -> Result<u64, CallError> {
        self.put(key, to_json(key, value)?)
    }

    /// Writes a value if the key does not exist. Returns the new revision.
    ///
    /// # Errors
    /// As [`put`](Self::put), and [`Conflict`](CallError::Conflict) when the key exists.
    pub fn create(&self, key: &str, value: impl AsRef<[u8]>) -> Result<u64, CallError> {
        imports::kv_create(&self.name, key, value.as_ref())
    }

    /// Writes JSON if the key does not exist. Returns the new revision.
    ///
    /// # Errors
    /// As [`create`](Self::create), and [`Json`](CallError::Json) when `value` does not become
    /// JSON.
    pub fn create_json<T: Serialize + ?Sized>(
        &self,
        key: &str,
        value: &T,
    ) -> Result<u64, CallError> {
        self.create(key, to_json(key, value)?)
    }

    /// Writes a value if the newest revision of the key is still `revision`. Returns the new
    /// revision.
    ///
    /// # Errors
    /// As [`put`](Self::put), and [`Conflict`](CallError::Conflict) when somebody else wrote first.
    pub fn update(
        &self,
        key: &str,
        value: impl AsRef<[u8]>,
        revision: u64,
    ) -> Result<u64, CallError> {
        imports::kv_update(&self.name, key, value.as_ref(), revision)
    }

    /// Writes JSON if the newest revision of the key is still `revision`. Returns the new revision.
    ///
    /// # Errors
    /// As [`update`](Self::update), and [`Json`](CallError::Json) when `value` does not become
    /// JSON.
    pub fn update_json<T: Serialize + ?Sized>(
        &self,
        key: &str,
        value: &T,
        revision: u64,
    ) -> Result<u64, CallError> {
        self.update(key, to_json(key, value)?, revision)
    }

    /// Changes JSON by compare-and-swap, and returns what was written: reads the value, gives it to
    /// `change` (none when the key does not exist), and writes the result if nobody else wrote in
    /// between; otherwise begins again, at most [`MAX_UPDATE_TRIES`] times. `change` runs once for
    /// each try.
    ///
    /// # Errors
    /// As [`get`](Self::get) and [`put`](Self::put); [`Conflict`](CallError::Conflict) after the
    /// last try; [`Json`](CallError::Json). After a [`Timeout`](CallError::Timeout) or
    /// [`Unavailable`](CallError::Unavailable) the change may or may not have been written.
    pub fn update_with<T: Serialize + DeserializeOwned>(
        &self,
        key: &str,
        mut change: impl FnMut(Option<T>) -> T,
    ) -> Result<T, CallError> {
        for _ in 0..MAX_UPDATE_TRIES {
            let old = self.get_json(key)?;
            let revision = old.as_ref().map(|(_, revision)| *revision);
            let new = change(old.map(|(value, _)| value));
            let written = match revision {
                Some(revision) => self.update_json(key, &new, revision),
                None => self.create_json(key, &new),
            };
            match written {
                Ok(_) => return Ok(new),
                Err(CallError::Conflict) => {}
                Err(error) => return Err(error),
            }
        }
        Err(CallError::Conflict)
    }

    /// Deletes a key, whatever was there. It is no error if the key does not exist.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub fn delete(&self, key: &str) -> Result<(), CallError> {
        imports::kv_delete(&self.name, key, None)
    }

    /// Deletes a key if the newest revision is still `revision`.
    ///
    /// # Errors
    /// As [`put`](Self::put), and [`Conflict`](CallError::Conflict).
    pub fn delete_if(&self, key: &str, revision: u64) -> Result<(), CallError> {
        imports::kv_delete(&self.name, key, Some(revision))
    }

    /// Lists the keys that match `pattern` (`*` one token, `>` the rest), at most 10,000, in no
    /// order.
    ///
    /// # Errors
    /// As [`get`](Self::get), where one grant must cover everything that the pattern can match;
    /// [`TooLarge`](CallError::TooLarge) when more keys match.
    pub fn keys(&self, pattern: &str) -> Result<Vec<String>, CallError> {
        imports::kv_keys(&self.name, pattern)
    }
}

fn to_json<T: Serialize + ?Sized>(key: &str, value: &T) -> Result<Vec<u8>, CallError> {
    serde_json::to_vec(value)
        .map_err(|error| CallError::Json(format!("the value does not become JSON: {error}")))
        .map_err(at(key))
}

/// Adds the key to an error about JSON.
fn at(key: &str) -> impl Fn(CallError) -> CallError {
    move |error| match error {
        CallError::Json(text) => CallError::Json(format!("`{key}`: {text}")),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use super::*;
    use crate::mock::{Bus, Call};

    const BUCKET: Bucket = Bucket::new("CACHE");

    #[test]
    fn values_have_revisions() {
        Bus::new().run(|| {
            assert_eq!(BUCKET.get("a"), Ok(None));
            assert_eq!(BUCKET.put("a", "1"), Ok(1));
            assert_eq!(BUCKET.put("b", [2]), Ok(2));
            let entry = Entry {
                value: b"1".into(),
                revision: 1,
            };
            assert_eq!(BUCKET.get("a"), Ok(Some(entry)));
            assert_eq!(BUCKET.update("a", "2", 1), Ok(3));
            assert_eq!(BUCKET.update("a", "3", 1), Err(CallError::Conflict));
            assert_eq!(BUCKET.create("a", "4"), Err(CallError::Conflict));
            assert_eq!(BUCKET.delete_if("a", 1), Err(CallError::Conflict));
            assert_eq!(BUCKET.delete_if("a", 3), Ok(()));
            assert_eq!(BUCKET.get("a"), Ok(None));
            assert_eq!(BUCKET.delete("a"), Ok(()));
            assert_eq!(BUCKET.create("a", "5"), Ok(6));
            assert_eq!(BUCKET.delete("never"), Ok(()));
            // A tombstone counts as a write, so what was read before it is outdated.
            assert_eq!(BUCKET.update("never", "x", 0), Err(CallError::Conflict));
            assert_eq!(Bucket::named("OTHER".to_owned()).get("a"), Ok(None));
        });
    }

    #[test]
    fn json_goes_in_and_out() {
        Bus::new().run(|| {
            assert_eq!(BUCKET.get_json::<u32>("a"), Ok(None));
            let revision = BUCKET.create_json("a", &1).unwrap();
            assert_eq!(BUCKET.get_json::<u32>("a"), Ok(Some((1, revision))));
            let revision = BUCKET.update_json("a", &2, revision).unwrap();
            assert_eq!(BUCKET.get_json::<u32>("a"), Ok(Some((2, revision))));
            BUCKET.put_json("a", "text").unwrap();
            let error = BUCKET.get_json::<u32>("a").unwrap_err();
            assert!(
                error
                    .message()
                    .starts_with("`a`: the value is not what was expected: "),
                "{error}"
            );
        });
    }

    #[test]
    fn keys_match_a_pattern() {
        Bus::new().run(|| {
            for key in ["a.b", "a.c", "a.b.c", "d"] {
                BUCKET.put(key, "").unwrap();
            }
            BUCKET.delete("a.c").unwrap();
            for (pattern, keys) in [
                (">", vec!["a.b", "a.b.c", "d"]),
                ("a.*", vec!["a.b"]),
                ("a.>", vec!["a.b", "a.b.c"]),
                ("x", vec![]),
            ] {
                assert_eq!(BUCKET.keys(pattern).unwrap(), keys, "{pattern}");
            }
        });
    }

    #[test]
    fn a_change_is_made_again_after_a_conflict() {
        let bus = Bus::new();
        bus.fail(Call::KvCreate, CallError::Conflict);
        bus.fail(Call::KvUpdate, CallError::Conflict);
        bus.fail(Call::KvUpdate, CallError::Conflict);
        let mut tries = 0;
        bus.run(|| {
            for expected in [1, 2] {
                let total = BUCKET.update_with("total", |old: Option<u32>| {
                    tries += 1;
                    old.unwrap_or_default() + 1
                });
                assert_eq!(total, Ok(expected));
            }
        });
        assert_eq!(tries, 2 + 3);
        assert_eq!(bus.value("CACHE", "total").unwrap(), b"2");
    }

    #[test]
    fn a_change_is_given_up_in_the_end_and_at_other_errors_at_once() {
        let bus = Bus::new();
        let add = |old: Option<u32>| old.unwrap_or_default() + 1;
        for _ in 0..MAX_UPDATE_TRIES {
            bus.fail(Call::KvCreate, CallError::Conflict);
        }
        let given_up = bus.run(|| BUCKET.update_with("total", add));
        assert_eq!(given_up, Err(CallError::Conflict));
        bus.fail(Call::KvCreate, CallError::Timeout);
        let timed_out = bus.run(|| BUCKET.update_with("total", add));
        assert_eq!(timed_out, Err(CallError::Timeout));
        assert_eq!(bus.value("CACHE", "total"), None);
    }
}
