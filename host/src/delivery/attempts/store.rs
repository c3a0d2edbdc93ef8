//! Reads and writes of records and registers in the bucket.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::Instant;

use mistersmith_core::limits;
use mistersmith_nats::{DeliveryInfo, TransportError};

use super::record::{Attempt, Item, Record};
use super::register::{self, Register};
use super::{Inner, Look};

impl Inner {
    pub(super) fn registers(&self) -> Vec<Arc<Register>> {
        let registers = &self.registers;
        let registers = registers.lock();
        registers.values().filter_map(Weak::upgrade).collect()
    }

    /// The record of an item merged with the registers, and its revision.
    pub(super) async fn known(
        &self,
        info: &DeliveryInfo,
        arrived: Instant,
    ) -> Result<(Record, u64), TransportError> {
        let item = Item::of(info);
        let (mut record, revision) = self.read(&item).await?;
        if u64::from(record.begun).saturating_add(1) < info.deliveries {
            let found = self.look(arrived).await?;
            for attempt in found.get(&item).into_iter().flatten() {
                if self.counts(&item, attempt) {
                    record.note(attempt);
                }
            }
        }
        Ok((record, revision))
    }

    /// Whether a stored attempt counts: for this process, its registers in memory decide.
    fn counts(&self, item: &Item, attempt: &Attempt) -> bool {
        attempt.process != self.process || self.registers().iter().any(|r| r.has(item, attempt))
    }

    pub(super) async fn read(&self, item: &Item) -> Result<(Record, u64), TransportError> {
        let entry = self.store.get(&key(item)).await?;
        Ok(entry.map_or((Record::default(), 0), |entry| {
            let record = serde_json::from_slice(&entry.value).unwrap_or_default();
            (record, entry.revision)
        }))
    }

    /// Merges a record with the stored one and writes it; returns the result.
    pub(super) async fn write(
        &self,
        item: &Item,
        mut record: Record,
        mut revision: u64,
    ) -> Result<(Record, u64), TransportError> {
        let key = key(item);
        for _ in 0..limits::JOIN_TRIES {
            let value = serde_json::to_vec(&record).unwrap_or_default();
            match self.store.update(&key, value.into(), revision).await {
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

    /// All attempts of all registers, read after the message had arrived.
    async fn look(
        &self,
        arrived: Instant,
    ) -> Result<Arc<HashMap<Item, Vec<Attempt>>>, TransportError> {
        let mut look = self.look.lock().await;
        if let Some(look) = look.as_ref().filter(|look| look.begun >= arrived) {
            return Ok(look.found.clone());
        }
        let begun = Instant::now();
        let mut found: HashMap<Item, Vec<Attempt>> = HashMap::new();
        for value in self.store.registers().await? {
            for (item, attempt) in register::read(&value) {
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

    /// Moves all attempts of a register that is too large into records.
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
