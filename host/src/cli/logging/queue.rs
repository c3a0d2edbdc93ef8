//! The queue of log lines, and the thread that writes them to standard error.
//!
//! A host never waits for the reader of its log, and never fails with it. A line that finds the
//! queue full, or that standard error refuses, is dropped and counted; the count is reported as
//! soon as a line gets through again. Without the queue, a reader that does not read would block
//! every thread that logs, and with them the lease.

use std::io::{ErrorKind, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Most bytes waiting for the thread. The thread holds as many while it writes them.
pub(super) const WAITING: usize = 4 * 1024 * 1024;
/// Most bytes of one write, so that lines stay whole where another process writes to the same pipe
/// (`PIPE_BUF`); a longer line is a write of its own.
const WRITE: usize = 4096;
/// Capacity that an empty buffer keeps.
const KEPT: usize = 256 * 1024;
/// Pause before retrying a non-blocking standard error that is full.
const FULL_PAUSE: Duration = Duration::from_millis(10);

/// Lines waiting for standard error. Cheap to clone; the clones share the lines.
#[derive(Debug, Clone, Default)]
pub(super) struct Queue(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// Signalled when there are lines to write.
    filled: Condvar,
    /// Signalled when everything is written.
    emptied: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Whole lines.
    waiting: Vec<u8>,
    /// Number of lines dropped after those that wait.
    dropped: u64,
    /// The thread has taken lines and not written all of them yet.
    writing: bool,
}

impl Queue {
    /// Adds lines, or counts them where there is no room. Never waits for the reader.
    pub(super) fn push(&self, lines: &[u8]) {
        let mut state = self.state();
        // Lines after a dropped one are dropped too until the thread takes the queue, so that the
        // report stands at the gap.
        if state.dropped > 0 || state.waiting.len() + lines.len() > WAITING {
            state.dropped += count(lines);
        } else {
            state.waiting.extend_from_slice(lines);
        }
        drop(state);
        self.0.filled.notify_one();
    }

    /// Waits until every line is written, at most for `limit`; returns whether they are.
    pub(super) fn flush(&self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        let mut state = self.state();
        while state.writing || !state.waiting.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let waited = self.0.emptied.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// Writes added lines as long as the process lives. `report` makes the line with the number of
    /// dropped ones.
    pub(super) fn write_to(&self, out: impl Write, report: impl Fn(u64) -> String) {
        let mut output = Output {
            out,
            torn: false,
            lost: 0,
        };
        let mut lines = Vec::new();
        loop {
            let dropped = self.take(&mut lines);
            output.pass(&lines, dropped, &report);
            lines.clear();
            lines.shrink_to(KEPT);
            self.state().writing = false;
            self.0.emptied.notify_all();
        }
    }

    /// Waits for lines and takes all of them; returns how many were dropped after them.
    fn take(&self, lines: &mut Vec<u8>) -> u64 {
        let mut state = self.state();
        while state.waiting.is_empty() && state.dropped == 0 {
            let waited = self.0.filled.wait(state);
            state = waited.unwrap_or_else(PoisonError::into_inner);
        }
        state.writing = true;
        std::mem::swap(&mut state.waiting, lines);
        std::mem::take(&mut state.dropped)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        let locked = self.0.state.lock();
        locked.unwrap_or_else(PoisonError::into_inner)
    }
}

/// Implemented for tracing: each event is one write.
impl Write for Queue {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        self.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Standard error, and the state of lines it did not take.
struct Output<W> {
    out: W,
    /// The last write ended inside a line.
    torn: bool,
    /// Lost lines not yet reported.
    lost: u64,
}

impl<W: Write> Output<W> {
    /// Writes lines after which others were dropped; the loss is reported at the gap.
    fn pass(&mut self, lines: &[u8], dropped: u64, report: &impl Fn(u64) -> String) {
        self.confess(report);
        let mut rest = lines;
        while !rest.is_empty() {
            let (chunk, behind) = rest.split_at(whole_lines(rest));
            if self.lost > 0 || self.write(chunk).is_err() {
                self.lost += count(rest);
                break;
            }
            rest = behind;
        }
        if dropped > 0 {
            self.lost += dropped;
            self.confess(report);
        }
    }

    fn confess(&mut self, report: &impl Fn(u64) -> String) {
        if self.lost > 0 && self.write(report(self.lost).as_bytes()).is_ok() {
            self.lost = 0;
        }
    }

    /// Writes everything, even when standard error is non-blocking.
    fn write(&mut self, lines: &[u8]) -> std::io::Result<()> {
        if self.torn {
            self.write_all(b"\n")?;
        }
        self.write_all(lines)
    }

    fn write_all(&mut self, mut bytes: &[u8]) -> std::io::Result<()> {
        while !bytes.is_empty() {
            match self.out.write(bytes) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => {
                    let (done, rest) = bytes.split_at(written.min(bytes.len()));
                    self.torn = !done.ends_with(b"\n");
                    bytes = rest;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    std::thread::sleep(FULL_PAUSE);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// The bytes of as many whole lines as fit into one write; at least one line.
fn whole_lines(lines: &[u8]) -> usize {
    let end = |byte: &u8| *byte == b'\n';
    let first = lines.get(..WRITE).unwrap_or(lines);
    let last = first.iter().rposition(end);
    let last = last.or_else(|| lines.iter().position(end));
    last.map_or(lines.len(), |at| at + 1)
}

fn count(lines: &[u8]) -> u64 {
    lines.iter().filter(|byte| **byte == b'\n').count() as u64
}

#[cfg(test)]
mod tests;
