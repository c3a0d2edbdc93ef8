//! Progress of the consumers of stages: `floor.<durable>` in ATTEMPTS.
//!
//! COORDINATION keeps inputs that were handled, and a consumer that is made again would deliver the
//! inputs of two days once more. So hosts record every few seconds up to where all messages of a
//! consumer are acknowledged, and a new consumer begins behind that. A record counts only for the
//! stream in which it was made.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::provision::consumers::{self, Consumer};
use crate::{Connection, Kv, TransportError};

/// The bucket: as long as its records live, so long do the inputs.
const BUCKET: &str = "ATTEMPTS";

#[derive(Debug, Clone)]
pub(super) struct Floors {
    connection: Connection,
    kv: Kv,
}

/// The value of a record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Floor {
    /// When the stream was made, as the server writes it.
    stream_created: String,
    /// All messages of the consumer up to this sequence are done.
    sequence: u64,
}

fn key(consumer: &Consumer) -> String {
    format!("floor.{}", consumer.durable)
}

impl Floors {
    pub(super) async fn new(connection: &Connection) -> Result<Self, TransportError> {
        Ok(Self {
            kv: connection.kv(BUCKET).await?,
            connection: connection.clone(),
        })
    }

    async fn read(&self, consumer: &Consumer) -> Result<Option<Floor>, TransportError> {
        let entry = self.kv.get(&key(consumer)).await?;
        Ok(entry.and_then(|entry| serde_json::from_slice(&entry.value).ok()))
    }

    /// The sequence from which on a consumer that does not exist must deliver; none for all.
    pub(super) async fn start(&self, consumer: &Consumer) -> Result<Option<u64>, TransportError> {
        if consumer.stream != consumers::STAGE_STREAM {
            return Ok(None);
        }
        let Some(floor) = self.read(consumer).await? else {
            return Ok(None);
        };
        let created = self.connection.stream(consumer.stream)?.created().await?;
        let same = floor.stream_created == created && floor.sequence > 0;
        Ok(same.then(|| floor.sequence.saturating_add(1)))
    }

    /// Records up to where each of these consumers of stages is done.
    pub(super) async fn note_all(&self, stages: &[Consumer]) -> Result<(), TransportError> {
        if stages.is_empty() {
            return Ok(());
        }
        // Before the consumers: a stream that is made again meanwhile has another time.
        let view = self.connection.stream(consumers::STAGE_STREAM)?;
        let created = view.created().await?;
        for consumer in stages {
            let state = consumers::state(&self.connection, &consumer.durable).await?;
            if let Some(floor) = state.map(|state| state.ack_floor()) {
                self.note(consumer, floor, &created).await?;
            }
        }
        Ok(())
    }

    /// Records up to where a consumer is done, if that is further than before.
    async fn note(
        &self,
        consumer: &Consumer,
        sequence: u64,
        created: &str,
    ) -> Result<(), TransportError> {
        let known = self.read(consumer).await?;
        let known = known.filter(|known| known.stream_created == created);
        if sequence == 0 || known.is_some_and(|known| known.sequence >= sequence) {
            return Ok(());
        }
        let floor = Floor {
            stream_created: created.to_owned(),
            sequence,
        };
        let value = Bytes::from(serde_json::to_vec(&floor).unwrap_or_default());
        // Another host may write an older one over it: then a few more inputs would run again.
        self.kv.put(&key(consumer), value).await.map(drop)
    }
}
