//! A server in memory for tests in paused time. It logs each call and each effect, loses calls and
//! answers, and kills the processes that call it.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod process;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};
use tokio::time::Instant;

use mistersmith_core::limits;
use mistersmith_nats::{DeliveryInfo, Entry};

use super::RetryRule;

pub(crate) use process::{Client, Process};

/// A call to the server, or an effect of an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Op {
    Ack,
    Term,
    Nak,
    Progress,
    ReadRecord,
    WriteRecord,
    WriteRegister,
    ReadRegisters,
    Purge,
    IsCancelled,
    ReadResult,
    WriteResult,
    Output,
    Letter,
    Report,
    Audit,
    Discard,
    Handle,
}

/// The fault of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The call does not reach the server; the caller gets an error after this time.
    Lost(Duration),
    /// The call takes effect, and the caller gets an error after this time.
    AnswerLost(Duration),
    /// The server rejects the call permanently.
    Refused,
    /// The call does not reach the server, and the caller gets no answer.
    Silence,
    /// The caller's process dies before the call takes effect.
    DiesBefore,
    /// The caller's process dies after the call took effect.
    DiesAfter,
}

/// The server. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Server(Arc<Mutex<State>>);

#[derive(Debug, Default)]
pub(crate) struct State {
    asked: Vec<(Instant, Op)>,
    done: Vec<(Instant, Op)>,
    /// Faults of the next calls, by operation.
    next: HashMap<Op, VecDeque<Fault>>,
    /// The fault of all calls of an operation.
    always: HashMap<Op, Fault>,
    /// Faults of the next calls of any operation, except in-progress acks.
    schedule: VecDeque<Option<Fault>>,
    /// The bucket ATTEMPTS.
    pub(crate) keys: BTreeMap<String, Entry>,
    revision: u64,
    /// Acknowledgements: reply subject and payload.
    pub(crate) acks: Vec<(String, String)>,
    /// Whether the outcomes of all items are cancelled.
    pub(crate) cancelled: bool,
    /// Recorded results, by key.
    pub(crate) results: BTreeMap<String, Bytes>,
    /// Each write of an output: its id and payload.
    pub(crate) writes: Vec<(String, Bytes)>,
    /// Outputs by id; like the stream, it keeps the first of each id.
    pub(crate) outputs: BTreeMap<String, Bytes>,
    /// Dead letters by id.
    pub(crate) letters: BTreeMap<String, String>,
    /// The number of deliveries of the item of [`Server::deliver`].
    deliveries: u64,
    /// When that item is delivered next.
    due: Option<Instant>,
    /// Whether it is acknowledged or terminated.
    pub(crate) gone: bool,
}

impl Server {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock()
    }

    /// Sets the fault of the next call of this operation that has none yet.
    pub(crate) fn next(&self, op: Op, fault: Fault) {
        self.state().next.entry(op).or_default().push_back(fault);
    }

    /// Sets the fault of all calls of this operation until [`Server::heal`].
    pub(crate) fn always(&self, op: Op, fault: Fault) {
        self.state().always.insert(op, fault);
    }

    /// Removes the faults of all calls.
    pub(crate) fn heal(&self) {
        self.state().always.clear();
    }

    /// Sets the faults of the next calls, in order.
    pub(crate) fn schedule(&self, faults: Vec<Option<Fault>>) {
        self.state().schedule = faults.into();
    }

    /// When this operation was called.
    pub(crate) fn asked(&self, op: Op) -> Vec<Instant> {
        let state = self.state();
        let asked = state.asked.iter().filter(|(_, asked)| *asked == op);
        asked.map(|(at, _)| *at).collect()
    }

    /// The effects in order, without in-progress acks and register writes.
    pub(crate) fn done(&self) -> Vec<Op> {
        let background = [Op::Progress, Op::WriteRegister];
        let state = self.state();
        let done = state.done.iter().map(|(_, op)| *op);
        done.filter(|op| !background.contains(op)).collect()
    }

    /// Whether this operation ever took effect.
    pub(crate) fn did(&self, op: Op) -> bool {
        self.state().done.iter().any(|(_, done)| *done == op)
    }

    /// The delays of all naks.
    pub(crate) fn naks(&self) -> Vec<Duration> {
        let state = self.state();
        let delays = state.acks.iter().filter_map(|(_, payload)| delay(payload));
        delays.collect()
    }

    /// The values of all registers.
    pub(crate) fn registers(&self) -> Vec<String> {
        let state = self.state();
        let open = state
            .keys
            .iter()
            .filter(|(key, _)| key.starts_with("open."));
        open.map(|(_, entry)| String::from_utf8(entry.value.to_vec()).unwrap())
            .collect()
    }

    /// The record of an item; empty without one.
    pub(crate) fn record(&self, sequence: u64) -> String {
        let start = format!("item.WORK_QUEUE.{sequence}.");
        let state = self.state();
        let found = state.keys.iter().find(|(key, _)| key.starts_with(&start));
        found.map_or_else(String::new, |(_, entry)| {
            String::from_utf8(entry.value.to_vec()).unwrap()
        })
    }

    /// Delivers the item when it is due: at first, after the delay of its nak, after the ack wait.
    pub(crate) fn deliver(&self) -> Option<DeliveryInfo> {
        let mut state = self.state();
        let now = Instant::now();
        if state.gone || state.due.is_some_and(|due| due > now) {
            return None;
        }
        state.deliveries += 1;
        state.due = Some(now + limits::ACK_WAIT);
        Some(delivery(1, state.deliveries))
    }
}

impl State {
    /// Logs a call; returns its fault.
    fn asked(&mut self, op: Op) -> Option<Fault> {
        self.asked.push((Instant::now(), op));
        let next = self.next.get_mut(&op).and_then(VecDeque::pop_front);
        let scheduled = match op {
            Op::Progress => None,
            _ => self.schedule.pop_front().flatten(),
        };
        next.or(scheduled).or(self.always.get(&op).copied())
    }

    fn acknowledged(&mut self, reply: &str, payload: &str) {
        match payload {
            "+ACK" | "+TERM" => self.gone = true,
            "+WPI" => self.due = Some(Instant::now() + limits::ACK_WAIT),
            nak => self.due = Some(Instant::now() + delay(nak).unwrap()),
        }
        self.acks.push((reply.to_owned(), payload.to_owned()));
    }

    fn write(&mut self, key: &str, value: Bytes) -> u64 {
        self.revision += 1;
        let revision = self.revision;
        self.keys.insert(key.to_owned(), Entry { value, revision });
        revision
    }
}

/// The delay of a nak.
fn delay(payload: &str) -> Option<Duration> {
    let delay = payload
        .strip_prefix("-NAK {\"delay\":")?
        .strip_suffix('}')?;
    Some(Duration::from_nanos(delay.parse().unwrap()))
}

/// A delivery of an item.
pub(crate) fn delivery(sequence: u64, deliveries: u64) -> DeliveryInfo {
    DeliveryInfo {
        stream: "WORK_QUEUE".to_owned(),
        consumer: "workers".to_owned(),
        stream_sequence: sequence,
        deliveries,
        stored_at_ns: 7,
        pending: 0,
    }
}

/// A rule with pauses of one and five seconds.
pub(crate) fn rule(max_deliver: u32) -> RetryRule {
    RetryRule {
        max_deliver,
        backoff: vec![Duration::from_secs(1), Duration::from_secs(5)],
    }
}
