//! Lists the consumers of a stream, page by page.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::api::CallError;
use super::{Connection, TransportError};

impl Connection {
    /// The consumers of a stream, at most `most` of them.
    ///
    /// A cluster leaves out those whose leader does not answer, and names them: such a list is an
    /// error, `Unavailable`, because a consumer that is left out would be taken for one that does
    /// not exist.
    pub(crate) async fn consumers<T: DeserializeOwned>(
        &self,
        stream: &str,
        most: usize,
    ) -> Result<Vec<T>, CallError> {
        #[derive(Deserialize)]
        struct Page<T> {
            #[serde(default)]
            total: usize,
            consumers: Option<Vec<T>>,
            missing: Option<Vec<String>>,
        }
        let call = format!("CONSUMER.LIST.{stream}");
        let mut found: Vec<T> = Vec::new();
        while found.len() < most {
            let page: Page<T> = self.call(&call, &json!({ "offset": found.len() })).await?;
            let missing = page.missing.unwrap_or_default();
            if !missing.is_empty() {
                return Err(CallError::Failed(TransportError::Unavailable(format!(
                    "the list of the consumers of {stream:?} is incomplete: {} did not answer",
                    missing.join(", ")
                ))));
            }
            let more = page.consumers.unwrap_or_default();
            let empty = more.is_empty();
            found.extend(more);
            if empty || found.len() >= page.total {
                break;
            }
        }
        found.truncate(most);
        Ok(found)
    }
}
