//! The record that hosts share: what happened here is written, what happened elsewhere is followed, and
//! the right to the probe is won. All by compare-and-swap on what was read, and timed by our own clock
//! from when we saw it: clocks of hosts are not compared.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::config::CircuitSpec;
use crate::limits;
use crate::transport::{Headers, Kv, Link, RequestId, Trace, TransportError, Watch};

use super::super::crew::Crew;
use super::super::lifecycle::now;
use super::record::Record;
use super::{Gate, State};

/// What sharing needs.
pub struct Sharing {
    /// The circuit.
    pub spec: CircuitSpec,
    /// The agents behind it, and its gate.
    pub crew: Arc<Crew>,
    /// Bucket CIRCUITS.
    pub circuits: Kv,
    /// The connection for events.
    pub link: Link,
    /// The name of this host.
    pub host: String,
}

/// The record, and when we first saw it.
struct Seen {
    record: Option<Record>,
    /// 0 where there is no value.
    revision: u64,
    at: Instant,
}

struct Shared {
    with: Sharing,
    /// Tells our right to the probe from that of others, also of another plugin of this host.
    me: String,
    seen: Option<Seen>,
}

/// Shares the state of a circuit until cancelled; tells when it has looked at the record once.
pub async fn share(with: Sharing, looked: oneshot::Sender<()>, cancel: CancellationToken) {
    let mut looked = Some(looked);
    let mut changes = with.crew.circuit.changes();
    let mut shared = Shared {
        with,
        me: nuid::next().to_string(),
        seen: None,
    };
    let mut watch: Option<Watch> = None;
    while !cancel.is_cancelled() {
        if watch.is_none() {
            let service = shared.with.spec.service.as_str();
            watch = shared.with.circuits.watch(service).await.ok();
        }
        changes.borrow_and_update();
        // A write that is on its way is waited for; each is bounded.
        if let Err(error) = shared.step().await {
            tracing::debug!(service = %shared.with.spec.service, %error, "the circuit was not shared");
            // A right that could not be renewed is over all the same.
            let (local, span) = shared.gate().state();
            if matches!(local, State::HalfOpen { .. }) {
                shared.follow(span, shared.shared_state(local));
            }
        }
        if let Some(looked) = looked.take() {
            let _ = looked.send(());
        }
        tokio::select! {
            () = cancel.cancelled() => {}
            () = tokio::time::sleep(shared.next_look()) => {}
            () = news(&mut watch) => {}
            () = turned(&mut changes) => {}
        }
    }
}

/// Resolves when the record changed.
async fn news(watch: &mut Option<Watch>) {
    let Some(heard) = watch else {
        return std::future::pending().await;
    };
    match heard.next().await {
        Some(Ok(_)) => {}
        // What it tells is read again anyway.
        Some(Err(_)) | None => *watch = None,
    }
}

async fn turned(changes: &mut watch::Receiver<u64>) {
    if changes.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

impl Shared {
    fn gate(&self) -> &Gate {
        &self.with.crew.circuit
    }

    /// Reads, follows or writes, once.
    async fn step(&mut self) -> Result<(), TransportError> {
        let before = self.seen.as_ref().map(|seen| seen.revision);
        self.look().await?;
        let revision = self.revision();
        let is_news = before.is_some_and(|before| before != revision);
        let (local, span) = self.gate().state();
        match (local, self.shared_state(local)) {
            // The probe was here.
            (State::Open, _) if self.is_mine() => self.write("open", span).await,
            (State::Closed { .. }, _) if self.is_mine() => self.write("closed", span).await,
            // It opened here; unless somebody has closed it just now.
            (State::Open, State::Closed { .. }) if !is_news => self.write("open", span).await,
            (local, shared) => {
                self.follow(span, shared);
                if self.is_due(local) {
                    self.write("half-open", self.gate().state().1).await?;
                }
                Ok(())
            }
        }
    }

    /// Follows the record, unless something has happened here since it was compared.
    fn follow(&self, span: u64, shared: State) {
        self.gate().update(|breaker| {
            if breaker.span() == span {
                breaker.follow(shared);
            }
        });
    }

    /// Whether it is time to let a probe through here, or to say that one is still under way.
    fn is_due(&self, local: State) -> bool {
        let Some(seen) = &self.seen else {
            return false;
        };
        let wait = match self.shared_state(local) {
            State::Closed { .. } => return false,
            State::Open => self.with.spec.reset,
            State::HalfOpen { .. } if !self.is_mine() => limits::PROBE_GRANT,
            State::HalfOpen { .. } if has_begun(local) => limits::PROBE_RENEWAL,
            // Nothing came to be tried. Others have their turn before us.
            State::HalfOpen { .. } => limits::PROBE_AGAIN,
        };
        self.with.crew.taking() > 0 && seen.at.elapsed() >= wait
    }

    /// Reads the record. Reading decides nothing: each write names the revision that was read.
    async fn look(&mut self) -> Result<(), TransportError> {
        let service = self.with.spec.service.as_str();
        let entry = self.with.circuits.get(service).await?;
        let revision = entry.as_ref().map_or(0, |entry| entry.revision);
        if self
            .seen
            .as_ref()
            .is_none_or(|seen| seen.revision != revision)
        {
            let record = entry.as_ref().and_then(|entry| Record::read(&entry.value));
            if entry.is_some() && record.is_none() {
                tracing::warn!(
                    service,
                    "the record in CIRCUITS cannot be read, and counts as closed"
                );
            }
            self.seen = Some(Seen {
                record,
                revision,
                at: Instant::now(),
            });
        }
        Ok(())
    }

    fn revision(&self) -> u64 {
        self.seen.as_ref().map_or(0, |seen| seen.revision)
    }

    /// Whether the right to the probe was given to us.
    fn is_mine(&self) -> bool {
        let record = self.seen.as_ref().and_then(|seen| seen.record.as_ref());
        record.is_some_and(|r| r.state == "half-open" && r.probe.as_deref() == Some(&self.me))
    }

    /// What the record means here: a right that was not used in time is over before others take it.
    fn shared_state(&self, local: State) -> State {
        let seen = self.seen.as_ref();
        let record = seen.and_then(|seen| seen.record.as_ref());
        match record.map(|record| record.state.as_str()) {
            Some("open") => State::Open,
            Some("half-open") => {
                let fresh = seen.is_some_and(|seen| seen.at.elapsed() < limits::PROBE_SAFE);
                State::HalfOpen {
                    ours: self.is_mine() && (fresh || has_begun(local)),
                    begun: false,
                }
            }
            _ => State::Closed { failures: 0 },
        }
    }

    /// Writes a state over the revision that was read, and says so. When somebody was faster, theirs is
    /// read next.
    async fn write(&mut self, state: &str, span: u64) -> Result<(), TransportError> {
        let service = self.with.spec.service.clone();
        let record = self.record(state);
        let value = serde_json::to_vec(&record).unwrap_or_default();
        let (sent, revision, renewed) = (Instant::now(), self.revision(), self.is_mine());
        let written = if revision == 0 {
            let create = self.with.circuits.create(service.as_str(), value.into());
            create.await
        } else {
            let update = self
                .with
                .circuits
                .update(service.as_str(), value.into(), revision);
            update.await
        };
        let revision = match written {
            Ok(revision) => revision,
            Err(TransportError::Conflict) => return Ok(()),
            Err(error) => return Err(error),
        };
        self.seen = Some(Seen {
            record: Some(record.clone()),
            revision,
            at: sent,
        });
        if state == "half-open" {
            let won = State::HalfOpen {
                ours: true,
                begun: false,
            };
            self.follow(span, won);
        }
        if !(renewed && state == "half-open") {
            tracing::info!(%service, state, error = %record.error, "circuit");
            self.say(&record).await;
        }
        Ok(())
    }

    fn record(&self, state: &str) -> Record {
        let blame = self.gate().inner().last.clone();
        let before = self.seen.as_ref().and_then(|seen| seen.record.as_ref());
        // Who was not there when it failed repeats what is known.
        let known = before.filter(|_| blame.error.is_empty());
        Record {
            state: state.to_owned(),
            since: now(),
            failures: self.with.spec.failures,
            error: known.map_or(blame.error, |record| record.error.clone()),
            agent_id: known.map_or(blame.agent, |record| record.agent_id.clone()),
            host: self.with.host.clone(),
            probe: (state == "half-open").then(|| self.me.clone()),
        }
    }

    /// `circuit.<service>.<state>`, after it was agreed upon. Sent now or not at all.
    async fn say(&self, record: &Record) {
        let subject = format!("circuit.{}.{}", self.with.spec.service, record.state);
        let mut headers = Headers::default();
        headers.set("Content-Type", "application/json");
        Trace::begin(RequestId::new()).stamp(None, &mut headers);
        let body = json!({
            "service": self.with.spec.service.as_str(), "state": record.state, "error": record.error,
            "failures": record.failures, "agent_id": record.agent_id, "host": record.host,
            "at": record.since,
        });
        let payload = body.to_string().into();
        if let Err(error) = self
            .with
            .link
            .publish(&subject, None, headers, payload)
            .await
        {
            tracing::debug!(%error, subject, "not said");
        }
    }

    /// When to look again although nothing was heard.
    fn next_look(&self) -> Duration {
        let Some(seen) = &self.seen else {
            return limits::CIRCUIT_RETRY;
        };
        let (local, _) = self.gate().state();
        match (local, self.shared_state(local)) {
            (State::Closed { .. }, State::Closed { .. }) => limits::CIRCUIT_LOOK,
            (State::Open, State::Open) => {
                let left = self.with.spec.reset.saturating_sub(seen.at.elapsed());
                left.clamp(Duration::from_millis(20), limits::CIRCUIT_LOOK)
            }
            _ => limits::CIRCUIT_RETRY,
        }
    }
}

fn has_begun(local: State) -> bool {
    matches!(local, State::HalfOpen { begun: true, .. })
}
