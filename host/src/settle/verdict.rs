//! The verdict on a held message: a pure function of its call's outcome.

use std::time::Duration;

use mistersmith_core::limits;
use mistersmith_runtime::{Failure, Outcome, Reply};

use crate::delivery::{Reason, RetryRule};

/// The next step for a held message.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Verdict {
    /// Store this output, then acknowledge.
    Done(Reply),
    /// Record the failure, then give back with this delay.
    Retry(Reason, Duration),
    /// Store a dead letter, then remove.
    DeadLetter(Reason),
}

/// The verdict after attempt number `attempts` (from 1).
pub(super) fn judge(outcome: Outcome, attempts: u32, rule: &RetryRule) -> Verdict {
    let (reason, wish) = match outcome {
        Outcome::Done(reply) => return Verdict::Done(reply.unwrap_or_default()),
        Outcome::Failed(failure @ Failure::Reject(_)) => {
            return Verdict::DeadLetter(Reason::failed(&failure));
        }
        Outcome::Failed(failure) => {
            let wish = match failure {
                Failure::Retry { delay, .. } => delay,
                _ => None,
            };
            (Reason::failed(&failure), wish)
        }
        Outcome::Exited(exit) => (Reason::died(&exit), None),
    };
    if attempts >= rule.max_deliver {
        let message = format!(
            "{} (attempt {attempts} of {})",
            reason.message, rule.max_deliver
        );
        return Verdict::DeadLetter(Reason { message, ..reason });
    }
    let delay = wish.unwrap_or_else(|| rule.delay(attempts));
    Verdict::Retry(reason, delay.min(limits::MAX_RETRY_DELAY))
}

#[cfg(test)]
mod tests {
    use super::*;
    use mistersmith_runtime::{ExitKind, ExitReason};

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
            let (kind, message) = (ExitKind::Trap, "unreachable".to_owned());
            Outcome::Exited(ExitReason {
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
            let text = match judge(outcome.clone(), attempts, &rule()) {
                Verdict::Done(_) => "done".to_owned(),
                Verdict::Retry(_, delay) => format!("retry {}s", delay.as_secs()),
                Verdict::DeadLetter(reason) => format!("dead {}", reason.kind),
            };
            assert_eq!(text, expected, "{outcome:?} at attempt {attempts}");
        }
    }
}
