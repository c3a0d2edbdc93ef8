//! Listing the keys of a bucket, within a bound.

use std::time::Duration;

use serde::Deserialize;
use serde_json::json;

use super::{Kv, OPERATION, check_pattern, is_deletion};
use crate::transport::{Puller, TransportError};

/// Keys that are fetched at once.
const BATCH: usize = 500;
/// How long one batch may take.
const BATCH_WAIT: Duration = Duration::from_secs(5);
/// Marks of deletions are walked too, and do not count; but not without end.
const MAX_WALK: usize = 20;

impl Kv {
    /// The keys that match `pattern` (`*` one token, `>` the rest), in no order.
    ///
    /// Errors: `TooLarge` when there are more than `max`; as [`Kv::get`].
    pub async fn keys(&self, pattern: &str, max: usize) -> Result<Vec<String>, TransportError> {
        check_pattern(pattern)?;
        let consumer = self.list_consumer(pattern).await?;
        let listed = self.walk(&consumer, max).await;
        let call = format!("CONSUMER.DELETE.{}.{}", self.stream(), consumer.name);
        // It would go by itself after its inactivity threshold.
        let _ = self
            .link
            .call::<serde_json::Value>(&call, &json!(null))
            .await;
        listed
    }

    async fn list_consumer(&self, pattern: &str) -> Result<Consumer, TransportError> {
        let call = format!("CONSUMER.CREATE.{}", self.stream());
        let body = json!({
            "stream_name": self.stream(),
            "config": {
                "deliver_policy": "last_per_subject",
                "ack_policy": "none",
                "filter_subject": format!("$KV.{}.{pattern}", self.bucket),
                "headers_only": true,
                "mem_storage": true,
                "num_replicas": 1,
                "inactive_threshold": 30_000_000_000_u64,
            },
        });
        let created = self.link.call(&call, &body).await;
        created.map_err(|error| self.named(error.into()))
    }

    async fn walk(&self, consumer: &Consumer, max: usize) -> Result<Vec<String>, TransportError> {
        let prefix = format!("$KV.{}.", self.bucket);
        let puller: Puller = self.link.puller(&self.stream(), &consumer.name);
        let (mut keys, mut walked) = (Vec::new(), 0_usize);
        let mut left = consumer.num_pending;
        while left > 0 {
            let mut pull = puller.pull(BATCH, BATCH_WAIT).await?;
            let mut came = 0_u64;
            while let Some(delivered) = pull.next().await {
                let delivered = delivered?;
                (came, walked) = (came.saturating_add(1), walked.saturating_add(1));
                let headers = &delivered.message.headers;
                if !is_deletion(headers.get(OPERATION), headers.get("Nats-Marker-Reason"))
                    && let Some(key) = delivered.message.subject.strip_prefix(&prefix)
                {
                    keys.push(key.to_owned());
                }
                if keys.len() > max || walked > max.saturating_mul(MAX_WALK).saturating_add(BATCH) {
                    return Err(TransportError::TooLarge(format!(
                        "more than {max} keys of bucket {:?} match; ask for a narrower pattern",
                        self.bucket
                    )));
                }
                left = delivered.meta.pending;
                if left == 0 {
                    break;
                }
            }
            if came == 0 {
                // What was pending expired meanwhile.
                break;
            }
        }
        Ok(keys)
    }
}

#[derive(Deserialize)]
struct Consumer {
    name: String,
    #[serde(default)]
    num_pending: u64,
}
