//! Waits until JetStream answers, is off, or can hold copies.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::Outside;
use crate::wait::until;

impl Outside {
    /// Waits until JetStream has a leader. Without one no request is answered.
    pub async fn jetstream_answers(&self) {
        until("JetStream answers", async || {
            let asked = self.client.request("$JS.API.STREAM.NAMES", "".into());
            let answer = tokio::time::timeout(Duration::from_secs(1), asked).await;
            let answer: Value = serde_json::from_slice(&answer.ok()?.ok()?.payload).ok()?;
            answer.get("error").is_none().then_some(())
        })
        .await;
    }

    /// Waits until JetStream answers no more: there is nobody, or there is silence.
    pub(crate) async fn jetstream_is_off(&self) {
        until("JetStream is off", async || {
            let asked = self.client.request("$JS.API.INFO", "".into());
            let answer = tokio::time::timeout(Duration::from_secs(1), asked).await;
            let Ok(Ok(answer)) = answer else {
                return Some(());
            };
            let answer: Value = serde_json::from_slice(&answer.payload).ok()?;
            answer.get("error").map(drop)
        })
        .await;
    }

    /// Waits until a stream with `copies` replicas can be created; false if it never can. A new
    /// server counts only after it has reported its capacity to the others, which some versions do
    /// every ten seconds.
    pub(crate) async fn holds_copies(&self, copies: usize) -> bool {
        const FORMING: Duration = Duration::from_secs(30);
        const NAME: &str = "CLUSTER_IS_UP";
        let stream = serde_json::json!({
            "name": NAME,
            "subjects": ["cluster.is.up"],
            "storage": "memory",
            "num_replicas": copies,
        });
        let begun = Instant::now();
        while begun.elapsed() < FORMING {
            let call = format!("$JS.API.STREAM.CREATE.{NAME}");
            if self.is_done(call, stream.to_string()).await {
                let call = format!("$JS.API.STREAM.DELETE.{NAME}");
                return self.is_done(call, String::new()).await;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        false
    }

    /// Whether a call of the JetStream API succeeds within a few seconds.
    async fn is_done(&self, call: String, body: String) -> bool {
        let asked = self.client.request(call, body.into());
        let Ok(Ok(answer)) = tokio::time::timeout(Duration::from_secs(5), asked).await else {
            return false;
        };
        let answer: Result<Value, _> = serde_json::from_slice(&answer.payload);
        answer.is_ok_and(|answer| answer.get("error").is_none())
    }
}
