//! The election state of one agent: whether it is a candidate, and whether it leads.
//!
//! Each read compares the deadline of the leadership with the clock at that moment. The agent ends
//! its own leadership at once, whatever the election task is waiting for; otherwise an agent could
//! act as leader after its lease.

use std::time::Instant;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;

use mistersmith_core::names::Token;

/// The election state of one agent.
#[derive(Debug, Default)]
pub struct CandidateState {
    inner: Mutex<Inner>,
    /// Notified when the agent gives up its leadership.
    stepped_down: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    stands: bool,
    leadership: Option<Leadership>,
}

/// Leadership of a domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leadership {
    /// The election domain.
    pub domain: Token,
    /// The fencing term.
    pub term: u64,
    /// The leadership ends at this moment unless it is renewed.
    pub until: Instant,
}

impl CandidateState {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock()
    }

    /// Sets whether the agent takes messages and therefore may lead.
    pub fn set_stands(&self, stands: bool) {
        self.inner().stands = stands;
        if !stands {
            self.step_down();
        }
    }

    /// Whether the agent may lead.
    pub fn stands(&self) -> bool {
        self.inner().stands
    }

    /// Ends the leadership, if there is one, before this function returns.
    pub fn step_down(&self) {
        if self.inner().leadership.take().is_some() {
            self.stepped_down.notify_one();
        }
    }

    /// Makes the agent leader; false when it is no longer a candidate.
    pub fn take(&self, leadership: Leadership) -> bool {
        let mut inner = self.inner();
        if inner.stands {
            inner.leadership = Some(leadership);
        }
        inner.stands
    }

    /// Moves the deadline of this term after a renewal; false when the agent has given it up.
    pub fn extend(&self, term: u64, until: Instant) -> bool {
        let mut inner = self.inner();
        let leadership = inner
            .leadership
            .as_mut()
            .filter(|leadership| leadership.term == term);
        let still = leadership.is_some();
        if let Some(leadership) = leadership {
            leadership.until = until;
        }
        still
    }

    /// The agent's leadership, if it has not ended at `now`.
    pub fn leadership(&self, now: Instant) -> Option<Leadership> {
        self.inner()
            .leadership
            .clone()
            .filter(|leadership| now < leadership.until)
    }

    /// Resolves when the agent has given up its leadership of this term.
    pub async fn given_up(&self, term: u64) {
        while self
            .inner()
            .leadership
            .as_ref()
            .map(|leadership| leadership.term)
            == Some(term)
        {
            self.stepped_down.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn leadership(term: u64, until: Instant) -> Leadership {
        Leadership {
            domain: "nlp".parse().unwrap_or_else(|_| unreachable!()),
            term,
            until,
        }
    }

    #[tokio::test]
    async fn who_does_not_stand_does_not_lead() {
        let candidate = CandidateState::default();
        let now = Instant::now();
        let later = now + Duration::from_secs(10);
        assert!(!candidate.take(leadership(7, later)));
        candidate.set_stands(true);
        assert!(candidate.take(leadership(7, later)));
        assert_eq!(
            candidate.leadership(now).map(|leadership| leadership.term),
            Some(7)
        );
        assert_eq!(candidate.leadership(later), None, "its time is over");
        candidate.set_stands(false);
        assert_eq!(candidate.leadership(now), None);
        candidate.given_up(7).await;
        assert!(
            !candidate.extend(7, later),
            "a late renewal brings nothing back"
        );
        assert_eq!(candidate.leadership(now), None);
    }

    #[test]
    fn a_renewal_moves_the_end_of_its_own_term_alone() {
        let candidate = CandidateState::default();
        let now = Instant::now();
        let (soon, later) = (now + Duration::from_secs(1), now + Duration::from_secs(2));
        candidate.set_stands(true);
        assert!(candidate.take(leadership(7, soon)));
        assert!(!candidate.extend(6, later));
        assert_eq!(candidate.leadership(soon), None);
        assert!(candidate.extend(7, later));
        assert_eq!(
            candidate.leadership(soon).map(|leadership| leadership.term),
            Some(7)
        );
    }
}
