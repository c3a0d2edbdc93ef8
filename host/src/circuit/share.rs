//! The task that shares the state of a circuit between hosts through its record in CIRCUITS.
//!
//! It writes local changes, follows remote ones, and acquires the right to the probe, each by
//! compare-and-swap on the revision that was read; `agreement` decides. A host that dies before a
//! write leaves the record unchanged; one that dies after it leaves a record that the others
//! follow.

use std::sync::Arc;
use std::time::Instant;

use serde_json::json;
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;

use mistersmith_core::config::CircuitSpec;
use mistersmith_nats::{Connection, Kv, TransportError};
use mistersmith_runtime::CircuitState;

use super::agreement::{Action, Agreement, Look};
use super::record::Record;
use super::store::{CircuitStore, ServerStore};
use super::{Gate, State};
use crate::clock::now;
use crate::kv_key::KeyPort;

/// The circuit to share, and its surroundings.
pub struct Sharing {
    /// The circuit.
    pub spec: CircuitSpec,
    /// The gate before the calls of the plugin.
    pub gate: Arc<Gate>,
    /// Whether an agent of the plugin takes messages, so that a probe can run.
    pub has_takers: Box<dyn Fn() -> bool + Send + Sync>,
    /// Bucket CIRCUITS.
    pub circuits: Kv,
    /// The connection for events.
    pub connection: Connection,
    /// The name of this host.
    pub host: String,
}

/// Shares the state of a circuit until cancelled; `looked` resolves after the first read of the
/// record.
pub async fn share(with: Sharing, looked: oneshot::Sender<()>, cancel: CancellationToken) {
    let store = ServerStore::new(with.circuits, with.spec.service.as_str(), with.connection);
    let takers = Takers {
        gate: with.gate,
        exist: with.has_takers,
    };
    let shared = Shared::new(with.spec, takers, store, with.host);
    shared.run(looked, cancel).await;
}

/// The clock of circuits; tests pause it.
fn clock() -> Instant {
    tokio::time::Instant::now().into_std()
}

async fn turned(changes: &mut watch::Receiver<u64>) {
    if changes.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// The agents of the plugin, as the circuit sees them.
struct Takers {
    gate: Arc<Gate>,
    /// Whether one of them takes messages.
    exist: Box<dyn Fn() -> bool + Send + Sync>,
}

struct Shared<S> {
    spec: CircuitSpec,
    takers: Takers,
    store: S,
    host: String,
    agreement: Agreement,
}

impl<S: CircuitStore> Shared<S> {
    fn new(spec: CircuitSpec, takers: Takers, store: S, host: String) -> Self {
        Self {
            agreement: Agreement::new(nuid::next().to_string(), spec.reset),
            spec,
            takers,
            store,
            host,
        }
    }

    async fn run(mut self, looked: oneshot::Sender<()>, cancel: CancellationToken) {
        let mut looked = Some(looked);
        let mut changes = self.gate().changes();
        while !cancel.is_cancelled() {
            self.store.listen().await;
            changes.borrow_and_update();
            if let Err(error) = self.bounded_step().await {
                let service = &self.spec.service;
                tracing::debug!(%service, %error, "the circuit was not shared");
                // A right that could not be renewed ends nevertheless.
                let (local, span) = self.gate().state();
                if matches!(local, State::HalfOpen { .. }) {
                    self.follow(span, self.agreement.shared(local, clock()));
                }
            }
            if let Some(looked) = looked.take() {
                let _ = looked.send(());
            }
            let (local, _) = self.gate().state();
            let wait = self.agreement.next_look(local, clock());
            tokio::select! {
                () = cancel.cancelled() => {}
                () = tokio::time::sleep(wait) => {}
                () = self.store.changed() => {}
                () = turned(&mut changes) => {}
            }
        }
    }

    fn gate(&self) -> &Gate {
        &self.takers.gate
    }

    /// Runs [`Shared::step`], but no longer than an unused right to the probe lasts: when the
    /// bucket does not answer, the right is withdrawn before another host has it.
    async fn bounded_step(&mut self) -> Result<(), TransportError> {
        let (local, _) = self.gate().state();
        let Some(left) = self.agreement.unused(local, clock()) else {
            // A write in flight is awaited; the bucket bounds its time.
            return self.step().await;
        };
        let stepped = tokio::time::timeout(left, self.step()).await;
        stepped.unwrap_or(Err(TransportError::Timeout))
    }

    /// Reads once, then follows or writes.
    async fn step(&mut self) -> Result<(), TransportError> {
        let look = self.look().await?;
        if let Some(record) = &look.recognised {
            let (_, span) = self.gate().state();
            self.stored(record, span).await;
        }
        let (local, span) = self.gate().state();
        let able = (self.takers.exist)();
        match self.agreement.next(local, &look, able, clock()) {
            Action::Write(state) => self.write(state, span).await,
            Action::Follow(shared) => {
                self.follow(span, shared);
                Ok(())
            }
            Action::Probe(shared) => {
                self.follow(span, shared);
                let (_, span) = self.gate().state();
                self.write(CircuitState::HalfOpen, span).await
            }
        }
    }

    /// Follows the record, unless the local state has changed since the comparison.
    fn follow(&self, span: u64, shared: State) {
        self.gate().update(|breaker| {
            if breaker.span() == span {
                breaker.follow(shared);
            }
        });
    }

    /// Reads the record.
    async fn look(&mut self) -> Result<Look, TransportError> {
        let entry = self.store.key().read().await?;
        let look = self.agreement.saw(entry.as_ref(), clock());
        if look.unreadable {
            let service = &self.spec.service;
            tracing::warn!(
                %service,
                "the record in CIRCUITS cannot be read, and counts as closed"
            );
        }
        Ok(look)
    }

    /// Writes a state over the revision that was read. After a conflict the record of the other
    /// host is read next. After a lost answer the next read recognises our own record.
    async fn write(&mut self, state: CircuitState, span: u64) -> Result<(), TransportError> {
        let record = self.record(state);
        let value = serde_json::to_vec(&record).unwrap_or_default().into();
        let (sent, renewed) = (clock(), self.agreement.is_mine());
        self.agreement.sends(record.clone(), sent);
        let written = match self.agreement.revision() {
            Some(revision) => self.store.key().update(value, revision).await,
            None => self.store.key().create(value).await,
        };
        let revision = match written {
            Ok(revision) => revision,
            Err(TransportError::Conflict) => {
                self.agreement.was_late();
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        self.agreement.wrote(record.clone(), revision, sent);
        if renewed && state == CircuitState::HalfOpen {
            self.takes_its_right(span);
        } else {
            self.stored(&record, span).await;
        }
        Ok(())
    }

    /// Lets the probe through, unless the right arrived too late or the local state has changed
    /// meanwhile (the probe that the right was renewed for has ended).
    fn takes_its_right(&self, span: u64) {
        let (local, _) = self.gate().state();
        self.follow(span, self.agreement.shared(local, clock()));
    }

    /// Our record is stored: applies it here and publishes it.
    async fn stored(&self, record: &Record, span: u64) {
        if record.state == CircuitState::HalfOpen {
            self.takes_its_right(span);
        }
        let service = &self.spec.service;
        tracing::info!(%service, state = record.state.as_str(), error = %record.error, "circuit");
        self.publish(record).await;
    }

    fn record(&self, state: CircuitState) -> Record {
        let blame = self.gate().inner().last.clone();
        // A host that did not see the failure repeats the known record.
        let known = self.agreement.record();
        let known = known.filter(|_| blame.error.is_empty());
        let me = self.agreement.me();
        Record {
            state,
            since: now(),
            failures: self.spec.failures,
            error: known.map_or(blame.error, |record| record.error.clone()),
            agent_id: known.map_or(blame.agent, |record| record.agent_id.clone()),
            host: self.host.clone(),
            probe: (state == CircuitState::HalfOpen).then(|| me.to_owned()),
        }
    }

    /// Publishes `circuit.<service>.<state>`, after the hosts agreed on it.
    async fn publish(&self, record: &Record) {
        let service = self.spec.service.as_str();
        let subject = format!("circuit.{service}.{}", record.state.as_str());
        let body = json!({
            "service": service, "state": record.state, "error": record.error,
            "failures": record.failures, "agent_id": record.agent_id, "host": record.host,
            "at": record.since,
        });
        self.store.publish(&subject, body.to_string()).await;
    }
}

#[cfg(test)]
mod tests;
