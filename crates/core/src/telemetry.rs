//! Rate-limited log lines: the first occurrence is logged at once, then one line in each interval,
//! with the number of occurrences that it stands for.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Different lines that are told apart; beyond, they are counted together.
const MAX_LINES: usize = 64;

/// Decides which of many equal occurrences is written.
#[derive(Debug)]
pub struct Repeats {
    every: Duration,
    lines: Mutex<BTreeMap<String, Line>>,
}

#[derive(Debug)]
struct Line {
    written: Instant,
    left_out: u64,
}

impl Repeats {
    /// Writes each line at most once in `every`.
    pub const fn new(every: Duration) -> Self {
        Self {
            every,
            lines: Mutex::new(BTreeMap::new()),
        }
    }

    /// Something occurred: the number of occurrences that a line now stands for, or none when it is
    /// left out.
    pub fn due(&self, line: &str) -> Option<u64> {
        self.due_at(line, Instant::now())
    }

    fn due_at(&self, line: &str, now: Instant) -> Option<u64> {
        let mut lines = self.lines.lock();
        if !lines.contains_key(line) && lines.len() >= MAX_LINES {
            lines.retain(|_, line| now.saturating_duration_since(line.written) < self.every);
        }
        let known = lines.contains_key(line) || lines.len() < MAX_LINES;
        let line = if known { line } else { "" };
        let Some(found) = lines.get_mut(line) else {
            let written = Line {
                written: now,
                left_out: 0,
            };
            lines.insert(line.to_owned(), written);
            return Some(1);
        };
        if now.saturating_duration_since(found.written) < self.every {
            found.left_out = found.left_out.saturating_add(1);
            return None;
        }
        found.written = now;
        Some(std::mem::take(&mut found.left_out).saturating_add(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_written_and_then_one_with_the_number_of_the_others() {
        let repeats = Repeats::new(Duration::from_secs(5));
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        assert_eq!(repeats.due_at("a", at(0)), Some(1));
        assert_eq!(repeats.due_at("b", at(1)), Some(1), "another line");
        for millis in 1..100 {
            assert_eq!(repeats.due_at("a", at(millis)), None);
        }
        assert_eq!(repeats.due_at("a", at(5000)), Some(100));
        assert_eq!(repeats.due_at("a", at(10_000)), Some(1));
    }

    #[test]
    fn lines_that_strangers_choose_do_not_fill_the_memory() {
        let repeats = Repeats::new(Duration::from_secs(5));
        let now = Instant::now();
        let written = (0..1000).filter(|n| repeats.due_at(&n.to_string(), now).is_some());
        assert_eq!(written.count(), MAX_LINES + 1);
        assert_eq!(repeats.lines.lock().len(), MAX_LINES + 1);
        // Time makes room for new ones.
        let later = now + Duration::from_secs(6);
        assert_eq!(repeats.due_at("new", later), Some(1));
    }
}
