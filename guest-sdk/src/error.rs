//! Errors: a handler returns [`Error`], a call of the host returns [`CallError`]. `?` turns the
//! second, and any other standard error, into the first.

use std::fmt;
use std::time::Duration;

/// The result of a handler.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The longest wait that [`Error::retry_after`] can ask for: 24 hours.
pub const MAX_RETRY_DELAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The reason why a message was not handled, by what would help.
///
/// `?` on any [`std::error::Error`] makes an [`Error::Retry`] without a wish, since most failures
/// pass. A payload that cannot be read ([`Message::json`](crate::Message::json),
/// [`Message::text`](crate::Message::text)) is an [`Error::Reject`], since it stays unreadable.
///
/// It does not implement `std::error::Error` itself: only so can `?` take every error there is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// Try again later. A work item is delivered again, until `max_deliver` of the manifest is
    /// reached; then it becomes a dead letter. A sender that waits for a reply gets the message.
    Retry {
        /// What went wrong, for a person.
        message: String,
        /// How long to wait, at most [`MAX_RETRY_DELAY`] (longer is cut); none for the plugin's
        /// `backoff`.
        delay: Option<Duration>,
    },
    /// Trying again cannot help: a work item becomes a dead letter at once.
    Reject(String),
    /// Anything else; the host treats it as a retry without a wish.
    Other(String),
}

impl Error {
    /// Asks to try again after the plugin's `backoff`.
    pub fn retry(message: impl fmt::Display) -> Self {
        Self::Retry {
            message: message.to_string(),
            delay: None,
        }
    }

    /// Asks to try again after `delay`, at most [`MAX_RETRY_DELAY`].
    pub fn retry_after(delay: Duration, message: impl fmt::Display) -> Self {
        Self::Retry {
            message: message.to_string(),
            delay: Some(delay.min(MAX_RETRY_DELAY)),
        }
    }

    /// Rejects the message: trying again cannot help. Works as `map_err(Error::reject)` on every
    /// error.
    pub fn reject(message: impl fmt::Display) -> Self {
        Self::Reject(message.to_string())
    }

    /// A failure that fits nothing else.
    pub fn other(message: impl fmt::Display) -> Self {
        Self::Other(message.to_string())
    }

    /// What went wrong, for a person.
    #[must_use]
    pub fn message(&self) -> &str {
        match self {
            Self::Retry { message, .. } | Self::Reject(message) | Self::Other(message) => message,
        }
    }

    /// Trying again cannot help.
    #[must_use]
    pub fn is_reject(&self) -> bool {
        matches!(self, Self::Reject(_))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

impl<E: std::error::Error> From<E> for Error {
    fn from(error: E) -> Self {
        // The sources say what really happened: "cannot read the cache: timeout".
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(inner) = source {
            let text = inner.to_string();
            if !message.ends_with(&text) {
                message.push_str(": ");
                message.push_str(&text);
            }
            source = inner.source();
        }
        Self::Retry {
            message,
            delay: None,
        }
    }
}

/// The error of a call of the host. The text is a short sentence for a person.
///
/// [`Display`](fmt::Display) writes `<kind>: <text>`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CallError {
    /// No grant in the manifest covers this; the text names the line to add.
    Denied(String),
    /// The argument is malformed: a subject with spaces, a header that only the host may set, ….
    Invalid(String),
    /// Nobody listens on the subject of the request.
    NoResponders,
    /// The answer did not come within the time allowed.
    Timeout,
    /// The payload, the key, the headers or the answer is over its limit.
    TooLarge(String),
    /// The plugin's publish rate (`publish_rate`) is used up for the moment.
    RateLimited,
    /// One of the plugin's own limits is reached: subscriptions, requests in flight, ….
    Exhausted(String),
    /// The revision is no longer the newest, or the key exists already.
    Conflict,
    /// The bucket, the stream or the subscription does not exist.
    NotFound(String),
    /// The stream or the bucket is full; nothing was stored.
    Full(String),
    /// The host has no connection to NATS at the moment, or JetStream did not answer.
    /// The effect of a publish or a write may or may not have happened.
    Unavailable(String),
    /// What was to be sent does not become JSON, or an answer, a stored value or the configuration
    /// is not the JSON that was asked for. Found by the SDK, not by the host.
    Json(String),
    /// Something that this version has no case for.
    Other(String),
}

impl CallError {
    /// The name of the case as the WIT writes it, such as `no-responders`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Denied(_) => "denied",
            Self::Invalid(_) => "invalid",
            Self::NoResponders => "no-responders",
            Self::Timeout => "timeout",
            Self::TooLarge(_) => "too-large",
            Self::RateLimited => "rate-limited",
            Self::Exhausted(_) => "exhausted",
            Self::Conflict => "conflict",
            Self::NotFound(_) => "not-found",
            Self::Full(_) => "full",
            Self::Unavailable(_) => "unavailable",
            Self::Json(_) => "json",
            Self::Other(_) => "other",
        }
    }

    /// The sentence without the kind.
    #[must_use]
    pub fn message(&self) -> &str {
        match self {
            Self::Denied(text)
            | Self::Invalid(text)
            | Self::TooLarge(text)
            | Self::Exhausted(text)
            | Self::NotFound(text)
            | Self::Full(text)
            | Self::Unavailable(text)
            | Self::Json(text)
            | Self::Other(text) => text,
            Self::NoResponders => "nobody listens on the subject",
            Self::Timeout => "no answer within the time allowed",
            Self::RateLimited => "the plugin's publish_rate is used up for the moment",
            Self::Conflict => "somebody else wrote first",
        }
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind(), self.message())
    }
}

impl std::error::Error for CallError {}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use super::*;

    fn with_question_mark(error: impl std::error::Error) -> Result<()> {
        Err(error)?
    }

    #[test]
    fn any_standard_error_asks_to_try_again() {
        let error = with_question_mark(std::io::Error::other("the disk is gone")).unwrap_err();
        assert_eq!(error, Error::retry("the disk is gone"));
        let error = with_question_mark("x".parse::<u32>().unwrap_err()).unwrap_err();
        assert_eq!(error.message(), "invalid digit found in string");
    }

    #[test]
    fn a_call_error_keeps_its_kind_in_the_message() {
        let error = with_question_mark(CallError::NotFound("no bucket `X`".into())).unwrap_err();
        assert_eq!(error, Error::retry("not-found: no bucket `X`"));
    }

    #[test]
    fn sources_are_told_once() {
        #[derive(Debug)]
        struct Outer(CallError);
        impl fmt::Display for Outer {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("cannot read the cache")
            }
        }
        impl std::error::Error for Outer {
            fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
                Some(&self.0)
            }
        }
        assert_eq!(
            Error::from(Outer(CallError::Timeout)).message(),
            "cannot read the cache: timeout: no answer within the time allowed"
        );
    }

    #[test]
    fn any_error_can_be_made_a_rejection() {
        let rejected = "x".parse::<u32>().map_err(Error::reject).unwrap_err();
        assert!(rejected.is_reject());
        assert!(!Error::other("x").is_reject());
        assert_eq!(rejected.to_string(), "invalid digit found in string");
    }

    #[test]
    fn a_wish_is_cut_to_a_day() {
        let error = Error::retry_after(Duration::from_secs(1_000_000), "later");
        assert_eq!(
            error,
            Error::Retry {
                message: "later".into(),
                delay: Some(MAX_RETRY_DELAY)
            }
        );
    }

    #[test]
    fn every_call_error_has_a_kind_and_a_sentence() {
        let text = || "text".to_owned();
        for (error, shown) in [
            (CallError::Denied(text()), "denied: text"),
            (CallError::Invalid(text()), "invalid: text"),
            (
                CallError::NoResponders,
                "no-responders: nobody listens on the subject",
            ),
            (
                CallError::Timeout,
                "timeout: no answer within the time allowed",
            ),
            (CallError::TooLarge(text()), "too-large: text"),
            (
                CallError::RateLimited,
                "rate-limited: the plugin's publish_rate is used up for the moment",
            ),
            (CallError::Exhausted(text()), "exhausted: text"),
            (CallError::Conflict, "conflict: somebody else wrote first"),
            (CallError::NotFound(text()), "not-found: text"),
            (CallError::Full(text()), "full: text"),
            (CallError::Unavailable(text()), "unavailable: text"),
            (CallError::Json(text()), "json: text"),
            (CallError::Other(text()), "other: text"),
        ] {
            assert_eq!(error.to_string(), shown);
        }
    }
}
