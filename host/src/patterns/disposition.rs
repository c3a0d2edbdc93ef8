//! The fate of a held message: decided here, carried out here, and nowhere else.
//!
//! Order is the promise: output is stored before input is acknowledged, a dead letter is stored
//! before its original is removed, a failed attempt is recorded before its message is given back.
//! If the process dies between any two steps, the message is delivered again, its output is
//! recognised by its derived id, and nothing is lost. Attempts count, not deliveries
//! ([`super::attempts`]).

mod settler;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::limits;
use crate::runtime::{Death, Failure, Outcome};

use super::attempts::Record;
use super::delivery::RetryRule;

pub use settler::Settler;

/// What becomes of a held message.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// Store the answer, then acknowledge.
    Done,
    /// Record why it failed, then deliver again after this time.
    Retry(Reason, Duration),
    /// Store a dead letter, then remove.
    DeadLetter(Reason),
}

/// Why a message became a dead letter, or a call failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// A word for programs: `rejected`, `trap`, `timeout`, `schema`, ….
    pub kind: String,
    /// A sentence for people.
    pub message: String,
}

impl Reason {
    /// A reason of this kind.
    pub fn new(kind: &str, message: impl Into<String>) -> Self {
        Self {
            kind: kind.to_owned(),
            message: message.into(),
        }
    }

    /// Why an instance ended.
    pub fn died(death: &Death) -> Self {
        Self::new(death.kind.as_str(), &death.message)
    }

    /// Why a call did not succeed; none when it did.
    pub fn of<T>(outcome: &Outcome<T>) -> Option<Self> {
        match outcome {
            Outcome::Done(_) => None,
            Outcome::Failed(Failure::Retry { message, .. }) => Some(Self::new("retry", message)),
            Outcome::Failed(Failure::Reject(message)) => Some(Self::new("rejected", message)),
            Outcome::Failed(Failure::Other(message)) => Some(Self::new("failed", message)),
            Outcome::Died(death) => Some(Self::died(death)),
        }
    }
}

/// Decides from the outcome of attempt number `attempts` (from 1).
pub fn judge(outcome: &Outcome, attempts: u32, rule: &RetryRule) -> Verdict {
    let Some(reason) = Reason::of(outcome) else {
        return Verdict::Done;
    };
    if matches!(outcome, Outcome::Failed(Failure::Reject(_))) {
        return Verdict::DeadLetter(reason);
    }
    if attempts >= rule.max_deliver {
        let message = format!(
            "{} (attempt {attempts} of {})",
            reason.message, rule.max_deliver
        );
        return Verdict::DeadLetter(Reason { message, ..reason });
    }
    let wish = match outcome {
        Outcome::Failed(Failure::Retry { delay, .. }) => *delay,
        _ => None,
    };
    let delay = wish.unwrap_or_else(|| rule.delay(attempts));
    Verdict::Retry(reason, delay.min(limits::MAX_RETRY_DELAY))
}

/// Decides on receipt: an item that was begun as often as its rule allows is not begun again,
/// because it may be what kills the host each time.
pub fn exhausted(record: &Record, rule: &RetryRule) -> Option<Reason> {
    (record.begun >= rule.max_deliver).then(|| {
        let last = record.attempts.last();
        let error = last.and_then(|last| last.error.as_deref());
        let error = error.unwrap_or("its process was killed, or lost its connection");
        Reason::new(
            "max-deliver",
            format!(
                "begun {} times, {} allowed, and never finished; the last time: {error}",
                record.begun, rule.max_deliver
            ),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::DeathKind;

    fn rule() -> RetryRule {
        RetryRule {
            max_deliver: 3,
            backoff: vec![Duration::from_secs(1), Duration::from_secs(5)],
        }
    }

    fn retry(delay: Option<Duration>) -> Outcome {
        Outcome::Failed(Failure::Retry {
            message: "later".into(),
            delay,
        })
    }

    #[test]
    fn what_becomes_of_a_message() {
        let trap = || {
            let (kind, message) = (DeathKind::Trap, "unreachable".to_owned());
            Outcome::Died(Death {
                kind,
                message,
                backtrace: Vec::new(),
            })
        };
        let reject = || Outcome::Failed(Failure::Reject("no".into()));
        let hour = Duration::from_secs(3600);
        let cases = [
            (Outcome::Done(None), 1, "done"),
            (Outcome::Done(None), 99, "done"),
            (retry(None), 1, "retry 1s"),
            (retry(None), 2, "retry 5s"),
            (retry(None), 3, "dead retry"),
            (retry(Some(hour)), 1, "retry 3600s"),
            (retry(Some(hour * 9999)), 1, "retry 86400s"),
            (reject(), 1, "dead rejected"),
            (trap(), 1, "retry 1s"),
            (trap(), 3, "dead trap"),
            (Outcome::Failed(Failure::Other("x".into())), 2, "retry 5s"),
        ];
        for (outcome, attempts, expected) in cases {
            let text = match judge(&outcome, attempts, &rule()) {
                Verdict::Done => "done".to_owned(),
                Verdict::Retry(_, delay) => format!("retry {}s", delay.as_secs()),
                Verdict::DeadLetter(reason) => format!("dead {}", reason.kind),
            };
            assert_eq!(text, expected, "{outcome:?} at attempt {attempts}");
        }
    }

    #[test]
    fn a_message_that_never_finished_is_not_run_once_more() {
        let begun = |begun| Record {
            begun,
            ..Record::default()
        };
        assert_eq!(exhausted(&begun(2), &rule()), None);
        assert!(exhausted(&begun(3), &rule()).is_some());
    }
}
