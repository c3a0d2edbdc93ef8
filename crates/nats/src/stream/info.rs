//! `STREAM.INFO`: the settings and the state of one stream. The only shape of this answer.
//!
//! Settings stay JSON, also those that this version does not know: a configuration is read, changed
//! and written back, and the settings of a newer server must survive that.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::Connection;
use crate::api::CallError;

/// The answer to `STREAM.INFO`, and to a creation or an update.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub(crate) struct StreamInfo {
    /// When the stream was made, as the server writes it: another one of the same name has another
    /// time.
    #[serde(default)]
    pub(crate) created: String,
    /// The time of the server when it answered; servers before 2.10 leave it out.
    #[serde(default)]
    pub(crate) ts: Option<String>,
    /// Its whole configuration.
    #[serde(default)]
    pub(crate) config: Map<String, Value>,
    #[serde(default)]
    pub(crate) state: StreamState,
    /// How many subjects match, on all pages; 0 where none was asked for.
    #[serde(default)]
    pub(crate) total: usize,
}

/// The content of a stream, in numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct StreamState {
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
    pub(crate) first_seq: u64,
    pub(crate) first_ts: String,
    pub(crate) last_seq: u64,
    pub(crate) last_ts: String,
    pub(crate) num_deleted: u64,
    /// One page of the subjects that match, with the number of their messages.
    pub(crate) subjects: Option<BTreeMap<String, u64>>,
}

impl StreamInfo {
    /// A limit of the configuration; none where there is no limit, which the API writes as zero or
    /// less.
    pub(crate) fn limit(&self, setting: &str) -> Option<u64> {
        let limit = self.config.get(setting).and_then(Value::as_u64);
        limit.filter(|limit| *limit > 0)
    }
}

impl Connection {
    /// Asks for the settings and the state of a stream.
    pub(crate) async fn stream_info(&self, stream: &str) -> Result<StreamInfo, CallError> {
        let call = format!("STREAM.INFO.{stream}");
        self.call(&call, &Value::Null).await
    }

    /// The same with one page of the subjects that match `filter`, from the number `offset` on.
    pub(crate) async fn stream_subjects(
        &self,
        stream: &str,
        filter: &str,
        offset: usize,
    ) -> Result<StreamInfo, CallError> {
        let call = format!("STREAM.INFO.{stream}");
        let body = json!({ "subjects_filter": filter, "offset": offset });
        self.call(&call, &body).await
    }
}
