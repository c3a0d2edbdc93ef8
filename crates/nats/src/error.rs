//! Errors between the host and NATS, divided by what the caller can do about them.

use thiserror::Error;

/// Why a message was not sent, stored, received or answered.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TransportError {
    /// Nobody listens on the subject of a request.
    #[error("nobody listens on this subject")]
    NoResponders,
    /// No answer came in the time allowed; the effect may or may not have happened.
    #[error("no answer in time")]
    Timeout,
    /// There is no connection, or JetStream has no leader at the moment. Trying again later can
    /// help; what was sent just before may or may not have had its effect.
    #[error("{0}")]
    Unavailable(String),
    /// The message, or the answer, is larger than the server or the host allows.
    #[error("{0}")]
    TooLarge(String),
    /// Somebody else wrote first: the revision is not the newest, or the key exists already.
    #[error("somebody else wrote first")]
    Conflict,
    /// The stream, bucket, consumer or key does not exist.
    #[error("{0}")]
    NotFound(String),
    /// The stream or bucket is full, or storage is used up; nothing was stored.
    #[error("{0}")]
    Full(String),
    /// The server refuses the credentials or the subject.
    #[error("{0}")]
    Denied(String),
    /// The subject, header or key is malformed; nothing was sent.
    #[error("{0}")]
    Invalid(String),
    /// Any other error.
    #[error("{0}")]
    Other(String),
}

impl TransportError {
    /// Whether the same call may succeed a little later without anybody changing anything.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Timeout | Self::Unavailable(_))
    }

    /// The error of a call while there is no connection.
    pub(crate) fn disconnected() -> Self {
        Self::Unavailable("there is no connection to NATS at the moment".to_owned())
    }
}
