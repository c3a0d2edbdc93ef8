//! Removing keys without a trace.

use serde::Deserialize;
use serde_json::json;

use super::{Kv, check_pattern};
use crate::transport::TransportError;

impl Kv {
    /// Removes the keys that match a pattern; returns how many values were removed. Nothing is left
    /// behind that says so: neither a mark for each, nor a word to those who watch.
    pub async fn purge(&self, pattern: &str) -> Result<u64, TransportError> {
        #[derive(Deserialize)]
        struct Purged {
            purged: u64,
        }
        check_pattern(pattern)?;
        let call = format!("STREAM.PURGE.{}", self.stream());
        let body = json!({ "filter": format!("$KV.{}.{pattern}", self.bucket) });
        match self.link.call::<Purged>(&call, &body).await {
            Ok(purged) => Ok(purged.purged),
            Err(error) => Err(self.named(error.into())),
        }
    }
}
