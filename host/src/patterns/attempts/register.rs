//! Registers: which attempts of a process have begun and not ended. In memory, and what is due to
//! be stored of it.
//!
//! Sixteen agents of a plugin share one, so that a write covers what several of them have begun.
//! Its value in ATTEMPTS is replaced by each write: nothing has to be removed, and what ended
//! before it was ever written costs nothing.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::sync::Notify;

use crate::limits;
use crate::names::AgentId;

use super::record::{Attempt, Item};

/// Attempts of some agents.
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
    /// The number of the attempt that was begun last.
    newest: u64,
    /// The stored value has everything up to this number.
    stored: u64,
    /// It has something that must go.
    stale: bool,
    /// The recorder knows that there is something to write.
    queued: Option<Instant>,
    /// Somebody waits for it.
    urgent: bool,
    writing: bool,
    /// When it was last written.
    written: Option<Instant>,
    /// Not before, after a write that failed.
    not_before: Option<Instant>,
}

/// An attempt that has not ended.
#[derive(Debug, Clone)]
struct Open {
    number: u64,
    item: Item,
    at: OffsetDateTime,
    agent: AgentId,
    delivery: u64,
    /// It stands in the record of its item.
    recorded: bool,
}

/// What has begun.
#[derive(Debug)]
pub(super) struct Beginning<'a> {
    pub(super) item: Item,
    pub(super) agent: &'a AgentId,
    pub(super) delivery: u64,
}

/// What is to be done about a register now.
#[derive(Debug)]
pub(super) enum Due {
    /// Nothing: what had begun has ended.
    Nothing,
    /// It is being written: look again when that is done.
    Busy,
    /// Not before.
    Later(Instant),
    /// This value is to be written; it has everything up to the number.
    Write(Bytes, u64),
    /// Its value would be too large: the oldest attempts are to be recorded with their items.
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
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes an attempt in; returns its number, and whether the recorder has to hear of it.
    pub(super) fn begin(&self, beginning: Beginning<'_>, urgent: bool) -> (u64, bool) {
        let mut state = self.state();
        state.newest += 1;
        let number = state.newest;
        state.open.push(Open {
            number,
            item: beginning.item,
            at: OffsetDateTime::now_utc(),
            agent: beginning.agent.clone(),
            delivery: beginning.delivery,
            recorded: false,
        });
        let tell = state.queued.is_none() || (urgent && !state.urgent);
        state.queued.get_or_insert_with(Instant::now);
        state.urgent |= urgent;
        (number, tell)
    }

    /// The attempt has ended, and what became of its item is known elsewhere. Returns whether it
    /// stands in the record of its item.
    pub(super) fn end(&self, number: u64) -> bool {
        let mut state = self.state();
        let place = state.open.iter().position(|open| open.number == number);
        place.is_some_and(|place| state.open.swap_remove(place).recorded)
    }

    /// The attempt was not begun after all: the stored value must not say so.
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

    /// What is to be written; `most` bytes are the largest value.
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
            // Those who wait for what has ended meanwhile need not wait.
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
        // Texts and numbers always have a form in JSON.
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

    /// The value with everything up to `number` was written, or made smaller where there is none;
    /// or not.
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

    /// The attempts that have been open for so long and stand in no record yet, oldest first.
    pub(super) fn older_than(&self, age: Duration) -> Vec<(u64, Item, Attempt)> {
        let state = self.state();
        let before = OffsetDateTime::now_utc() - age;
        let old = state.open.iter();
        let old = old.filter(|open| !open.recorded && open.at <= before);
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

    /// The attempt of this number stands in the record of its item: the value need not have it.
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

    /// No attempt is open that stands nowhere else.
    pub(super) fn says_nothing(&self) -> bool {
        self.state().open.iter().all(|open| open.recorded)
    }
}

/// Reads the value of a register; nothing where it is none of ours.
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
