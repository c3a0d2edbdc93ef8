//! `STREAM.PURGE`: removes the messages of some subjects.

use serde::Deserialize;
use serde_json::Value;

use crate::Connection;
use crate::api::CallError;

impl Connection {
    /// Removes the messages of a stream that `which` says; returns how many.
    pub(crate) async fn purge(&self, stream: &str, which: &Value) -> Result<u64, CallError> {
        #[derive(Deserialize)]
        struct Purged {
            purged: u64,
        }
        let call = format!("STREAM.PURGE.{stream}");
        let purged: Purged = self.call(&call, which).await?;
        Ok(purged.purged)
    }
}
