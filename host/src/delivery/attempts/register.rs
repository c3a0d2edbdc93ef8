//! Registers: the open attempts of a process, in memory, and the writes that are due.
//!
//! Sixteen agents of a plugin share a register, so that one write covers attempts of several. Each
//! write replaces the register's value in ATTEMPTS: nothing has to be removed, and an attempt that
//! ends before the write costs nothing.

use std::time::Duration;

use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::sync::Notify;
use tokio::time::Instant;

use mistersmith_core::limits;
use mistersmith_core::names::AgentId;

use super::record::{Attempt, Item};

/// The open attempts of some agents.
#[derive(Debug)]
pub struct Register {
    pub(super) key: String,
    process: String,
    state: Mutex<State>,
    stored: Notify,
}

#[derive(Debug, Default)]
struct State {
    open: Vec<Open>,
    /// The number of the newest attempt.
    newest: u64,
    /// The stored value is complete up to this number.
    stored: u64,
    /// The stored value has an attempt that must be removed.
    stale: bool,
    /// Since when the register is in the recorder's queue.
    queued: Option<Instant>,
    /// An attempt waits for the write.
    urgent: bool,
    writing: bool,
    /// When it was last written.
    written: Option<Instant>,
    /// The earliest retry after a write that failed.
    not_before: Option<Instant>,
}

/// An attempt that has not ended.
#[derive(Debug, Clone)]
struct Open {
    number: u64,
    item: Item,
    at: OffsetDateTime,
    since: Instant,
    agent: AgentId,
    delivery: u64,
    /// Whether the record of its item has it.
    recorded: bool,
}

/// An attempt that begins.
#[derive(Debug)]
pub(super) struct Beginning<'a> {
    pub(super) item: Item,
    pub(super) agent: &'a AgentId,
    pub(super) delivery: u64,
}

/// The next step for a register.
#[derive(Debug)]
pub(super) enum Due {
    /// Nothing: its attempts have ended.
    Nothing,
    /// A write is running: check again when it completes.
    Busy,
    /// A write is due at this time.
    Later(Instant),
    /// Write this value, which is complete up to the number.
    Write(Bytes, u64),
    /// The value would be too large: move its attempts to the records of their items.
    Crowded,
}

/// The value of `open.<host id>.<started>.<plugin>.<number>`.
#[derive(Debug, Serialize, Deserialize)]
struct Value {
    attempts: Vec<Listed>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Listed {
    item: String,
    #[serde(flatten)]
    attempt: Attempt,
}

impl Register {
    pub(super) fn new(key: String, process: &str) -> Self {
        Self {
            key,
            process: process.to_owned(),
            state: Mutex::default(),
            stored: Notify::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Adds an attempt; returns its number, and whether the register must be queued for the
    /// recorder.
    pub(super) fn begin(&self, beginning: Beginning<'_>, urgent: bool) -> (u64, bool) {
        let mut state = self.state();
        state.newest += 1;
        let number = state.newest;
        state.open.push(Open {
            number,
            item: beginning.item,
            at: OffsetDateTime::now_utc(),
            since: Instant::now(),
            agent: beginning.agent.clone(),
            delivery: beginning.delivery,
            recorded: false,
        });
        let tell = state.queued.is_none() || (urgent && !state.urgent);
        state.queued.get_or_insert_with(Instant::now);
        state.urgent |= urgent;
        (number, tell)
    }

    /// Removes an attempt that has ended and whose item is done or recorded. Returns whether the
    /// record of its item has it.
    pub(super) fn end(&self, number: u64) -> bool {
        let mut state = self.state();
        let place = state.open.iter().position(|open| open.number == number);
        place.is_some_and(|place| state.open.swap_remove(place).recorded)
    }

    /// Removes an attempt that did not begin, also from the stored value.
    pub(super) fn withdraw(&self, number: u64) {
        self.end(number);
        let mut state = self.state();
        state.stale = true;
        state.urgent = true;
        state.queued.get_or_insert_with(Instant::now);
    }

    /// Resolves when the stored value has the attempt of this number.
    pub(super) async fn is_stored(&self, number: u64) {
        loop {
            let stored = self.stored.notified();
            tokio::pin!(stored);
            stored.as_mut().enable();
            if self.state().stored >= number {
                return;
            }
            stored.await;
        }
    }

    /// The next step for the register; `most` bytes is the limit of its value.
    pub(super) fn due(&self, now: Instant, most: usize) -> Due {
        let mut state = self.state();
        if state.writing {
            return Due::Busy;
        }
        let stored = state.stored;
        let is_new = |open: &Open| open.number > stored && !open.recorded;
        let Some(queued) = state
            .queued
            .filter(|_| state.stale || state.open.iter().any(is_new))
        else {
            // Attempts that ended meanwhile release their waiters.
            state.stored = state.newest;
            (state.queued, state.urgent) = (None, false);
            self.stored.notify_waiters();
            return Due::Nothing;
        };
        let gap = state.written.map(|at| at + limits::ATTEMPT_GAP);
        let calm = gap.map_or(queued + limits::ATTEMPT_DELAY, |gap| {
            gap.max(queued + limits::ATTEMPT_DELAY)
        });
        let at = if state.urgent { now } else { calm };
        let at = state.not_before.map_or(at, |not_before| at.max(not_before));
        if at > now {
            return Due::Later(at);
        }
        let value = self.value(&state.open);
        state.writing = true;
        if value.len() > most {
            return Due::Crowded;
        }
        (state.queued, state.urgent, state.stale) = (None, false, false);
        Due::Write(value, state.newest)
    }

    fn value(&self, open: &[Open]) -> Bytes {
        let unrecorded = open.iter().filter(|open| !open.recorded);
        let attempts = unrecorded.map(|open| Listed {
            item: open.item.name(),
            attempt: self.attempt(open),
        });
        let value = Value {
            attempts: attempts.collect(),
        };
        // Serialising strings and numbers to JSON does not fail.
        serde_json::to_vec(&value).unwrap_or_default().into()
    }

    fn attempt(&self, open: &Open) -> Attempt {
        Attempt {
            // Formatting fails only for years beyond 9999.
            at: open.at.format(&Rfc3339).unwrap_or_default(),
            agent_id: open.agent.as_str().to_owned(),
            process: self.process.clone(),
            delivery: open.delivery,
            kind: None,
            error: None,
        }
    }

    /// Records the end of a write: of the value up to `number`, or of a relief when there is none.
    pub(super) fn wrote(&self, number: Option<u64>, well: bool) {
        let now = Instant::now();
        let mut state = self.state();
        state.writing = false;
        if well {
            state.not_before = None;
        } else {
            state.stale = true;
            state.queued.get_or_insert(now);
            state.not_before = Some(now + limits::ATTEMPT_RETRY);
        }
        if let Some(number) = number.filter(|_| well) {
            state.stored = state.stored.max(number);
            state.written = Some(now);
        }
        drop(state);
        self.stored.notify_waiters();
    }

    /// The attempts older than `age` that no record has yet, oldest first.
    pub(super) fn older_than(&self, age: Duration) -> Vec<(u64, Item, Attempt)> {
        let state = self.state();
        let old = state.open.iter();
        let old = old.filter(|open| !open.recorded && open.since.elapsed() >= age);
        let mut old: Vec<_> = old
            .map(|open| (open.number, open.item.clone(), self.attempt(open)))
            .collect();
        old.sort_unstable_by_key(|(number, ..)| *number);
        old
    }

    /// The attempt of this number, if it is open.
    pub(super) fn of(&self, number: u64) -> Option<(Item, Attempt)> {
        let state = self.state();
        let open = state.open.iter().find(|open| open.number == number)?;
        Some((open.item.clone(), self.attempt(open)))
    }

    /// Marks the attempt as recorded with its item, so that the value may omit it.
    pub(super) fn recorded(&self, number: u64) {
        let mut state = self.state();
        if let Some(open) = state.open.iter_mut().find(|open| open.number == number) {
            open.recorded = true;
        }
    }

    /// Whether this attempt at this item is open here.
    pub(super) fn has(&self, item: &Item, attempt: &Attempt) -> bool {
        let state = self.state();
        let mut open = state.open.iter().filter(|open| open.item == *item);
        open.any(|open| self.attempt(open).at == attempt.at)
    }

    /// Whether every open attempt is also in a record.
    pub(super) fn says_nothing(&self) -> bool {
        self.state().open.iter().all(|open| open.recorded)
    }
}

/// Parses the value of a register; empty for a foreign value.
pub(super) fn read(value: &[u8]) -> Vec<(Item, Attempt)> {
    let value: Value = serde_json::from_slice(value).unwrap_or(Value {
        attempts: Vec::new(),
    });
    let listed = value.attempts.into_iter();
    listed
        .filter_map(|listed| Some((Item::parse(&listed.item)?, listed.attempt)))
        .collect()
}

#[cfg(test)]
mod tests;
