//! Attempts: counts how often the handler of a held message began, across processes.
//!
//! JetStream counts deliveries, and a delivery is no attempt: it may end in a paused host, in a
//! cancelled poll, or in the queue of a host that is killed. An attempt is a call that began. It is
//! stored in the bucket ATTEMPTS in the cheapest form that is available when it is needed:
//!
//! - **A first delivery is a first attempt**, so nothing is read for it. Its beginning is written
//!   to the *register* of its agents ([`Register`]) a millisecond later: an attempt that ends
//!   before costs nothing. No other host can get the message before its ack wait of 30 s is over.
//! - **An attempt that may be the last one** is in the register *before* it begins, confirmed by
//!   the server; so is each attempt of a second or later delivery, since those follow a failure. A
//!   host that dies in such an attempt has used it up, so that an item that kills hosts ends.
//! - **An attempt that fails** is in the *record* of its item ([`Record`]) before the message is
//!   given back; so is one that has been open for ten seconds. The record is removed when the item
//!   is done.
//! - **A later delivery** reads the record. If the record explains all earlier deliveries, nothing
//!   else is read. If not, the registers of all processes are read, once for all items that wait
//!   for it. A delivery without an attempt in either was no attempt.
//!
//! So no attempt is counted that did not begin, and only one can be missed: the very first attempt
//! at an item with several tries, when its process dies in the milliseconds before the register is
//! written. Such an item may begin once more than `max_deliver` says. An item with a single try has
//! no such gap.

mod port;
mod record;
mod recorder;
mod register;
mod store;
mod tries;

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Mutex as AsyncMutex;
use tokio::time::Instant;

use mistersmith_core::limits;
use mistersmith_core::names::{AgentId, HostId};
use mistersmith_nats::{Connection, DeliveryInfo, Kv, TransportError};

use super::reason::{Reason, ReasonKind};
use super::retry_rule::RetryRule;
use port::Bucket;
use recorder::Queue;
use register::Beginning;
use store::key;
use tries::Current;

#[cfg(test)]
pub(crate) use port::Asked;
pub(crate) use port::AttemptStore;
pub use record::{Attempt, Item, Record};
pub use register::Register;
pub use tries::Tries;

/// The bucket of registers and records.
pub const BUCKET: &str = "ATTEMPTS";

/// The attempts of this process. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Attempts(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Arc<dyn AttemptStore>,
    host: HostId,
    /// `<host id>.<started>`: attempts of another process of the same host are known to have ended.
    process: String,
    queue: Arc<Queue>,
    registers: Mutex<HashMap<String, Weak<Register>>>,
    look: AsyncMutex<Option<Look>>,
}

/// One read of all registers.
#[derive(Debug)]
struct Look {
    begun: Instant,
    found: Arc<HashMap<Item, Vec<Attempt>>>,
}

/// A held message with its attempt count.
#[derive(Debug)]
pub struct Counted<'a> {
    /// Its stream sequence and number of deliveries.
    pub info: &'a DeliveryInfo,
    /// How often it may begin.
    pub rule: &'a RetryRule,
    /// Its known attempts.
    pub tries: &'a mut Tries,
}

/// Whether a delivered message may begin.
#[derive(Debug)]
pub enum Admission {
    /// It may begin.
    Granted,
    /// It must not begin again.
    Refused(Reason),
    /// The decision is possible after this time.
    Later(Duration),
}

impl Attempts {
    /// Starts recording the attempts of this process.
    pub fn start(kv: Kv, connection: Connection, host: HostId) -> Self {
        Self::over(Arc::new(Bucket { connection, kv }), host)
    }

    /// As [`Attempts::start`], with this store.
    pub(crate) fn over(store: Arc<dyn AttemptStore>, host: HostId) -> Self {
        let started = time::OffsetDateTime::now_utc().unix_timestamp_nanos();
        let queue = Arc::new(Queue::default());
        let inner = Arc::new(Inner {
            store,
            process: format!("{host}.{started}"),
            host,
            queue: queue.clone(),
            registers: Mutex::default(),
            look: AsyncMutex::default(),
        });
        tokio::spawn(recorder::run(Arc::downgrade(&inner), queue));
        tokio::spawn(recorder::sweep(Arc::downgrade(&inner)));
        Self(inner)
    }

    /// The register of an agent.
    pub fn register(&self, agent: &AgentId) -> Arc<Register> {
        let shard = agent.number() / limits::ATTEMPT_SHARE;
        let key = format!("open.{}.{}.{shard}", self.0.process, agent.plugin());
        let registers = &self.0.registers;
        let mut registers = registers.lock();
        if let Some(register) = registers.get(&key).and_then(Weak::upgrade) {
            return register;
        }
        registers.retain(|_, register| register.strong_count() > 0);
        let register = Arc::new(Register::new(key.clone(), &self.0.process));
        registers.insert(key, Arc::downgrade(&register));
        register
    }

    /// Reads the known attempts of a message that arrived at `arrived` and decides whether it may
    /// begin.
    pub async fn admit(&self, held: Counted<'_>, arrived: std::time::Instant) -> Admission {
        if held.info.deliveries <= 1 {
            return Admission::Granted;
        }
        let begun = Instant::now();
        let (record, revision) = loop {
            let error = match self.0.known(held.info, arrived.into()).await {
                Ok(known) => break known,
                Err(error) => error,
            };
            if begun.elapsed() > limits::ATTEMPT_PATIENCE {
                tracing::warn!(%error, consumer = held.info.consumer,
                    "not known how often an item was begun; it comes again");
                return Admission::Later(limits::STORE_RETRY_DELAY);
            }
            // The message stays held meanwhile.
            tokio::time::sleep(limits::ATTEMPT_RETRY).await;
        };
        let admission = self.judge(&record, &held);
        *held.tries = Tries::before(record, revision);
        admission
    }

    fn judge(&self, record: &Record, held: &Counted<'_>) -> Admission {
        if let Some(reason) = &record.sealed {
            return Admission::Refused(reason.clone());
        }
        let Some(reason) = record.exhausted(held.rule) else {
            return Admission::Granted;
        };
        // Another host may still be running the attempt or storing its output: wait once more for
        // its record.
        let own = |process: &str| process.split('.').next() == Some(self.0.host.as_str());
        let elsewhere = record.unended().filter(|last| !own(&last.process));
        match elsewhere {
            Some(last) if held.info.deliveries <= last.delivery.saturating_add(1) => {
                Admission::Later(limits::ATTEMPT_GRACE)
            }
            _ => Admission::Refused(reason),
        }
    }

    /// Records that an agent is about to begin.
    ///
    /// # Errors
    /// The record could not be stored; the attempt must not begin.
    pub async fn begin(
        &self,
        register: &Arc<Register>,
        agent: &AgentId,
        held: Counted<'_>,
    ) -> Result<(), TransportError> {
        let delivery = held.info.deliveries;
        let last = held.tries.begun().saturating_add(1) >= held.rule.max_deliver;
        let must_be_stored = delivery > 1 || last;
        let beginning = Beginning {
            item: Item::of(held.info),
            agent,
            delivery,
        };
        let (number, tell) = register.begin(beginning, must_be_stored);
        if tell {
            self.0.queue.push(register.clone());
        }
        let mut current = Current::due(self, register, number);
        if must_be_stored {
            let stored = register.is_stored(number);
            let stored = tokio::time::timeout(limits::ATTEMPT_WAIT, stored).await;
            stored.map_err(|_| TransportError::Timeout)?;
        }
        current.begin();
        held.tries.current = Some(current);
        Ok(())
    }

    /// Records that the running attempt has failed; the message may then be given back.
    ///
    /// # Errors
    /// As [`Kv::update`]: the record may or may not be stored.
    pub async fn failed(
        &self,
        mut held: Counted<'_>,
        reason: &Reason,
    ) -> Result<(), TransportError> {
        let mut record = held.tries.record.clone();
        if let Some(attempt) = held.tries.running() {
            record.note(&attempt.failed(reason));
        }
        self.keep(&mut held, record).await?;
        held.tries.end();
        Ok(())
    }

    /// Records that the item has failed for good, so that no host begins it again.
    ///
    /// # Errors
    /// As [`Attempts::failed`].
    pub async fn seal(&self, mut held: Counted<'_>, reason: &Reason) -> Result<(), TransportError> {
        let mut record = held.tries.record.clone();
        if let Some(attempt) = held.tries.running() {
            record.note(&attempt.failed(reason));
        }
        record.sealed = Some(reason.clone());
        self.keep(&mut held, record).await?;
        held.tries.end();
        Ok(())
    }

    async fn keep(&self, held: &mut Counted<'_>, record: Record) -> Result<(), TransportError> {
        let item = Item::of(held.info);
        let kept = self.0.write(&item, record, held.tries.revision).await?;
        (held.tries.record, held.tries.revision) = kept;
        Ok(())
    }

    /// Removes the attempts of an item that is done.
    pub async fn done(&self, held: Counted<'_>) {
        if !held.tries.end() {
            return;
        }
        let key = key(&Item::of(held.info));
        if let Err(error) = self.0.store.purge(&key).await {
            tracing::debug!(%error, key, "the record of an item stays until it is too old");
        }
    }

    /// Records the attempt that its agent's end cut off: it began, so it counts.
    async fn cut_off(&self, register: &Register, number: u64) {
        let Some((item, attempt)) = register.of(number) else {
            return;
        };
        let reason = Reason::new(
            ReasonKind::CutOff,
            "the agent was ended in the middle of it",
        );
        let mut record = Record::default();
        record.note(&attempt.failed(&reason));
        // While this write fails, the register still has the attempt.
        while let Err(error) = self.0.write(&item, record.clone(), 0).await {
            tracing::debug!(%error, item = item.name(),
                "an attempt that was cut off is not recorded yet");
            tokio::time::sleep(limits::ATTEMPT_SWEEP).await;
        }
        register.end(number);
    }

    /// Removes the registers of this process, unless an open attempt is in no record.
    pub async fn close(&self) {
        let all: Vec<Arc<Register>> = self.0.registers();
        if !all.iter().all(|register| register.says_nothing()) {
            return;
        }
        let pattern = format!("open.{}.>", self.0.process);
        if let Err(error) = self.0.store.purge(&pattern).await {
            tracing::debug!(%error, "the registers of this process stay until they are too old");
        }
    }
}

#[cfg(test)]
mod tests;
