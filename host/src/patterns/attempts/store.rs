//! Records and registers in the bucket: reading, writing, and looking through them.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, Weak};
use std::time::{Duration, Instant};

use futures_util::{StreamExt, TryStreamExt, stream};

use crate::limits;
use crate::transport::{Meta, TransportError};

use super::record::{Attempt, Item, Record};
use super::register::{self, Register};
use super::{BUCKET, Inner, Look};

/// The stream of the bucket.
const STREAM: &str = "KV_ATTEMPTS";
/// Registers that are read at once.
const AT_ONCE: usize = 32;

impl Inner {
    pub(super) fn registers(&self) -> Vec<Arc<Register>> {
        let registers = &self.registers;
        let registers = registers.lock().unwrap_or_else(PoisonError::into_inner);
        registers.values().filter_map(Weak::upgrade).collect()
    }

    /// The record of an item, with what registers know beyond it, and its revision.
    pub(super) async fn known(
        &self,
        meta: &Meta,
        arrived: Instant,
    ) -> Result<(Record, u64), TransportError> {
        let item = Item::of(meta);
        let (mut record, revision) = self.read(&item).await?;
        if u64::from(record.begun).saturating_add(1) < meta.deliveries {
            let found = self.look(arrived).await?;
            for attempt in found.get(&item).into_iter().flatten() {
                if self.counts(&item, attempt) {
                    record.note(attempt);
                }
            }
        }
        Ok((record, revision))
    }

    /// What this process has begun it knows better itself.
    fn counts(&self, item: &Item, attempt: &Attempt) -> bool {
        attempt.process != self.process || self.registers().iter().any(|r| r.has(item, attempt))
    }

    pub(super) async fn read(&self, item: &Item) -> Result<(Record, u64), TransportError> {
        let entry = self.kv.get(&key(item)).await?;
        Ok(entry.map_or((Record::default(), 0), |entry| {
            let record = serde_json::from_slice(&entry.value).unwrap_or_default();
            (record, entry.revision)
        }))
    }

    /// Writes a record, together with what others have written meanwhile; returns what it says
    /// then.
    pub(super) async fn write(
        &self,
        item: &Item,
        mut record: Record,
        mut revision: u64,
    ) -> Result<(Record, u64), TransportError> {
        let key = key(item);
        for _ in 0..limits::JOIN_TRIES {
            let value = serde_json::to_vec(&record).unwrap_or_default();
            match self.kv.update(&key, value.into(), revision).await {
                Ok(revision) => return Ok((record, revision)),
                Err(TransportError::Conflict) => {}
                Err(error) => return Err(error),
            }
            let (mut stored, newer) = self.read(item).await?;
            stored.merge(&record);
            (record, revision) = (stored, newer);
        }
        Err(TransportError::Conflict)
    }

    /// All attempts in all registers, as they were when the message had arrived, or later.
    async fn look(
        &self,
        arrived: Instant,
    ) -> Result<Arc<HashMap<Item, Vec<Attempt>>>, TransportError> {
        let mut look = self.look.lock().await;
        if let Some(look) = look.as_ref().filter(|look| look.begun >= arrived) {
            return Ok(look.found.clone());
        }
        let begun = Instant::now();
        let view = self.link.stream(STREAM)?;
        let pattern = format!("$KV.{BUCKET}.open.>");
        let subjects = view.subjects(&pattern, limits::MAX_REGISTERS).await?;
        let read = stream::iter(subjects.into_keys().map(|subject| {
            let view = &view;
            async move { view.newest(&subject).await }
        }));
        let mut read = std::pin::pin!(read.buffer_unordered(AT_ONCE));
        let mut found: HashMap<Item, Vec<Attempt>> = HashMap::new();
        while let Some(message) = read.try_next().await? {
            let payload = message.map(|message| message.payload).unwrap_or_default();
            for (item, attempt) in register::read(&payload) {
                found.entry(item).or_default().push(attempt);
            }
        }
        let found = Arc::new(found);
        *look = Some(Look {
            begun,
            found: found.clone(),
        });
        Ok(found)
    }

    /// Moves attempts that have been open for long into the records of their items.
    pub(super) async fn record_old(&self) {
        for register in self.registers() {
            if let Err(error) = self.record(&register, limits::ATTEMPT_OLD).await {
                tracing::debug!(%error, "attempts that run long are not recorded yet");
            }
        }
    }

    /// Makes a register smaller.
    pub(super) async fn relieve(&self, register: &Register) -> Result<(), TransportError> {
        self.record(register, Duration::ZERO).await
    }

    async fn record(&self, register: &Register, age: Duration) -> Result<(), TransportError> {
        for (number, item, attempt) in register.older_than(age) {
            let mut record = Record::default();
            record.note(&attempt);
            self.write(&item, record, 0).await?;
            register.recorded(number);
        }
        Ok(())
    }
}

/// The key of an item's record.
pub(super) fn key(item: &Item) -> String {
    format!("item.{}", item.name())
}
