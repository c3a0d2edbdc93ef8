//! The durable pull consumers: which ones a plugin's work and stages need, and their configuration
//! on the server.
//!
//! One consumer per priority, and one for the short form of the subject, because servers before
//! 2.10 know one filter per consumer. Consumers of a work queue must not overlap: JetStream refuses
//! it, and [`super::claims`] says whose the other one is. A consumer is never deleted while a
//! living host claims it; its messages stay in the stream. The consumer of a stage is never
//! deleted, since COORDINATION keeps inputs that were handled; one that somebody else has deleted
//! begins behind them (`claims/floors`).

use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::{CallError, code};
use crate::{Connection, TransportError};
use mistersmith_core::config::{StageSpec, TaskFilter, WorkSpec};
use mistersmith_core::limits;
use mistersmith_core::names::{Priority, subject};

/// The stream of the work.
pub const WORK_STREAM: &str = "WORK_QUEUE";
/// The stream of the inputs of stages.
pub const STAGE_STREAM: &str = "COORDINATION";
/// How the consumers of stages begin; those of work begin with `workers-`.
const STAGE_PREFIX: &str = "pipeline-";

/// Most deliveries of one consumer that wait for an ack, all hosts together: far above what hosts
/// ask for, and a bound for a cluster's memory.
const MAX_ACK_PENDING: i64 = 20_000;

/// One consumer that some work or a stage needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consumer {
    /// Its stream.
    pub stream: &'static str,
    /// Its name: `pipeline-<stage>`, or `workers-<domain>[-<version>]_<priority>_<task or all>`;
    /// `short` stands for the priority where the subject names none.
    pub durable: String,
    /// The one subject pattern that it delivers.
    pub filter: String,
    /// The priority of what it delivers.
    pub priority: Priority,
}

/// The consumers of a `[[work]]`: four priorities, and the short form.
pub fn of(work: &WorkSpec) -> Vec<Consumer> {
    let suffix = work
        .version
        .as_ref()
        .map(|v| format!("-{v}"))
        .unwrap_or_default();
    let prefix = work
        .version
        .as_ref()
        .map(|v| format!("{v}."))
        .unwrap_or_default();
    let (domain, task) = (&work.domain, &work.task);
    let last = match task {
        TaskFilter::All => "all",
        TaskFilter::One(task) => task.as_str(),
    };
    let name = |middle: &str| format!("workers-{domain}{suffix}_{middle}_{last}");
    let long = Priority::ALL.map(|priority| Consumer {
        stream: WORK_STREAM,
        durable: name(priority.as_str()),
        filter: format!("work.{prefix}{domain}.{priority}.{task}"),
        priority,
    });
    let short = Consumer {
        stream: WORK_STREAM,
        durable: name("short"),
        filter: format!("work.{prefix}{domain}.{task}"),
        priority: Priority::Normal,
    };
    long.into_iter().chain([short]).collect()
}

/// The consumer of a `[[pipeline]]`.
pub fn of_stage(stage: &StageSpec) -> Consumer {
    let stage = &stage.stage;
    Consumer {
        stream: STAGE_STREAM,
        durable: format!("{STAGE_PREFIX}{stage}"),
        filter: format!("pipeline.*.*.{stage}"),
        priority: Priority::Normal,
    }
}

/// The stream of the consumer with this name.
pub(super) fn stream_of(durable: &str) -> &'static str {
    if durable.starts_with(STAGE_PREFIX) {
        STAGE_STREAM
    } else {
        WORK_STREAM
    }
}

/// A consumer, as the server describes it.
#[derive(Debug, Clone, Deserialize)]
pub struct ConsumerState {
    /// Its name.
    pub name: String,
    config: ConsumerConfig,
    /// Messages that match and were not delivered yet.
    #[serde(default)]
    pub num_pending: u64,
    /// Messages that were delivered and not acknowledged.
    #[serde(default)]
    pub num_ack_pending: u64,
    #[serde(default)]
    ack_floor: Place,
}

#[derive(Debug, Clone, Deserialize)]
struct ConsumerConfig {
    #[serde(default)]
    filter_subject: String,
    #[serde(default)]
    ack_policy: String,
    #[serde(default)]
    ack_wait: u64,
    #[serde(default)]
    max_deliver: i64,
    #[serde(default)]
    max_ack_pending: i64,
    #[serde(default)]
    inactive_threshold: u64,
    #[serde(default)]
    deliver_policy: Option<String>,
    #[serde(default)]
    opt_start_seq: Option<u64>,
}

/// A place in the order of a stream and of a consumer.
#[derive(Debug, Clone, Default, Deserialize)]
struct Place {
    #[serde(default)]
    stream_seq: u64,
}

impl ConsumerState {
    /// The pattern that it delivers.
    pub fn filter(&self) -> &str {
        &self.config.filter_subject
    }

    /// All its messages up to this sequence of the stream are acknowledged.
    pub fn ack_floor(&self) -> u64 {
        self.ack_floor.stream_seq
    }

    /// The sequence from which on it delivers; none for all that the stream holds.
    fn start(&self) -> Option<u64> {
        let by_sequence = self.config.deliver_policy.as_deref() == Some("by_start_sequence");
        self.config.opt_start_seq.filter(|_| by_sequence)
    }

    /// Nothing waits for it, delivered or not.
    pub fn is_drained(&self) -> bool {
        self.num_pending == 0 && self.num_ack_pending == 0
    }

    fn is_as_wanted(&self, wanted: &Consumer) -> bool {
        self.is_like(wanted) && self.config.max_ack_pending == MAX_ACK_PENDING
    }

    /// As wanted, but for how many deliveries may wait for an ack.
    fn is_like(&self, wanted: &Consumer) -> bool {
        let config = &self.config;
        config.filter_subject == wanted.filter
            && config.ack_policy == "explicit"
            && u128::from(config.ack_wait) == limits::ACK_WAIT.as_nanos()
            && config.max_deliver == -1
            && config.inactive_threshold == 0
    }
}

/// Why a consumer could not be had.
#[derive(Debug)]
pub(super) enum Obstacle {
    /// Others deliver some of the same subjects.
    Overlaps(Vec<ConsumerState>),
    /// Another consumer has this name.
    NameTaken(String),
    /// The server could not be asked.
    Failed(TransportError),
}

impl From<CallError> for Obstacle {
    fn from(error: CallError) -> Self {
        Self::Failed(error.into())
    }
}

/// Creates or updates a consumer, unless it is as it must be. One that does not exist delivers from
/// the sequence `start` on, or all.
pub(super) async fn ensure(
    connection: &Connection,
    wanted: &Consumer,
    start: Option<u64>,
) -> Result<(), Obstacle> {
    let found = match state(connection, &wanted.durable).await {
        Ok(found) => found,
        Err(error) => return Err(Obstacle::Failed(error)),
    };
    match &found {
        Some(found) if found.is_as_wanted(wanted) => return Ok(()),
        Some(found) if found.filter() != wanted.filter => {
            return Err(Obstacle::NameTaken(found.filter().to_owned()));
        }
        // Somebody changed it by hand; on the same name a create is an update.
        Some(_) | None => {}
    }
    // Where it begins cannot be changed.
    let start = found.as_ref().map_or(start, ConsumerState::start);
    let made = match make(connection, wanted, start, Some(MAX_ACK_PENDING)).await {
        // Asked for none, the server sets what it allows.
        Err(error) if error.is(code::MAX_ACK_PENDING) => {
            make(connection, wanted, start, None).await
        }
        made => made,
    };
    match made {
        Ok(made) if made.is_as_wanted(wanted) => Ok(()),
        Ok(made) if made.is_like(wanted) && made.config.max_ack_pending > 0 => {
            let allowed = made.config.max_ack_pending;
            let before = found.map(|found| found.config.max_ack_pending);
            if before != Some(allowed) {
                tracing::warn!(
                    consumer = wanted.durable,
                    "the NATS server allows this consumer only {allowed} unacknowledged deliveries, on all \
                     hosts together, and further agents wait; fix: raise max_ack_pending in the limits of \
                     its JetStream or of the account"
                );
            }
            Ok(())
        }
        Ok(made) => Err(Obstacle::Failed(TransportError::Other(format!(
            "the server created consumer `{}` with a different configuration: {made:?}",
            wanted.durable
        )))),
        Err(error) if code::CONSUMER_OVERLAPS.iter().any(|code| error.is(*code)) => {
            Err(Obstacle::Overlaps(overlapping(connection, wanted).await?))
        }
        Err(error) => Err(error.into()),
    }
}

/// Makes a consumer, or changes it.
async fn make(
    connection: &Connection,
    wanted: &Consumer,
    start: Option<u64>,
    max_ack_pending: Option<i64>,
) -> Result<ConsumerState, CallError> {
    let Consumer {
        stream, durable, ..
    } = wanted;
    let call = format!("CONSUMER.DURABLE.CREATE.{stream}.{durable}");
    let mut config = config(wanted);
    if let (Some(config), Some(most)) = (config.as_object_mut(), max_ack_pending) {
        config.insert("max_ack_pending".to_owned(), most.into());
    }
    if let (Some(config), Some(start)) = (config.as_object_mut(), start) {
        config.insert("deliver_policy".to_owned(), "by_start_sequence".into());
        config.insert("opt_start_seq".to_owned(), start.into());
    }
    let body = json!({"stream_name": stream, "config": config});
    connection.call(&call, &body).await
}

fn config(wanted: &Consumer) -> Value {
    json!({
        "durable_name": wanted.durable,
        "description": if wanted.stream == STAGE_STREAM {
            "inputs of a stage, handled by MisterSmith agents"
        } else {
            "work taken by MisterSmith agents"
        },
        "deliver_policy": "all",
        "ack_policy": "explicit",
        "ack_wait": u64::try_from(limits::ACK_WAIT.as_nanos()).unwrap_or(u64::MAX),
        // The host counts: with a limit of the server's the message would stay, invisible.
        "max_deliver": -1,
        "filter_subject": wanted.filter,
        "replay_policy": "instant",
    })
}

/// One consumer, as the server describes it; none when it has none of this name.
pub(super) async fn state(
    connection: &Connection,
    name: &str,
) -> Result<Option<ConsumerState>, TransportError> {
    let call = format!("CONSUMER.INFO.{}.{name}", stream_of(name));
    match connection.call(&call, &Value::Null).await {
        Ok(state) => Ok(Some(state)),
        Err(error) if error.is(code::CONSUMER_NOT_FOUND) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Deletes a consumer; one that is not there is as good.
pub(super) async fn delete(connection: &Connection, name: &str) -> Result<(), TransportError> {
    let call = format!("CONSUMER.DELETE.{}.{name}", stream_of(name));
    match connection.call::<Value>(&call, &Value::Null).await {
        Ok(_) => Ok(()),
        Err(error) if error.is(code::CONSUMER_NOT_FOUND) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Every consumer of WORK_QUEUE.
pub async fn all(connection: &Connection) -> Result<Vec<ConsumerState>, TransportError> {
    Ok(connection.consumers(WORK_STREAM, usize::MAX).await?)
}

async fn overlapping(
    connection: &Connection,
    wanted: &Consumer,
) -> Result<Vec<ConsumerState>, Obstacle> {
    let all = all(connection).await.map_err(Obstacle::Failed)?;
    Ok(all
        .into_iter()
        .filter(|other| is_in_the_way(other, wanted))
        .collect())
}

/// Whether both deliver some of the same subjects; a consumer without a filter delivers all.
fn is_in_the_way(other: &ConsumerState, wanted: &Consumer) -> bool {
    other.name != wanted.durable
        && (other.filter().is_empty() || subject::overlaps(other.filter(), &wanted.filter))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn work(domain: &str, version: Option<&str>, task: &str) -> WorkSpec {
        WorkSpec {
            domain: domain.parse().unwrap(),
            version: version.map(|v| v.parse().unwrap()),
            task: if task == "*" {
                TaskFilter::All
            } else {
                TaskFilter::One(task.parse().unwrap())
            },
            max_deliver: 5,
            backoff: Vec::new(),
            schema: None,
        }
    }

    #[test]
    fn the_consumers_of_some_work() {
        let cases = [
            (
                work("nlp", None, "sentiment"),
                [
                    "workers-nlp_critical_sentiment",
                    "work.nlp.critical.sentiment",
                ],
                ["workers-nlp_short_sentiment", "work.nlp.sentiment"],
            ),
            (
                work("vision", Some("v2"), "*"),
                [
                    "workers-vision-v2_critical_all",
                    "work.v2.vision.critical.*",
                ],
                ["workers-vision-v2_short_all", "work.v2.vision.*"],
            ),
        ];
        for (work, first, last) in cases {
            let consumers = of(&work);
            assert_eq!(consumers.len(), 5);
            let pair = |c: &Consumer| [c.durable.clone(), c.filter.clone()];
            assert_eq!(consumers.first().map(pair).unwrap(), first);
            assert_eq!(consumers.last().map(pair).unwrap(), last);
            let filters: Vec<String> = consumers.iter().map(|c| c.filter.clone()).collect();
            assert_eq!(
                filters,
                work.patterns(),
                "the manifest's view of it is the same"
            );
        }
    }

    #[test]
    fn the_consumers_of_one_plugin_never_overlap() {
        let consumers = of(&work("nlp", None, "*"));
        for (i, a) in consumers.iter().enumerate() {
            for b in consumers.iter().skip(i + 1) {
                assert!(!subject::overlaps(&a.filter, &b.filter), "{a:?} {b:?}");
            }
        }
    }
}
