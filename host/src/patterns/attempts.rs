//! Attempts: how often the handler of a held message was begun, known beyond the process that began
//! it.
//!
//! JetStream counts deliveries, and a delivery is no attempt: it may end in a host that is paused,
//! in a poll that was taken back, or in a queue of a host that is killed. What counts is a call
//! that began, and that is written down, in the bucket ATTEMPTS, in the cheapest form that is known
//! when it is needed:
//!
//! - **A first delivery is a first attempt**, so nothing is read for it. That it began stands in
//!   the *register* of its agents ([`Register`]), which is written a millisecond later: what ends
//!   before costs nothing. The message cannot come to anybody else before its ack wait of 30 s is
//!   over.
//! - **An attempt that may be the last one** is in the register *before* it begins, with the
//!   server's word; so is each attempt of a second or later delivery, since those follow on
//!   something that went wrong. A host that dies in such an attempt has used it up, and an item
//!   that kills hosts ends.
//! - **An attempt that fails** stands in the *record* of its item ([`Record`]) before the message
//!   is given back; so does one that is open for ten seconds. The record goes when the item is
//!   done.
//! - **A later delivery** reads the record. If it explains all deliveries before, nothing else is
//!   read. If not, the registers of all processes are looked through, once for all items that wait
//!   for it. A delivery of which neither knows an attempt was none.
//!
//! So no attempt is counted that did not begin, and none is missed but one: of an item that may be
//! tried more than once, the very first, when its process dies in the milliseconds before the
//! register is written. Such an item may begin once more than `max_deliver` says. An item that may
//! be tried once only has no such gap.

mod record;
mod recorder;
mod register;
mod store;
mod tries;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::sync::Mutex as AsyncMutex;

use crate::limits;
use crate::names::{AgentId, HostId};
use crate::transport::{Kv, Link, TransportError};

use super::delivery::Held;
use super::disposition::{Reason, exhausted};
use recorder::Queue;
use register::Beginning;
use store::key;
use tries::Current;

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
    link: Link,
    kv: Kv,
    host: HostId,
    /// `<host id>.<started>`: what another process of the same host has begun is known to have
    /// ended.
    process: String,
    queue: Arc<Queue>,
    registers: Mutex<HashMap<String, Weak<Register>>>,
    look: AsyncMutex<Option<Look>>,
}

/// One look through all registers.
#[derive(Debug)]
struct Look {
    begun: Instant,
    found: Arc<HashMap<Item, Vec<Attempt>>>,
}

/// What is to become of a message that was delivered.
#[derive(Debug)]
pub enum Admission {
    /// It may be begun.
    Granted,
    /// It must not be begun again.
    Refused(Reason),
    /// After this time it is known.
    Later(Duration),
}

impl Attempts {
    /// Begins to record the attempts of this process.
    pub fn start(kv: Kv, link: Link, host: HostId) -> Self {
        let started = time::OffsetDateTime::now_utc().unix_timestamp_nanos();
        let queue = Arc::new(Queue::default());
        let inner = Arc::new(Inner {
            link,
            kv,
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
        let mut registers = registers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(register) = registers.get(&key).and_then(Weak::upgrade) {
            return register;
        }
        registers.retain(|_, register| register.strong_count() > 0);
        let register = Arc::new(Register::new(key.clone(), &self.0.process));
        registers.insert(key, Arc::downgrade(&register));
        register
    }

    /// Reads what is known of the attempts at a message that arrived then, and says whether it may
    /// be begun.
    pub async fn admit(&self, held: &mut Held, arrived: Instant) -> Admission {
        if held.meta.deliveries <= 1 {
            return Admission::Granted;
        }
        let begun = Instant::now();
        let (record, revision) = loop {
            let error = match self.0.known(&held.meta, arrived).await {
                Ok(known) => break known,
                Err(error) => error,
            };
            if begun.elapsed() > limits::ATTEMPT_PATIENCE {
                tracing::warn!(%error, consumer = held.meta.consumer,
                    "not known how often an item was begun; it comes again");
                return Admission::Later(limits::STORE_RETRY_DELAY);
            }
            // It stays held meanwhile.
            tokio::time::sleep(limits::ATTEMPT_RETRY).await;
        };
        let admission = self.judge(&record, held);
        held.tries = Tries::before(record, revision);
        admission
    }

    fn judge(&self, record: &Record, held: &Held) -> Admission {
        if let Some(reason) = &record.sealed {
            return Admission::Refused(reason.clone());
        }
        let Some(reason) = exhausted(record, &held.rule) else {
            return Admission::Granted;
        };
        // Another host may still be at it, or be storing what it made: it has one more chance to
        // say so.
        let own = |process: &str| process.split('.').next() == Some(self.0.host.as_str());
        let elsewhere = record.unended().filter(|last| !own(&last.process));
        match elsewhere {
            Some(last) if held.meta.deliveries <= last.delivery.saturating_add(1) => {
                Admission::Later(limits::ATTEMPT_GRACE)
            }
            _ => Admission::Refused(reason),
        }
    }

    /// An agent is about to begin.
    ///
    /// # Errors
    /// It must not: that it does could not be stored.
    pub async fn begin(
        &self,
        register: &Arc<Register>,
        agent: &AgentId,
        held: &mut Held,
    ) -> Result<(), TransportError> {
        let delivery = held.meta.deliveries;
        let last = held.tries.begun().saturating_add(1) >= held.rule.max_deliver;
        let must_be_stored = delivery > 1 || last;
        let beginning = Beginning {
            item: Item::of(&held.meta),
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
    /// As [`Kv::update`]: the record may or may not say so.
    pub async fn failed(&self, held: &mut Held, reason: &Reason) -> Result<(), TransportError> {
        let mut record = held.tries.record.clone();
        if let Some(attempt) = held.tries.running() {
            record.note(&attempt.failed(reason));
        }
        self.keep(held, record).await?;
        held.tries.end();
        Ok(())
    }

    /// Records that the item has failed for good, so that it is not begun again whoever gets it.
    ///
    /// # Errors
    /// As [`Attempts::failed`].
    pub async fn seal(&self, held: &mut Held, reason: &Reason) -> Result<(), TransportError> {
        let mut record = held.tries.record.clone();
        if let Some(attempt) = held.tries.running() {
            record.note(&attempt.failed(reason));
        }
        record.sealed = Some(reason.clone());
        self.keep(held, record).await?;
        held.tries.end();
        Ok(())
    }

    async fn keep(&self, held: &mut Held, record: Record) -> Result<(), TransportError> {
        let item = Item::of(&held.meta);
        let kept = self.0.write(&item, record, held.tries.revision).await?;
        (held.tries.record, held.tries.revision) = kept;
        Ok(())
    }

    /// The item is done with: nothing of it needs to be known any more.
    pub async fn done(&self, held: &mut Held) {
        if !held.tries.end() {
            return;
        }
        let key = key(&Item::of(&held.meta));
        if let Err(error) = self.0.kv.purge(&key).await {
            tracing::debug!(%error, key, "the record of an item stays until it is too old");
        }
    }

    /// The attempt that was in hand when its agent was ended: it has begun, so it counts.
    async fn cut_off(&self, register: &Register, number: u64) {
        let Some((item, attempt)) = register.of(number) else {
            return;
        };
        let reason = Reason::new("cut-off", "the agent was ended in the middle of it");
        let mut record = Record::default();
        record.note(&attempt.failed(&reason));
        // As long as it fails the register says so.
        while let Err(error) = self.0.write(&item, record.clone(), 0).await {
            tracing::debug!(%error, item = item.name(),
                "an attempt that was cut off is not recorded yet");
            tokio::time::sleep(limits::ATTEMPT_SWEEP).await;
        }
        register.end(number);
    }

    /// Removes the registers of this process, unless they say something that others need.
    pub async fn close(&self) {
        let all: Vec<Arc<Register>> = self.0.registers();
        if !all.iter().all(|register| register.says_nothing()) {
            return;
        }
        let pattern = format!("open.{}.>", self.0.process);
        if let Err(error) = self.0.kv.purge(&pattern).await {
            tracing::debug!(%error, "the registers of this process stay until they are too old");
        }
    }
}
