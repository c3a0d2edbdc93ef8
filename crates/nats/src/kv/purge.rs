//! Removes keys without deletion marks.

use serde_json::json;

use super::bucket::{Kv, check_pattern};
use crate::TransportError;

impl Kv {
    /// Removes the keys that match a pattern; returns how many values were removed. Nothing is left
    /// behind: no deletion mark, and no change for a watch.
    pub async fn purge(&self, pattern: &str) -> Result<u64, TransportError> {
        check_pattern(pattern)?;
        let which = json!({ "filter": self.subject(pattern) });
        let purged = self.connection.purge(&self.stream(), &which).await;
        purged.map_err(|error| self.named(error.into()))
    }
}
