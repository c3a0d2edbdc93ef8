//! A value of a bucket.

use serde::de::DeserializeOwned;

use crate::error::{CallError, Result};

/// The newest value of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The value.
    pub value: Vec<u8>,
    /// The number of this write in the bucket; give it to [`Bucket::update`](super::Bucket::update)
    /// or [`Bucket::delete_if`](super::Bucket::delete_if).
    pub revision: u64,
}

impl Entry {
    /// The value as JSON of the type wanted.
    ///
    /// # Errors
    /// [`CallError::Json`] when it is not JSON, or not of this shape.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, CallError> {
        serde_json::from_slice(&self.value).map_err(|error| {
            CallError::Json(format!("the value is not what was expected: {error}"))
        })
    }
}
