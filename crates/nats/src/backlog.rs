//! A FIFO queue in segments of a fixed size, each freed when it is empty.
//!
//! A ring buffer that has become too small is copied with everything in it, and keeps its largest
//! size: one burst would delay its reader, and hold memory long after.

use std::collections::VecDeque;

/// Elements of a piece. The last piece stays when the queue is empty.
const PIECE: usize = 256;
/// So many pieces cost next to nothing.
const FEW: usize = 16;

/// First in, first out. Empty, it has allocated nothing.
#[derive(Debug)]
pub struct Backlog<T> {
    /// None of them is empty, unless it is the only one. Only the last one grows.
    pieces: VecDeque<VecDeque<T>>,
    len: usize,
}

impl<T> Default for Backlog<T> {
    fn default() -> Self {
        Self {
            pieces: VecDeque::new(),
            len: 0,
        }
    }
}

impl<T> Backlog<T> {
    /// Adds an element behind all others.
    pub fn push(&mut self, element: T) {
        self.len += 1;
        match self.pieces.back_mut() {
            Some(last) if last.len() < PIECE => last.push_back(element),
            _ => self.pieces.push_back(VecDeque::from([element])),
        }
    }

    /// Takes the element that has waited longest.
    pub fn pop(&mut self) -> Option<T> {
        let first = self.pieces.front_mut()?;
        let element = first.pop_front()?;
        self.len -= 1;
        if first.is_empty() && self.pieces.len() > 1 {
            self.pieces.pop_front();
            if self.pieces.len() == 1 && self.pieces.capacity() > FEW {
                self.pieces.shrink_to(FEW);
            }
        }
        Some(element)
    }

    /// How many elements wait.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_come_out_as_they_went_in() {
        let mut backlog = Backlog::default();
        assert_eq!(backlog.pop(), None);
        let (mut next, mut expected) = (0_u32, 0_u32);
        // It is filled and emptied, by more and by less than a piece.
        for (add, take) in [(1, 1), (255, 100), (2000, 500), (0, 1655), (300, 300)] {
            for _ in 0..add {
                backlog.push(next);
                next += 1;
            }
            for _ in 0..take {
                assert_eq!(backlog.pop(), Some(expected));
                expected += 1;
            }
            assert_eq!(backlog.len(), (next - expected) as usize);
            assert_eq!(backlog.is_empty(), next == expected);
        }
        assert_eq!(backlog.pop(), None);
    }

    #[test]
    fn what_a_burst_took_is_given_back() {
        let mut backlog = Backlog::default();
        assert_eq!(backlog.pieces.capacity(), 0);
        for number in 0..200_000 {
            backlog.push(number);
        }
        while backlog.pop().is_some() {}
        assert_eq!((backlog.len(), backlog.pieces.len()), (0, 1));
        assert!(backlog.pieces.capacity() <= 2 * FEW);
        assert!(backlog.pieces.iter().all(|piece| piece.capacity() <= PIECE));
    }

    #[test]
    fn a_steady_flow_stays_in_one_piece() {
        let mut backlog = Backlog::default();
        for number in 0..10_000 {
            backlog.push(number);
            backlog.push(number);
            backlog.pop();
            backlog.pop();
        }
        assert_eq!(backlog.pieces.len(), 1);
        assert!(backlog.pieces.iter().all(|piece| piece.capacity() <= 8));
    }
}
