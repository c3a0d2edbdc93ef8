//! Consumers of WORK_QUEUE on the server: make, list, delete.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{ACK_WAIT, WORK_QUEUE, WorkConsumer};
use crate::transport::api::{CallError, code};
use crate::transport::{Link, TransportError, persist};

/// How long a cluster without a leader is waited for.
const PATIENCE: Duration = Duration::from_secs(10);
/// Most items that are delivered and not acknowledged, those included that wait for another try.
const MAX_ACK_PENDING: u64 = 20_000;
/// Most pulls that wait at the same time, all hosts together.
const MAX_WAITING: u64 = 2_048;

/// A consumer as it is.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Existing {
    pub(super) name: String,
    config: Map<String, Value>,
    #[serde(skip)]
    pub(super) filter: String,
    #[serde(default)]
    num_pending: u64,
    #[serde(default)]
    num_ack_pending: u64,
}

impl Existing {
    /// Nothing waits for it, and nothing it has delivered is open.
    pub(super) fn is_drained(&self) -> bool {
        self.num_pending == 0 && self.num_ack_pending == 0
    }

    fn with_filter(mut self) -> Self {
        let filter = self.config.get("filter_subject").and_then(Value::as_str);
        self.filter = filter.unwrap_or_default().to_owned();
        self
    }
}

/// What came of making a consumer.
pub(super) enum Made {
    /// It is there as it should be.
    Done,
    /// One of its name takes something else.
    OtherFilter(Existing),
    /// Another one takes some of its subjects.
    Overlaps,
}

/// Makes a consumer, or brings an existing one of the same filter up to date.
pub(super) async fn make(link: &Link, wanted: &WorkConsumer) -> Result<Made, TransportError> {
    let config = config(wanted);
    let existing = info(link, &wanted.durable).await?;
    if let Some(existing) = existing {
        if existing.filter != wanted.filter {
            return Ok(Made::OtherFilter(existing));
        }
        if same(&existing.config, &config) {
            return Ok(Made::Done);
        }
    }
    let call = format!("CONSUMER.DURABLE.CREATE.{WORK_QUEUE}.{}", wanted.durable);
    let body = json!({ "stream_name": WORK_QUEUE, "config": config });
    let made = persist(PATIENCE, || async {
        match link.call::<Existing>(&call, &body).await {
            Err(CallError::Refused(error)) if code::CONSUMER_OVERLAPS.contains(&error.err_code) => {
                Ok(None)
            }
            Ok(made) => Ok(Some(made)),
            Err(error) => Err(error.into()),
        }
    })
    .await?;
    match made {
        None => Ok(Made::Overlaps),
        // An old server ignores what it does not know, and may have made something else.
        Some(made) if !same(&made.config, &config) => Err(TransportError::Other(format!(
            "the server has made consumer `{}` with other settings than asked for",
            wanted.durable
        ))),
        Some(_) => Ok(Made::Done),
    }
}

/// Every consumer of WORK_QUEUE.
pub(super) async fn list(link: &Link) -> Result<Vec<Existing>, TransportError> {
    #[derive(Deserialize)]
    struct Page {
        #[serde(default)]
        total: usize,
        #[serde(default)]
        consumers: Option<Vec<Existing>>,
    }
    let mut all: Vec<Existing> = Vec::new();
    loop {
        let call = format!("CONSUMER.LIST.{WORK_QUEUE}");
        let page: Page = link.call(&call, &json!({ "offset": all.len() })).await?;
        let found = page.consumers.unwrap_or_default();
        let last = found.is_empty();
        all.extend(found.into_iter().map(Existing::with_filter));
        if last || all.len() >= page.total {
            return Ok(all);
        }
    }
}

/// Deletes a consumer; that it is gone already is fine. Items stay in the stream.
pub(super) async fn delete(link: &Link, durable: &str) -> Result<(), TransportError> {
    let call = format!("CONSUMER.DELETE.{WORK_QUEUE}.{durable}");
    match link.call::<Value>(&call, &json!(null)).await {
        Err(error) if error.is(code::CONSUMER_NOT_FOUND) => Ok(()),
        deleted => Ok(deleted.map(|_| ())?),
    }
}

async fn info(link: &Link, durable: &str) -> Result<Option<Existing>, TransportError> {
    let call = format!("CONSUMER.INFO.{WORK_QUEUE}.{durable}");
    match link.call::<Existing>(&call, &json!(null)).await {
        Ok(existing) => Ok(Some(existing.with_filter())),
        Err(error) if error.is(code::CONSUMER_NOT_FOUND) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Everything said explicitly; replicas and storage as the stream has them.
fn config(wanted: &WorkConsumer) -> Map<String, Value> {
    let nanos = u64::try_from(ACK_WAIT.as_nanos()).unwrap_or(u64::MAX);
    let Value::Object(config) = json!({
        "durable_name": wanted.durable,
        "deliver_policy": "all",
        "ack_policy": "explicit",
        "ack_wait": nanos,
        // The host counts deliveries: with a limit here an item would stay in the stream, unseen.
        "max_deliver": -1,
        "filter_subject": wanted.filter,
        "replay_policy": "instant",
        "max_waiting": MAX_WAITING,
        "max_ack_pending": MAX_ACK_PENDING,
    }) else {
        return Map::new();
    };
    config
}

/// Whether a consumer has every setting that we say.
fn same(existing: &Map<String, Value>, wanted: &Map<String, Value>) -> bool {
    let idle = existing
        .get("inactive_threshold")
        .and_then(Value::as_u64)
        .unwrap_or(0);
    idle == 0
        && wanted
            .iter()
            .all(|(field, value)| existing.get(field) == Some(value))
}
