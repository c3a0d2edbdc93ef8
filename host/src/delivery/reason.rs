//! Why an item, a call or a command failed: a kind for programs and a sentence for people.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use mistersmith_runtime::{ExitKind, ExitReason, Failure, Outcome};

/// The kind of a failure. Its text appears in error events, error replies and dead letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReasonKind {
    /// The instance ended.
    Exited(ExitKind),
    /// `start` failed, or the instance could not be created.
    Start,
    /// The handler returned `retry`.
    Retry,
    /// The handler returned `rejected`.
    Rejected,
    /// The handler returned another failure.
    Failed,
    /// The payload does not match the schema.
    Schema,
    /// The payload, the result or a value set by a command is too large.
    TooLarge,
    /// The claim check's payload is missing, or belongs to another subject.
    Claim,
    /// The attempts are used up, and none finished.
    MaxDeliver,
    /// The agent was ended in the middle of the attempt.
    CutOff,
    /// The subject or `X-Stage` of a stage's input is invalid.
    Malformed,
    /// The workflow has more stages than the limit.
    TooLong,
    /// Branches are missing at a joining stage.
    Join,
    /// The bytes of the item do not parse as a message.
    Unreadable,
    /// The agent is paused.
    Paused,
    /// The circuit of the plugin's service is open.
    CircuitOpen,
    /// The agent has stopped.
    Stopped,
    /// The limit of waiting messages is reached.
    Busy,
    /// The payload of a command is invalid.
    Invalid,
    /// A command could not be stored.
    Unavailable,
}

impl ReasonKind {
    /// All kinds.
    pub fn all() -> impl Iterator<Item = Self> {
        let own = [
            Self::Start,
            Self::Retry,
            Self::Rejected,
            Self::Failed,
            Self::Schema,
            Self::TooLarge,
            Self::Claim,
            Self::MaxDeliver,
            Self::CutOff,
            Self::Malformed,
            Self::TooLong,
            Self::Join,
            Self::Unreadable,
            Self::Paused,
            Self::CircuitOpen,
            Self::Stopped,
            Self::Busy,
            Self::Invalid,
            Self::Unavailable,
        ];
        ExitKind::ALL.into_iter().map(Self::Exited).chain(own)
    }

    /// The text form: `rejected`, `trap`, `too-large`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Exited(kind) => kind.as_str(),
            Self::Start => "start",
            Self::Retry => "retry",
            Self::Rejected => "rejected",
            Self::Failed => "failed",
            Self::Schema => "schema",
            Self::TooLarge => "too-large",
            Self::Claim => "claim",
            Self::MaxDeliver => "max-deliver",
            Self::CutOff => "cut-off",
            Self::Malformed => "malformed",
            Self::TooLong => "too-long",
            Self::Join => "join",
            Self::Unreadable => "unreadable",
            Self::Paused => "paused",
            Self::CircuitOpen => "circuit-open",
            Self::Stopped => "stopped",
            Self::Busy => "busy",
            Self::Invalid => "invalid",
            Self::Unavailable => "unavailable",
        }
    }

    /// The `Nats-Service-Error-Code` of an error reply: an HTTP status code.
    pub fn service_code(self) -> &'static str {
        match self {
            Self::Exited(kind) => match kind {
                ExitKind::Timeout | ExitKind::Cpu => "408",
                ExitKind::Trap
                | ExitKind::Memory
                | ExitKind::Handles
                | ExitKind::Data
                | ExitKind::Exit
                | ExitKind::Room
                | ExitKind::Host
                | ExitKind::Gone => "500",
            },
            Self::Rejected | Self::Schema | Self::Invalid => "400",
            Self::TooLarge => "413",
            Self::Busy => "429",
            Self::Start
            | Self::Failed
            | Self::Claim
            | Self::MaxDeliver
            | Self::CutOff
            | Self::Malformed
            | Self::TooLong
            | Self::Join
            | Self::Unreadable => "500",
            Self::Retry | Self::Paused | Self::CircuitOpen | Self::Stopped | Self::Unavailable => {
                "503"
            }
        }
    }
}

impl From<ExitKind> for ReasonKind {
    fn from(kind: ExitKind) -> Self {
        Self::Exited(kind)
    }
}

impl std::fmt::Display for ReasonKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for ReasonKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// Reads an unknown kind, of a newer host, as `failed`; its sentence still explains the failure.
impl<'de> Deserialize<'de> for ReasonKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let known = Self::all().find(|kind| kind.as_str() == text);
        Ok(known.unwrap_or(Self::Failed))
    }
}

/// The reason of a failure of an item, a call or a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// The kind, for programs.
    pub kind: ReasonKind,
    /// A sentence for people.
    pub message: String,
}

impl Reason {
    /// A reason of this kind.
    pub fn new(kind: impl Into<ReasonKind>, message: impl Into<String>) -> Self {
        Self {
            kind: kind.into(),
            message: message.into(),
        }
    }

    /// The reason for the end of an instance.
    pub fn died(death: &ExitReason) -> Self {
        Self::new(death.kind, &death.message)
    }

    /// The reason for the failure of a call; none after a success.
    pub fn of<T>(outcome: &Outcome<T>) -> Option<Self> {
        match outcome {
            Outcome::Done(_) => None,
            Outcome::Exited(death) => Some(Self::died(death)),
            Outcome::Failed(failure) => Some(Self::failed(failure)),
        }
    }

    /// The reason for a failure that the handler returned.
    pub fn failed(failure: &Failure) -> Self {
        match failure {
            Failure::Retry { message, .. } => Self::new(ReasonKind::Retry, message),
            Failure::Reject(message) => Self::new(ReasonKind::Rejected, message),
            Failure::Other(message) => Self::new(ReasonKind::Failed, message),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn kinds_are_read_as_they_are_written() {
        for kind in ReasonKind::all() {
            let text = serde_json::to_string(&kind).unwrap();
            assert_eq!(text, format!("\"{kind}\""));
            assert_eq!(serde_json::from_str::<ReasonKind>(&text).unwrap(), kind);
        }
        let newer: ReasonKind = serde_json::from_str("\"of-the-next-version\"").unwrap();
        assert_eq!(newer, ReasonKind::Failed);
    }

    #[test]
    fn no_two_kinds_are_written_alike() {
        let mut texts: Vec<&str> = ReasonKind::all().map(ReasonKind::as_str).collect();
        let all = texts.len();
        texts.sort_unstable();
        texts.dedup();
        assert_eq!(texts.len(), all);
    }
}
