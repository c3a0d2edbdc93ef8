//! An agent's part in elections: whether it stands, and whether it leads.
//!
//! Read at each question of the plugin, against the clock at that moment. It is the agent that takes
//! its own seat away, at once, whatever the election is waiting for.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;

use crate::names::Token;

/// The seat of one agent.
#[derive(Debug, Default)]
pub struct Seat {
    inner: Mutex<Inner>,
    /// Told when the agent gives its office up.
    vacated: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    stands: bool,
    office: Option<Office>,
}

/// Leadership of a domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Office {
    /// The domain.
    pub domain: Token,
    /// The fencing term.
    pub term: u64,
    /// Not to be relied on from then on.
    pub until: Instant,
}

impl Seat {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The agent takes messages, and may lead; or it does not.
    pub fn stand(&self, stands: bool) {
        self.inner().stands = stands;
        if !stands {
            self.vacate();
        }
    }

    /// Whether it may lead.
    pub fn stands(&self) -> bool {
        self.inner().stands
    }

    /// Ends the leadership, if there is one, before this returns.
    pub fn vacate(&self) {
        if self.inner().office.take().is_some() {
            self.vacated.notify_one();
        }
    }

    /// The agent leads from here on, unless it does not stand any more.
    pub fn take(&self, office: Office) -> bool {
        let mut inner = self.inner();
        if inner.stands {
            inner.office = Some(office);
        }
        inner.stands
    }

    /// A renewal moves the end of this term; false when the agent has given it up.
    pub(super) fn extend(&self, term: u64, until: Instant) -> bool {
        let mut inner = self.inner();
        let office = inner.office.as_mut().filter(|office| office.term == term);
        let still = office.is_some();
        if let Some(office) = office {
            office.until = until;
        }
        still
    }

    /// What the agent leads at this moment.
    pub fn office(&self, now: Instant) -> Option<Office> {
        self.inner().office.clone().filter(|o| now < o.until)
    }

    /// Resolves when the agent has given its leadership of this term up.
    pub(super) async fn given_up(&self, term: u64) {
        while self.inner().office.as_ref().map(|office| office.term) == Some(term) {
            self.vacated.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn office(term: u64, until: Instant) -> Office {
        Office {
            domain: "nlp".parse().unwrap_or_else(|_| unreachable!()),
            term,
            until,
        }
    }

    #[tokio::test]
    async fn who_does_not_stand_does_not_lead() {
        let seat = Seat::default();
        let now = Instant::now();
        let later = now + Duration::from_secs(10);
        assert!(!seat.take(office(7, later)));
        seat.stand(true);
        assert!(seat.take(office(7, later)));
        assert_eq!(seat.office(now).map(|office| office.term), Some(7));
        assert_eq!(seat.office(later), None, "its time is over");
        seat.stand(false);
        assert_eq!(seat.office(now), None);
        seat.given_up(7).await;
        assert!(!seat.extend(7, later), "a late renewal brings nothing back");
        assert_eq!(seat.office(now), None);
    }

    #[test]
    fn a_renewal_moves_the_end_of_its_own_term_alone() {
        let seat = Seat::default();
        let now = Instant::now();
        let (soon, later) = (now + Duration::from_secs(1), now + Duration::from_secs(2));
        seat.stand(true);
        assert!(seat.take(office(7, soon)));
        assert!(!seat.extend(6, later));
        assert_eq!(seat.office(soon), None);
        assert!(seat.extend(7, later));
        assert_eq!(seat.office(soon).map(|office| office.term), Some(7));
    }
}
