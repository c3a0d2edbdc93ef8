//! `STREAM.NAMES`: the streams of the account.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::CallError;
use crate::{Connection, TransportError};

#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    streams: Option<Vec<String>>,
}

impl Connection {
    /// The names of all streams of the account, at most `most`.
    pub async fn stream_names(&self, most: usize) -> Result<BTreeSet<String>, TransportError> {
        let mut names = BTreeSet::new();
        let mut offset = 0_usize;
        while offset < most {
            let page = self.names(&json!({ "offset": offset })).await?;
            if page.is_empty() {
                break;
            }
            offset = offset.saturating_add(page.len());
            names.extend(page);
        }
        Ok(names)
    }

    /// The streams that capture a subject, or a part of a pattern.
    pub(crate) async fn capturing(&self, subject: &str) -> Result<Vec<String>, CallError> {
        self.names(&json!({ "subject": subject })).await
    }

    async fn names(&self, which: &Value) -> Result<Vec<String>, CallError> {
        let page: Page = self.call("STREAM.NAMES", which).await?;
        Ok(page.streams.unwrap_or_default())
    }
}
