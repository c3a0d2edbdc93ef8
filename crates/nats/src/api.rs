//! Requests to the JetStream API, as JSON, and the errors of its answers.
//!
//! Configurations stay plain JSON and do not become the library's types: settings of a newer server
//! must survive being read, changed and written back.

use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Connection, Headers, TransportError};

/// How long an API request may take. A cluster that elects a leader takes some seconds.
pub(crate) const API_WAIT: Duration = Duration::from_secs(5);

/// An error that the JetStream API answered.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct ApiError {
    /// In the manner of HTTP.
    #[serde(default)]
    pub(crate) code: u16,
    /// Which error it is, from 10000.
    #[serde(default)]
    pub(crate) err_code: u32,
    /// For people.
    #[serde(default)]
    pub(crate) description: String,
}

/// Codes of the API that decide what happens next.
pub(crate) mod code {
    pub(crate) const STREAM_NOT_FOUND: u32 = 10059;
    pub(crate) const CONSUMER_NOT_FOUND: u32 = 10014;
    pub(crate) const NO_MESSAGE: u32 = 10037;
    /// Another configuration stands under this name; a stream of the same subjects, which can be
    /// the one of this name that somebody else makes at the same moment.
    pub(crate) const STREAM_IS_THERE: [u32; 2] = [10058, 10065];
    /// Nodes are missing for so many replicas.
    pub(crate) const NO_PEERS: u32 = 10005;
    pub(crate) const CONSUMER_OVERLAPS: [u32; 2] = [10099, 10100];
    /// Replicas on a server that is in no cluster.
    pub(crate) const REPLICAS_NEED_CLUSTER: u32 = 10074;
    /// More deliveries of a consumer are to wait for an ack than the server or the account allows.
    pub(crate) const MAX_ACK_PENDING: u32 = 10121;
    /// Settings of a stream that cannot be; the text says which.
    pub(crate) const STREAM_CONFIG: u32 = 10052;
    pub(super) const WRONG_SEQUENCE: u32 = 10071;
    /// A message with this id, or a write that this one depends on, is on its way to the replicas:
    /// not even the server knows yet whether it will be stored. Perhaps it is an earlier try of
    /// ours.
    pub(super) const UNDECIDED: [u32; 2] = [10158, 10164];
    pub(super) const TOO_LARGE: [u32; 2] = [10054, 10097];
    /// Storage of the server, memory, or account used up.
    pub(crate) const STORAGE: [u32; 4] = [10047, 10028, 10002, 10023];
    pub(super) const STORE_FAILED: u32 = 10077;
    pub(super) const NOT_ENABLED: [u32; 2] = [10039, 10076];
    /// All servers of a stream or a consumer are away; a server that is no longer the leader.
    pub(super) const AWAY: [u32; 3] = [10118, 10119, 10009];
    /// A stream or a consumer that a newer server has made, with what this one does not know.
    pub(super) const UNSUPPORTED: [u32; 2] = [10194, 10195];
}

impl From<ApiError> for TransportError {
    fn from(error: ApiError) -> Self {
        let ApiError {
            code: http,
            err_code,
            description,
        } = error;
        let said = format!("JetStream error: {description} ({err_code})");
        match err_code {
            code::WRONG_SEQUENCE => Self::Conflict,
            code if code::UNDECIDED.contains(&code) => Self::Unavailable(said),
            code if code::TOO_LARGE.contains(&code) => Self::TooLarge(said),
            code if code::STORAGE.contains(&code) => Self::Full(said),
            // "maximum messages exceeded", "maximum bytes exceeded", "maximum messages per subject
            // exceeded"
            code::STORE_FAILED if description.contains("exceeded") => Self::Full(said),
            // The words of the operating system of the server.
            code::STORE_FAILED if description.contains("no space left") => {
                Self::Full(format!("{said}; fix: make room on the disk of the server"))
            }
            code if code::NOT_ENABLED.contains(&code) => Self::Unavailable(format!(
                "{said}; fix: start the NATS server with JetStream (-js)"
            )),
            code if code::AWAY.contains(&code) => Self::Unavailable(said),
            code if code::UNSUPPORTED.contains(&code) => Self::Other(format!(
                "{said}; fix: run the version of nats-server that made it, or a newer one"
            )),
            _ if http == 404 => Self::NotFound(said),
            // 429: more is published into the stream than it can store at the moment.
            _ if http == 503 || http == 429 => Self::Unavailable(said),
            _ => Self::Other(said),
        }
    }
}

/// Why an API request brought nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CallError {
    /// The API answered with an error.
    Refused(ApiError),
    /// It did not answer.
    Failed(TransportError),
}

impl CallError {
    /// Whether it is this error of the API.
    pub(crate) fn is(&self, code: u32) -> bool {
        matches!(self, Self::Refused(error) if error.err_code == code)
    }
}

impl From<TransportError> for CallError {
    fn from(error: TransportError) -> Self {
        Self::Failed(error)
    }
}

impl From<CallError> for TransportError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Refused(error) => error.into(),
            CallError::Failed(error) => error,
        }
    }
}

impl Connection {
    /// Calls `$JS.API.<call>` with a JSON body and reads the JSON answer.
    pub(crate) async fn call<T: DeserializeOwned>(
        &self,
        call: &str,
        body: &Value,
    ) -> Result<T, CallError> {
        let payload = if body.is_null() {
            Bytes::new()
        } else {
            Bytes::from(body.to_string())
        };
        let subject = self.api(call);
        let answer = self
            .ask(&subject, Headers::new(), payload, API_WAIT)
            .await
            .map_err(|error| no_jetstream(error, self.domain()))?;
        read_answer(&answer.payload)
    }

    /// Whether JetStream answers on this connection: here, or on another server of the cluster.
    pub async fn has_jetstream(&self) -> bool {
        self.call::<Value>("INFO", &Value::Null).await.is_ok()
    }

    /// The subject of a call of the API, in the domain of this connection.
    pub(super) fn api(&self, call: &str) -> String {
        match self.domain() {
            None => format!("$JS.API.{call}"),
            Some(domain) => format!("$JS.{domain}.API.{call}"),
        }
    }

    /// The subject under which a key is written. Leaf nodes let nothing of `$KV.>` pass between two
    /// domains, so that the server of the other domain is addressed and makes this subject of it.
    pub(super) fn key_subject(&self, bucket: &str, key: &str) -> String {
        let subject = format!("$KV.{bucket}.{key}");
        match self.domain() {
            None => subject,
            Some(_) => self.api(&subject),
        }
    }

    /// The JetStream domain that was asked for.
    pub fn domain(&self) -> Option<&str> {
        self.inner.domain.as_deref()
    }
}

/// The value in an answer, or the error in it.
pub(super) fn read_answer<T: DeserializeOwned>(payload: &[u8]) -> Result<T, CallError> {
    #[derive(Deserialize)]
    struct Failure {
        error: Option<ApiError>,
    }
    let malformed = |error: serde_json::Error| {
        CallError::Failed(TransportError::Other(format!(
            "JetStream's answer is malformed: {error}"
        )))
    };
    let failure: Failure = serde_json::from_slice(payload).map_err(malformed)?;
    match failure.error {
        Some(error) => Err(CallError::Refused(error)),
        None => serde_json::from_slice(payload).map_err(malformed),
    }
}

fn no_jetstream(error: TransportError, domain: Option<&str>) -> TransportError {
    match (error, domain) {
        (TransportError::NoResponders, None) => TransportError::Unavailable(
            "JetStream does not answer: the server runs without it (-js), this account has none, \
             or a cluster has no leader at the moment"
                .to_owned(),
        ),
        (TransportError::NoResponders, Some(domain)) => TransportError::Unavailable(format!(
            "JetStream of the domain {domain:?} does not answer: no server that can be reached \
             has this domain, the link to it is down, or it has no leader at the moment"
        )),
        (other, _) => other,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic)]
    use super::*;

    #[test]
    fn errors_of_the_api_keep_their_meaning() {
        let error = |code, err_code, description: &str| {
            TransportError::from(ApiError {
                code,
                err_code,
                description: description.into(),
            })
        };
        assert_eq!(
            error(400, 10071, "wrong last sequence: 7"),
            TransportError::Conflict
        );
        assert!(matches!(
            error(503, 10077, "maximum messages per subject exceeded"),
            TransportError::Full(_)
        ));
        assert!(matches!(
            error(503, 10077, "maximum bytes exceeded"),
            TransportError::Full(_)
        ));
        let full = error(503, 10077, "write /js/1.blk: no space left on device");
        let TransportError::Full(text) = full else {
            panic!("{full:?}")
        };
        assert!(text.contains("no space left on device (10077); fix: make room"));
        assert!(matches!(
            error(503, 10077, "something else"),
            TransportError::Unavailable(_)
        ));
        assert!(matches!(
            error(400, 10054, "message size exceeds maximum"),
            TransportError::TooLarge(_)
        ));
        assert!(matches!(
            error(404, 10059, "stream not found"),
            TransportError::NotFound(_)
        ));
        assert!(matches!(
            error(503, 10008, "no leader"),
            TransportError::Unavailable(_)
        ));
        for (code, err_code) in [
            (409, 10158),
            (400, 10164),
            (503, 10163),
            (429, 10167),
            (500, 10118),
            (500, 10119),
            (500, 10009),
        ] {
            let error = error(code, err_code, "later");
            assert!(error.is_transient(), "{err_code}: {error:?}");
        }
        let offline = error(500, 10194, "stream is offline: unsupported");
        assert!(!offline.is_transient());
        assert!(offline.to_string().contains("fix: "), "{offline}");
        assert!(matches!(
            error(500, 10047, "insufficient storage"),
            TransportError::Full(_)
        ));
        assert!(matches!(
            error(503, 10039, "not enabled"),
            TransportError::Unavailable(_)
        ));
        assert!(matches!(
            error(400, 10052, "bad config"),
            TransportError::Other(_)
        ));
    }
}
