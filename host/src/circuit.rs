//! The circuit breaker of a service: suspends calls that keep failing.
//!
//! [`Gate`] admits or rejects each call and records its outcome, from local state alone
//! (`breaker`). A record in CIRCUITS shares that state with the other hosts and plugins of the same
//! service ([`share`]); it is written by compare-and-swap, which also grants the single probe to
//! one of them. Work for an open circuit is not pulled, and work already pulled is held: a delay,
//! not an attempt. Events on `circuit.<service>.…` only report; nothing acts on them.

mod agreement;
mod breaker;
mod record;
mod share;
mod store;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::watch;

use mistersmith_core::config::CircuitSpec;
use mistersmith_runtime::{CircuitState, Failure, Outcome};

use crate::delivery::{Reason, ReasonKind};
use breaker::{Breaker, State, Ticket};

pub use breaker::CallResult;
pub use share::{Sharing, share};

/// The gate before the calls of one plugin on this host; always open for one without `[circuit]`.
#[derive(Debug)]
pub struct Gate {
    /// Whether there is a circuit. Most plugins have none, and their messages take no lock for it.
    guards: AtomicBool,
    inner: Mutex<Inner>,
    changes: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Inner {
    circuit: Option<(CircuitSpec, Breaker)>,
    /// The agent and error of the last failure.
    last: Blame,
}

/// The agent that failed last, and its error.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Blame {
    agent: String,
    error: String,
}

impl Default for Gate {
    fn default() -> Self {
        Self {
            guards: AtomicBool::new(false),
            inner: Mutex::default(),
            changes: watch::channel(0).0,
        }
    }
}

impl Gate {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock()
    }

    /// Guards the calls of this service from now on, starting closed; `None` removes the circuit.
    pub fn configure(&self, spec: Option<CircuitSpec>) {
        let mut inner = self.inner();
        let same = inner.circuit.as_ref().map(|(before, _)| before) == spec.as_ref();
        if !same {
            inner.circuit = spec.map(|spec| {
                let breaker = Breaker::new(spec.failures);
                (spec, breaker)
            });
            self.guards
                .store(inner.circuit.is_some(), Ordering::Release);
            drop(inner);
            self.notify();
        }
    }

    fn guards(&self) -> bool {
        self.guards.load(Ordering::Acquire)
    }

    /// The number of messages that may wait for the plugin's agents or be on their way to them.
    pub fn room(&self) -> usize {
        if !self.guards() {
            return usize::MAX;
        }
        let inner = self.inner();
        inner.circuit.as_ref().map_or(usize::MAX, |(_, b)| b.room())
    }

    /// Whether a call would be let through now.
    pub fn lets_through(&self) -> bool {
        self.room() > 0
    }

    /// The error for a requester while calls are rejected.
    pub fn refusal(&self) -> Option<Reason> {
        if !self.guards() {
            return None;
        }
        let inner = self.inner();
        let (spec, breaker) = inner.circuit.as_ref()?;
        (breaker.room() == 0).then(|| {
            let text = format!(
                "the circuit of `{}` is open: {}",
                spec.service, inner.last.error
            );
            Reason::new(ReasonKind::CircuitOpen, text)
        })
    }

    /// Admits or rejects a call. A pass that is dropped unused gives a probe back.
    pub fn begin(self: &Arc<Self>) -> Option<Pass> {
        if !self.guards() {
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

    /// Changes when the gate opened or closed.
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

    fn notify(&self) {
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
            self.notify();
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

/// A call that was admitted, by the circuit if there is one.
#[derive(Debug)]
pub struct Pass(Option<(Arc<Gate>, Ticket)>);

impl Pass {
    /// Records the outcome of the call.
    pub fn ended(mut self, agent: &str, call_result: CallResult, error: Option<&str>) {
        if let (Some((gate, _)), CallResult::Failed) = (&self.0, call_result) {
            gate.inner().last = Blame {
                agent: agent.to_owned(),
                error: error.unwrap_or_default().to_owned(),
            };
        }
        self.end(call_result);
    }

    fn end(&mut self, call_result: CallResult) {
        if let Some((gate, ticket)) = self.0.take() {
            gate.update(|breaker| breaker.end(ticket, call_result));
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.end(CallResult::Neither);
    }
}

/// Classifies the outcome of a call for the circuit: a rejected message is itself at fault.
pub fn call_result<T>(outcome: &Outcome<T>) -> CallResult {
    match outcome {
        Outcome::Done(_) => CallResult::Well,
        Outcome::Failed(Failure::Reject(_)) => CallResult::Neither,
        Outcome::Failed(_) | Outcome::Exited(_) => CallResult::Failed,
    }
}
