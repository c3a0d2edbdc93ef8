//! The circuit breaker of a service: calls that keep failing are not made for a while.
//!
//! [`Gate`] is asked before each call and told of its end; it decides here and now (`breaker`). Its
//! state is shared with other hosts and plugins of the same service by a record in CIRCUITS
//! ([`share`]), by compare-and-swap, which also gives one of them the right to the one probe. Work for
//! an open circuit is not pulled, and what was pulled is held: that is delay, and counts as no try.
//! What is published on `circuit.<service>.…` reports, and decides nothing.

mod breaker;
mod record;
mod share;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::config::CircuitSpec;
use crate::runtime::{CircuitState, Failure, Outcome};

use super::disposition::Reason;
use breaker::{Breaker, State, Ticket};

pub use breaker::Verdict;
pub use share::{Sharing, share};

/// The gate before the calls of one plugin on this host; always open for one without `[circuit]`.
#[derive(Debug)]
pub struct Gate {
    /// There is a circuit. Most plugins have none, and their messages take no lock for it.
    stands: AtomicBool,
    inner: Mutex<Inner>,
    changes: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Inner {
    circuit: Option<(CircuitSpec, Breaker)>,
    /// Of the failure that came last.
    last: Blame,
}

/// Who failed last, and how.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Blame {
    agent: String,
    error: String,
}

impl Default for Gate {
    fn default() -> Self {
        Self {
            stands: AtomicBool::new(false),
            inner: Mutex::default(),
            changes: watch::channel(0).0,
        }
    }
}

impl Gate {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stands before this service from here on, closed; or before none.
    pub fn stand_before(&self, spec: Option<CircuitSpec>) {
        let mut inner = self.inner();
        let same = inner.circuit.as_ref().map(|(before, _)| before) == spec.as_ref();
        if !same {
            inner.circuit = spec.map(|spec| {
                let breaker = Breaker::new(spec.failures);
                (spec, breaker)
            });
            self.stands
                .store(inner.circuit.is_some(), Ordering::Release);
            drop(inner);
            self.tell();
        }
    }

    fn stands(&self) -> bool {
        self.stands.load(Ordering::Acquire)
    }

    /// How many messages may be waiting for the plugin's agents or on their way to them.
    pub fn room(&self) -> usize {
        if !self.stands() {
            return usize::MAX;
        }
        let inner = self.inner();
        inner.circuit.as_ref().map_or(usize::MAX, |(_, b)| b.room())
    }

    /// Whether a call would be let through now.
    pub fn lets_through(&self) -> bool {
        self.room() > 0
    }

    /// Why a requester is not answered now.
    pub fn refusal(&self) -> Option<Reason> {
        if !self.stands() {
            return None;
        }
        let inner = self.inner();
        let (spec, breaker) = inner.circuit.as_ref()?;
        (breaker.room() == 0).then(|| {
            let text = format!(
                "the circuit of `{}` is open: {}",
                spec.service, inner.last.error
            );
            Reason::new("circuit-open", text)
        })
    }

    /// Lets a call through, or not. A pass that is dropped without a word gives a probe back.
    pub fn begin(self: &Arc<Self>) -> Option<Pass> {
        if !self.stands() {
            return Some(Pass(None));
        }
        let mut inner = self.inner();
        let Some((_, breaker)) = &mut inner.circuit else {
            return Some(Pass(None));
        };
        let ticket = breaker.begin()?;
        drop(inner);
        Some(Pass(Some((self.clone(), ticket))))
    }

    /// Resolves when the gate opened or closed since that was last looked at.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// The state of the circuit, if it is of this service.
    pub fn state_of(&self, service: &str) -> Option<CircuitState> {
        let inner = self.inner();
        let (spec, breaker) = inner.circuit.as_ref()?;
        (spec.service.as_str() == service).then(|| match breaker.state() {
            State::Closed { .. } => CircuitState::Closed,
            State::Open => CircuitState::Open,
            State::HalfOpen { .. } => CircuitState::HalfOpen,
        })
    }

    fn tell(&self) {
        self.changes.send_modify(|number| *number += 1);
    }

    fn update(&self, change: impl FnOnce(&mut Breaker)) {
        let mut inner = self.inner();
        let Some((_, breaker)) = &mut inner.circuit else {
            return;
        };
        let before = (breaker.state(), breaker.room());
        change(breaker);
        let after = (breaker.state(), breaker.room());
        drop(inner);
        if before != after {
            self.tell();
        }
    }

    /// The state, and the number of the span in which it is.
    fn state(&self) -> (State, u64) {
        let inner = self.inner();
        let closed = (State::Closed { failures: 0 }, 0);
        let circuit = inner.circuit.as_ref();
        circuit.map_or(closed, |(_, b)| (b.state(), b.span()))
    }
}

/// A call that was let through; by the circuit, if there is one.
#[derive(Debug)]
pub struct Pass(Option<(Arc<Gate>, Ticket)>);

impl Pass {
    /// The call has ended so.
    pub fn ended(mut self, agent: &str, verdict: Verdict, error: Option<&str>) {
        if let (Some((gate, _)), Verdict::Failed) = (&self.0, verdict) {
            gate.inner().last = Blame {
                agent: agent.to_owned(),
                error: error.unwrap_or_default().to_owned(),
            };
        }
        self.end(verdict);
    }

    fn end(&mut self, verdict: Verdict) {
        if let Some((gate, ticket)) = self.0.take() {
            gate.update(|breaker| breaker.end(ticket, verdict));
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.end(Verdict::Neither);
    }
}

/// What the end of a call says of the service: a rejected message is at fault itself.
pub fn verdict<T>(outcome: &Outcome<T>) -> Verdict {
    match outcome {
        Outcome::Done(_) => Verdict::Well,
        Outcome::Failed(Failure::Reject(_)) => Verdict::Neither,
        Outcome::Failed(_) | Outcome::Died(_) => Verdict::Failed,
    }
}
