//! The pure state machine of a lease: how long the owner may rely on it after each write and
//! answer.
//!
//! The owner counts [`Rules::safe`] from *before* it sent its last successful write. The key lives
//! longer than that, from when the server stored the write. So no other owner can have the key
//! while this one relies on it, whatever became of the answers.

use std::time::Duration;

/// The times of a lease, and the rules in which hosts and elections differ.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    /// How long the lease is relied on, from before the last successful write was sent.
    pub(crate) safe: Duration,
    /// The interval from a successful write to the next one.
    pub(crate) renewal: Duration,
    /// The maximum interval from a failed write to the next one; jittered, so that owners that
    /// failed together do not retry together.
    pub(crate) retry: Duration,
    /// The effect of a successful answer that arrives after `safe` has passed.
    pub(crate) late: Late,
    /// The effect of a conflict while every earlier write is answered, so that it cannot be our
    /// own.
    pub(crate) conflict: Conflict,
}

/// The effect of a successful answer that arrives after the lease has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Late {
    /// The lease goes on: the answer proves that the key was ours throughout.
    GoesOn,
    /// The lease stays ended, because its end was announced already.
    StaysOver,
}

/// The effect of a conflict that no write of our own can have caused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Conflict {
    /// The lease is lost at once.
    Ends,
    /// The key is read first: its bucket may have been lost and created again.
    IsExamined,
}

/// The outcome of a conditional write, as far as it is known.
///
/// An error is always [`Written::Unknown`], because it never proves that nothing was stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Written {
    /// The write was stored, with this revision.
    Done(u64),
    /// The newest revision of the key is not the expected one.
    Conflict,
    /// The write may be stored or not.
    Unknown,
}

/// The key, as its owner knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HeldKey {
    /// The revision of the write that took it.
    pub(crate) first: u64,
    /// The revision of our newest write.
    pub(crate) revision: u64,
    /// The time at which the last successful write was sent.
    pub(crate) sent: Duration,
}

/// The content of the key after a conflict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// Our own write whose answer was lost, with this revision.
    Ours(u64),
    /// Another owner's write.
    Another,
    /// No value.
    Nothing,
}

/// The next step of the owner after an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// The lease was renewed.
    Renewed,
    /// Repeat the write.
    Retry,
    /// Read the key.
    Examine,
    /// The key has no value: it expired, was deleted, or its bucket was lost.
    Gone,
    /// The key belongs to another owner.
    Lost,
}

/// The lease of one owner.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LeaseState {
    rules: Rules,
    held: Option<HeldKey>,
    /// A write is in flight.
    sending: bool,
    /// An earlier write has no answer: the value of the key may be our own.
    unanswered: bool,
}

impl LeaseState {
    pub(crate) const fn new(rules: Rules) -> Self {
        Self {
            rules,
            held: None,
            sending: false,
            unanswered: false,
        }
    }

    pub(crate) fn rules(&self) -> &Rules {
        &self.rules
    }

    /// The key, even after the time for which it was relied on.
    pub(crate) fn held(&self) -> Option<HeldKey> {
        self.held
    }

    /// The rest of the time for which the lease is relied on.
    pub(crate) fn left(&self, now: Duration) -> Duration {
        self.held.map_or(Duration::ZERO, |held| {
            self.rules
                .safe
                .saturating_sub(now.saturating_sub(held.sent))
        })
    }

    /// Whether the lease is relied on.
    pub(crate) fn is_held(&self, now: Duration) -> bool {
        !self.left(now).is_zero()
    }

    /// Whether the key may hold an unconfirmed write of our own.
    pub(crate) fn in_doubt(&self) -> bool {
        self.sending || self.unanswered
    }

    /// Takes in that a write is about to be sent. An earlier write without an answer stays in
    /// doubt.
    pub(crate) fn sends(&mut self) {
        self.unanswered = self.in_doubt();
        self.sending = true;
    }

    fn answered(&mut self, written: Written) {
        self.sending = false;
        match written {
            // Earlier writes expected the revision that this one replaced, so none can be stored
            // after it.
            Written::Done(_) => self.unanswered = false,
            Written::Conflict => {}
            Written::Unknown => self.unanswered = true,
        }
    }

    /// Takes in the answer to a write, sent at `sent`, that takes the key.
    pub(crate) fn took(&mut self, sent: Duration, written: Written) {
        self.answered(written);
        self.held = match written {
            Written::Done(revision) => Some(HeldKey {
                first: revision,
                revision,
                sent,
            }),
            Written::Conflict | Written::Unknown => None,
        };
    }

    /// Takes in the answer to a write, sent at `sent`, that restores the key after its bucket was
    /// lost: the lease goes on.
    pub(crate) fn restored(&mut self, sent: Duration, written: Written) -> Next {
        self.answered(written);
        match (written, &mut self.held) {
            (Written::Done(revision), Some(held)) => {
                held.revision = revision;
                held.sent = sent;
                Next::Renewed
            }
            _ => Next::Retry,
        }
    }

    /// Takes in the answer, at `now`, to a write that was sent at `sent` over the newest revision.
    pub(crate) fn renewed(&mut self, sent: Duration, now: Duration, written: Written) -> Next {
        let over = !self.is_held(now) && self.rules.late == Late::StaysOver;
        self.answered(written);
        let Some(held) = &mut self.held else {
            return Next::Lost;
        };
        match written {
            Written::Done(revision) => {
                // Even if it came too late: giving up the key needs the revision.
                held.revision = revision;
                if over {
                    return Next::Retry;
                }
                held.sent = sent;
                Next::Renewed
            }
            Written::Conflict if self.unanswered => Next::Examine,
            Written::Conflict if self.rules.conflict == Conflict::IsExamined => Next::Examine,
            Written::Conflict => self.lost(),
            Written::Unknown => Next::Retry,
        }
    }

    /// Takes in a read after a conflict, which never moves the end of the lease.
    pub(crate) fn examined(&mut self, found: Found) -> Next {
        match (found, &mut self.held) {
            (Found::Ours(revision), Some(held)) => {
                held.revision = revision;
                self.unanswered = false;
                Next::Retry
            }
            (Found::Nothing, Some(_)) => Next::Gone,
            _ => self.lost(),
        }
    }

    /// Ends the lease: the key belongs to another owner, or is not used any more.
    pub(crate) fn lost(&mut self) -> Next {
        self.held = None;
        Next::Lost
    }

    /// Takes in that the key was given up and holds no write of ours.
    pub(crate) fn given_up(&mut self) {
        *self = Self::new(self.rules);
    }
}

#[cfg(test)]
mod tests;
