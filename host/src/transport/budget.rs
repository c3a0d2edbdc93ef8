//! Bytes that may wait in several places together.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// So many bytes may wait in several places together. Clones share it.
#[derive(Debug, Clone)]
pub struct Budget(Arc<Room>);

#[derive(Debug)]
struct Room {
    /// Bytes of all charges.
    charged: AtomicUsize,
    /// Bytes in the queue whose owner counts them itself.
    apart: AtomicUsize,
    most: usize,
}

/// A part of a budget, given back when dropped.
#[derive(Debug)]
pub struct Charge {
    room: Arc<Room>,
    bytes: usize,
}

impl Budget {
    /// A budget of so many bytes.
    pub fn new(most: usize) -> Self {
        Self(Arc::new(Room {
            charged: AtomicUsize::new(0),
            apart: AtomicUsize::new(0),
            most,
        }))
    }

    /// Takes a part, if all stay within the budget. Where nothing waits, one part of any size is
    /// granted: a message that is larger than the budget must not be refused for ever.
    pub fn take(&self, bytes: usize) -> Option<Charge> {
        let mut charge = self.nothing();
        charge.grow(bytes, 0).then_some(charge)
    }

    /// A part without any bytes, to be grown.
    pub fn nothing(&self) -> Charge {
        Charge {
            room: self.0.clone(),
            bytes: 0,
        }
    }

    /// How many bytes wait.
    pub fn used(&self) -> usize {
        self.0.used()
    }

    /// How many bytes more may wait.
    pub fn free(&self) -> usize {
        self.0.most.saturating_sub(self.0.used())
    }

    /// Whether so many bytes in all are more than may wait.
    pub fn is_exceeded_by(&self, bytes: usize) -> bool {
        bytes > self.0.most
    }

    /// Bytes in all charges, without what is counted apart.
    pub fn charged(&self) -> usize {
        self.0.charged.load(Ordering::Acquire)
    }

    /// Says how many bytes wait in the one queue that counts them itself, under its own lock: a store
    /// costs less than what two threads add to and take from.
    pub fn count_apart(&self, bytes: usize) {
        self.0.apart.store(bytes, Ordering::Release);
    }

    /// What was counted apart last.
    pub fn apart(&self) -> usize {
        self.0.apart.load(Ordering::Acquire)
    }
}

impl Room {
    fn used(&self) -> usize {
        let charged = self.charged.load(Ordering::Acquire);
        charged.saturating_add(self.apart.load(Ordering::Acquire))
    }
}

impl Charge {
    /// Takes more, if all stay within the budget and `beyond`. Whether it did.
    pub fn grow(&mut self, bytes: usize, beyond: usize) -> bool {
        let room = &self.room;
        let charged = room.charged.fetch_add(bytes, Ordering::AcqRel);
        let before = charged.saturating_add(room.apart.load(Ordering::Acquire));
        let most = room.most.saturating_add(beyond);
        if before > 0 && before.saturating_add(bytes) > most {
            room.charged.fetch_sub(bytes, Ordering::AcqRel);
            return false;
        }
        self.bytes += bytes;
        true
    }

    /// Gives a part of it back.
    pub fn shrink(&mut self, bytes: usize) {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        self.room.charged.fetch_sub(bytes, Ordering::AcqRel);
    }

    /// How many bytes wait in the budget that it is a part of.
    pub fn used(&self) -> usize {
        self.room.used()
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.room.charged.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_waits_in_all_places_together_is_bounded() {
        let budget = Budget::new(100);
        let first = budget.take(60).unwrap();
        assert!(budget.take(41).is_none());
        assert_eq!((budget.used(), budget.free()), (60, 40));
        budget.count_apart(30);
        assert!(budget.take(11).is_none(), "what is counted apart counts");
        let second = budget.take(10).unwrap();
        assert_eq!(budget.used(), 100);
        drop((first, second));
        assert_eq!(
            (budget.used(), budget.charged(), budget.apart()),
            (30, 0, 30)
        );
        assert!(!budget.is_exceeded_by(100) && budget.is_exceeded_by(101));
    }

    #[test]
    fn a_part_grows_and_shrinks_and_is_given_back() {
        let budget = Budget::new(100);
        let mut part = budget.nothing();
        assert!(part.grow(90, 0));
        assert!(!part.grow(20, 0));
        assert!(
            part.grow(20, 10),
            "within what it may have beyond the budget"
        );
        assert!(budget.take(1).is_none());
        part.shrink(50);
        assert_eq!((budget.used(), part.used()), (60, 60));
        part.shrink(usize::MAX);
        assert_eq!(budget.used(), 0, "no more than it has");
        assert!(part.grow(1, 0));
        drop(part);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn one_part_of_any_size_is_granted_where_nothing_waits() {
        let budget = Budget::new(100);
        let large = budget.take(1000).unwrap();
        assert!(budget.take(1).is_none());
        drop(large);
        budget.count_apart(1);
        assert!(budget.take(1000).is_none());
    }
}
