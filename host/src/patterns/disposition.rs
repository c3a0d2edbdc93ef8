//! The fate of a held message: decided here, carried out here, and nowhere else.
//!
//! Order is the promise: output is stored before input is acknowledged, a dead letter is stored
//! before its original is removed. If the process dies between any two steps, the message is
//! delivered again, its output is recognised by its derived id, and nothing is lost.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use crate::limits;
use crate::names::AgentId;
use crate::runtime::{Call, Death, Failure, Outcome, Reply};
use crate::transport::{Link, TransportError, Unreadable};

use super::delivery::{Held, RetryRule};
use super::outbox::Outbox;
use super::{dead_letter, lifecycle};

/// What becomes of a held message.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// Store the answer, then acknowledge.
    Done,
    /// Deliver again after this time.
    Retry(Duration),
    /// Store a dead letter, then remove.
    DeadLetter(Reason),
}

/// Why a message became a dead letter, or a call failed.
#[derive(Debug, Clone, PartialEq, Eq)]
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

/// Decides from the outcome of delivery number `deliveries` (from 1).
pub fn judge(outcome: &Outcome, deliveries: u64, rule: &RetryRule) -> Verdict {
    let Some(reason) = Reason::of(outcome) else {
        return Verdict::Done;
    };
    if matches!(outcome, Outcome::Failed(Failure::Reject(_))) {
        return Verdict::DeadLetter(reason);
    }
    if deliveries >= u64::from(rule.max_deliver) {
        let message = format!(
            "{} (delivery {deliveries} of {})",
            reason.message, rule.max_deliver
        );
        return Verdict::DeadLetter(Reason { message, ..reason });
    }
    let wish = match outcome {
        Outcome::Failed(Failure::Retry { delay, .. }) => *delay,
        _ => None,
    };
    Verdict::Retry(
        wish.unwrap_or_else(|| rule.delay(deliveries))
            .min(limits::MAX_RETRY_DELAY),
    )
}

/// Decides on receipt: a message that was delivered more often than its rule allows is not run
/// again, because it may be what kills the host each time.
pub fn exhausted(deliveries: u64, rule: &RetryRule) -> Option<Reason> {
    (deliveries > u64::from(rule.max_deliver)).then(|| {
        Reason::new(
            "max-deliver",
            format!(
                "delivered {deliveries} times, {} allowed, and never finished",
                rule.max_deliver
            ),
        )
    })
}

/// Carries verdicts out in the background, so that an agent takes its next message while the
/// result of the last one is being stored.
#[derive(Debug, Clone)]
pub struct Settler {
    link: Link,
    outbox: Outbox,
    tasks: TaskTracker,
    places: Arc<Semaphore>,
}

impl Settler {
    /// Settles over this connection.
    pub fn new(link: Link, outbox: Outbox) -> Self {
        Self {
            link,
            outbox,
            tasks: TaskTracker::new(),
            places: Arc::new(Semaphore::new(limits::MAX_SETTLING)),
        }
    }

    /// Takes over a message that an agent has handled. Waits only while [`limits::MAX_SETTLING`]
    /// others are being settled.
    pub async fn settle(&self, agent: &AgentId, call: Call, held: Box<Held>, outcome: Outcome) {
        let verdict = judge(&outcome, held.meta.deliveries, &held.rule);
        let agent = agent.clone();
        let this = self.clone();
        self.spawn(async move {
            match verdict {
                Verdict::Done => {
                    let reply = if let Outcome::Done(reply) = outcome {
                        reply
                    } else {
                        None
                    };
                    this.finish(&agent, &call, &held, reply).await;
                }
                Verdict::Retry(delay) => this.hand_back(&held, delay).await,
                Verdict::DeadLetter(reason) => this.bury(Some(&agent), &call, &held, reason).await,
            }
        })
        .await;
    }

    /// Takes over a message that must not wake the plugin.
    pub async fn refuse(&self, call: Call, held: Box<Held>, reason: Reason) {
        let this = self.clone();
        self.spawn(async move { this.bury(None, &call, &held, reason).await })
            .await;
    }

    /// Hands a message back that no agent has started.
    pub async fn give_back(&self, held: Box<Held>) {
        let this = self.clone();
        self.spawn(async move { this.hand_back(&held, limits::GIVE_BACK_DELAY).await })
            .await;
    }

    /// Waits until everything taken over so far is settled.
    pub async fn idle(&self) {
        while self.places.available_permits() < limits::MAX_SETTLING {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        // The semaphore is never closed.
        let place = self.places.clone().acquire_owned().await.ok();
        self.tasks.spawn(async move {
            work.await;
            drop(place);
        });
    }

    async fn finish(&self, agent: &AgentId, call: &Call, held: &Held, reply: Option<Reply>) {
        let subject = lifecycle::result_subject(agent, &call.trace.request_id);
        let reply = reply.unwrap_or_default();
        let headers = lifecycle::reply_headers(agent, call, &reply);
        let id = held.meta.output_id("result");
        match self.link.store(&subject, &id, headers, reply.payload).await {
            Ok(_) => {
                if let Err(error) = held.fate.ack_confirmed().await {
                    tracing::debug!(%agent, %error, sequence = held.meta.stream_sequence,
                        "ack not confirmed; the item may run again");
                }
            }
            Err(error @ TransportError::TooLarge(_)) => {
                let reason = Reason::new("too-large", format!("the result: {error}"));
                self.bury(Some(agent), call, held, reason).await;
            }
            Err(error) => {
                tracing::error!(%agent, %error, %subject, "result not stored; the item will run again");
                self.hand_back(held, limits::STORE_RETRY_DELAY).await;
            }
        }
    }

    async fn bury(&self, agent: Option<&AgentId>, call: &Call, held: &Held, reason: Reason) {
        match dead_letter::store(&self.link, agent, call, held, &reason).await {
            Ok(letter) => {
                if let Err(error) = held.fate.term_confirmed().await {
                    tracing::debug!(%error, "term not confirmed; the dead letter is recognised when it repeats");
                }
                tracing::warn!(subject = %call.subject, kind = %reason.kind, error = %reason.message, "dead letter");
                self.outbox.audit(
                    "dead-letter",
                    dead_letter::audit(agent, call, held, &reason, &letter),
                );
            }
            Err(error) => {
                tracing::error!(%error, subject = %call.subject, "dead letter not stored; the message stays in its stream");
                self.hand_back(held, limits::STORE_RETRY_DELAY).await;
            }
        }
    }

    /// Takes a message out of the way that breaks the connection whenever it is delivered. The letter is
    /// stored before the original is removed; if that fails, it is found again.
    pub async fn quarantine(&self, found: &Unreadable) {
        let letter = match dead_letter::store_unreadable(&self.link, found).await {
            Ok(letter) => letter,
            Err(error) => {
                tracing::error!(%error, subject = found.subject, "dead letter of an unreadable message not stored");
                return;
            }
        };
        let removed = match self.link.stream(&found.meta.stream) {
            Ok(stream) => stream.delete(found.meta.stream_sequence).await,
            Err(error) => Err(error),
        };
        if let Err(error) = removed {
            tracing::error!(%error, subject = found.subject, "unreadable message not removed");
            return;
        }
        tracing::warn!(
            subject = found.subject,
            error = found.problem,
            "dead letter: an unreadable message"
        );
        self.outbox
            .audit("dead-letter", dead_letter::audit_unreadable(found, &letter));
    }

    async fn hand_back(&self, held: &Held, delay: Duration) {
        if let Err(error) = held.fate.nak(delay).await {
            tracing::debug!(%error, "nak not sent; the message comes back after the ack wait");
        }
    }
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
        for (outcome, deliveries, expected) in cases {
            let text = match judge(&outcome, deliveries, &rule()) {
                Verdict::Done => "done".to_owned(),
                Verdict::Retry(delay) => format!("retry {}s", delay.as_secs()),
                Verdict::DeadLetter(reason) => format!("dead {}", reason.kind),
            };
            assert_eq!(text, expected, "{outcome:?} at delivery {deliveries}");
        }
    }

    #[test]
    fn a_message_that_never_finished_is_not_run_once_more() {
        assert_eq!(exhausted(3, &rule()), None);
        assert!(exhausted(4, &rule()).is_some());
    }
}
