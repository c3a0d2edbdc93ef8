//! Status messages on the inbox of a pull, by code and text.
//!
//! Servers send them before, between or after the messages of the pull that they are about: on a
//! cluster a message waits until its delivery is replicated, and a status does not. So a status
//! never means that nothing more comes. It says how many messages the server has not sent, and the
//! pull waits for the others.

use async_nats::StatusCode;

/// How many messages of a pull the server has not sent; servers before 2.10 leave it out at times.
pub(super) const PENDING: &str = "Nats-Pending-Messages";

/// The meaning of a status for the pull that it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Status {
    /// The pull still waits at the server.
    Heartbeat,
    /// The server has ended the pull as agreed; so many of its messages were not sent, where known.
    Ended { pending: Option<usize> },
    /// The next message is larger than all that the pull takes.
    TooLarge { pending: Option<usize> },
    /// The consumer does not exist any more.
    Deleted,
    /// The server has ended the pull early, or refuses it; the next one may succeed.
    Failed(String),
    /// Nothing that a tested server sends.
    Unknown(String),
}

impl Status {
    /// Reads the code and the text; `pending` is the header [`PENDING`].
    pub(super) fn read(code: StatusCode, text: &str, pending: Option<&str>) -> Self {
        let pending = pending.and_then(|pending| pending.trim().parse().ok());
        let failed = || Self::Failed(format!("the server ended a pull: {text} ({code})"));
        match (code.as_u16(), text) {
            (100, _) => Self::Heartbeat,
            (404 | 408, _) | (409, "Batch Completed") => Self::Ended { pending },
            (409, "Message Size Exceeds MaxBytes") => Self::TooLarge { pending },
            (409, "Consumer Deleted") => Self::Deleted,
            (409, "Leadership Change" | "Server Shutdown" | "Consumer is push based") => failed(),
            // "Exceeded MaxWaiting", "Exceeded MaxRequestBatch of 10", …Expires, …MaxBytes.
            (409, text) if text.starts_with("Exceeded Max") => failed(),
            (400, _) => failed(),
            (503, _) => Self::Failed("JetStream does not answer a pull".to_owned()),
            _ => Self::Unknown(format!("{text} ({code})")),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn each_status_of_the_tested_servers_is_known() {
        let ended = |pending| Status::Ended { pending };
        let failed = |text: &str| Status::Failed(format!("the server ended a pull: {text}"));
        for (code, text, pending, status) in [
            (100, "Idle Heartbeat", Some("3"), Status::Heartbeat),
            (404, "No Messages", None, ended(None)),
            (408, "Request Timeout", Some("7"), ended(Some(7))),
            (408, "Requests Pending", None, ended(None)),
            (409, "Batch Completed", Some("0"), ended(Some(0))),
            (409, "Batch Completed", Some("many"), ended(None)),
            (
                409,
                "Message Size Exceeds MaxBytes",
                Some("2"),
                Status::TooLarge { pending: Some(2) },
            ),
            (409, "Consumer Deleted", None, Status::Deleted),
            (
                409,
                "Leadership Change",
                Some("1"),
                failed("Leadership Change (409)"),
            ),
            (
                409,
                "Server Shutdown",
                None,
                failed("Server Shutdown (409)"),
            ),
            (
                409,
                "Consumer is push based",
                None,
                failed("Consumer is push based (409)"),
            ),
            (
                409,
                "Exceeded MaxRequestBatch of 10",
                None,
                failed("Exceeded MaxRequestBatch of 10 (409)"),
            ),
            (
                400,
                "Bad Request - bad batch",
                None,
                failed("Bad Request - bad batch (400)"),
            ),
            (
                503,
                "",
                None,
                Status::Failed("JetStream does not answer a pull".to_owned()),
            ),
            (
                423,
                "Nats-Wrong-Pin-Id",
                None,
                Status::Unknown("Nats-Wrong-Pin-Id (423)".to_owned()),
            ),
            (
                409,
                "Batch Half Completed",
                None,
                Status::Unknown("Batch Half Completed (409)".to_owned()),
            ),
        ] {
            let code = StatusCode::from_u16(code).unwrap();
            assert_eq!(Status::read(code, text, pending), status, "{code} {text}");
        }
    }
}
