//! A budget of bytes that several queues share, and the parts that are taken of it.
//!
//! The sum of all parts never exceeds the budget, except that one part of any size is granted
//! where nothing waits: a message that is larger than the budget would otherwise be refused each
//! time. A part gives its bytes back when it is dropped, so no path that loses a message can leak
//! the budget until nothing is admitted.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A number of bytes that may wait in several queues together. Clones share it.
#[derive(Debug, Clone)]
pub struct ByteBudget(Arc<Room>);

#[derive(Debug)]
struct Room {
    /// Bytes of all charges.
    charged: AtomicUsize,
    /// Bytes in the queue whose owner counts them under its own lock.
    external: AtomicUsize,
    most: usize,
}

/// A part of a budget, given back when dropped.
#[derive(Debug)]
pub struct ByteCharge {
    room: Arc<Room>,
    bytes: usize,
}

impl ByteBudget {
    /// A budget of so many bytes.
    pub fn new(most: usize) -> Self {
        Self(Arc::new(Room {
            charged: AtomicUsize::new(0),
            external: AtomicUsize::new(0),
            most,
        }))
    }

    /// Takes a part, if the sum stays within the budget, or nothing else waits.
    pub fn take(&self, bytes: usize) -> Option<ByteCharge> {
        let mut charge = self.nothing();
        charge.grow(bytes, 0).then_some(charge)
    }

    /// A part without any bytes, to be grown.
    pub fn nothing(&self) -> ByteCharge {
        ByteCharge {
            room: self.0.clone(),
            bytes: 0,
        }
    }

    /// How many bytes are used.
    pub fn used(&self) -> usize {
        self.0.used()
    }

    /// How many bytes are left.
    pub fn free(&self) -> usize {
        self.0.most.saturating_sub(self.0.used())
    }

    /// Whether so many bytes are more than the whole budget.
    pub fn is_exceeded_by(&self, bytes: usize) -> bool {
        bytes > self.0.most
    }

    /// Bytes of all charges, without the external ones.
    pub fn charged(&self) -> usize {
        self.0.charged.load(Ordering::Acquire)
    }

    /// Sets the bytes of the one queue that counts its own under its own lock: a store costs less
    /// than a counter that two threads add to and subtract from.
    pub fn set_external(&self, bytes: usize) {
        self.0.external.store(bytes, Ordering::Release);
    }

    /// The bytes that were set by [`set_external`](Self::set_external).
    pub fn external(&self) -> usize {
        self.0.external.load(Ordering::Acquire)
    }
}

impl Room {
    fn used(&self) -> usize {
        let charged = self.charged.load(Ordering::Acquire);
        charged.saturating_add(self.external.load(Ordering::Acquire))
    }
}

impl ByteCharge {
    /// Takes more, if the sum stays within the budget plus `beyond`, or nothing else waits. Returns
    /// whether it did.
    pub fn grow(&mut self, bytes: usize, beyond: usize) -> bool {
        let room = &self.room;
        let charged = room.charged.fetch_add(bytes, Ordering::AcqRel);
        let before = charged.saturating_add(room.external.load(Ordering::Acquire));
        let most = room.most.saturating_add(beyond);
        if before > 0 && before.saturating_add(bytes) > most {
            room.charged.fetch_sub(bytes, Ordering::AcqRel);
            return false;
        }
        self.bytes += bytes;
        true
    }

    /// Gives some of its bytes back.
    pub fn shrink(&mut self, bytes: usize) {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        self.room.charged.fetch_sub(bytes, Ordering::AcqRel);
    }

    /// How many bytes of the whole budget are used.
    pub fn used(&self) -> usize {
        self.room.used()
    }
}

impl Drop for ByteCharge {
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
        let budget = ByteBudget::new(100);
        let first = budget.take(60).unwrap();
        assert!(budget.take(41).is_none());
        assert_eq!((budget.used(), budget.free()), (60, 40));
        budget.set_external(30);
        assert!(budget.take(11).is_none(), "external bytes count");
        let second = budget.take(10).unwrap();
        assert_eq!(budget.used(), 100);
        drop((first, second));
        assert_eq!(
            (budget.used(), budget.charged(), budget.external()),
            (30, 0, 30)
        );
        assert!(!budget.is_exceeded_by(100) && budget.is_exceeded_by(101));
    }

    #[test]
    fn a_part_grows_and_shrinks_and_is_given_back() {
        let budget = ByteBudget::new(100);
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
        let budget = ByteBudget::new(100);
        let large = budget.take(1000).unwrap();
        assert!(budget.take(1).is_none());
        drop(large);
        budget.set_external(1);
        assert!(budget.take(1000).is_none());
    }
}
