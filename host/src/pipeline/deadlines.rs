//! Deadlines of open joins.
//!
//! Every host that runs the stage watches its records and publishes, when a deadline has passed, an
//! input with `X-Join: deadline`. All hosts use the same message id, so one message is stored; the
//! host that pulls it closes the join by the record. The server's time decides, which no host knows
//! exactly: a deadline published too early has no effect, and it is published again, at growing
//! intervals, while the record is open.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use mistersmith_core::limits;
use mistersmith_core::names::{StageSubject, WorkflowId};
use mistersmith_nats::{Change, Headers, MESSAGE_ID, Trace, TransportError, Watch};

use super::join::{Moment, Record};
use super::{DEADLINE, JOIN, Stage, joins};

/// The wait before a deadline without effect is published again; it doubles each time.
const AGAIN: Duration = Duration::from_secs(5);
/// The pause before the records are watched again, after the watch broke.
const PAUSE: Duration = Duration::from_secs(1);
/// Timeout of one publish.
const ATTEMPT: Duration = Duration::from_secs(4);

/// Watches the open joins of a stage until stopped.
pub async fn watch(stage: Arc<Stage>, stop: CancellationToken) {
    loop {
        let watching = async {
            let pattern = format!("*.{}", stage.spec.stage);
            let watch = stage.records.watch(&pattern).await?;
            follow(&stage, watch).await
        };
        let ended = tokio::select! {
            () = stop.cancelled() => return,
            ended = watching => ended,
        };
        if let Err(error) = ended {
            tracing::debug!(%error, stage = %stage.spec.stage, "open joins are not watched; again in a moment");
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}

/// An open join.
struct Open {
    record: Record,
    /// Number of times that its deadline was published.
    said: u32,
}

async fn follow(stage: &Stage, mut watch: Watch) -> Result<(), TransportError> {
    let mut open: BTreeMap<String, Open> = BTreeMap::new();
    let mut clock = tokio::time::interval(limits::JOIN_LOOK);
    clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    // Joins that did not fit are found when the watch starts over.
    let mut overflowed: Option<Instant> = None;
    loop {
        tokio::select! {
            change = watch.next() => match change {
                Some(Ok(change)) => {
                    if !note(&mut open, change) {
                        overflowed.get_or_insert_with(Instant::now);
                    }
                }
                Some(Err(error)) => return Err(error),
                None => return Ok(()),
            },
            _ = clock.tick() => {
                for (key, join) in &mut open {
                    say(stage, key, join).await;
                }
                let full = open.len() >= limits::MAX_OPEN_JOINS;
                if !full && overflowed.is_some_and(|at| at.elapsed() >= limits::UPKEEP) {
                    return Ok(());
                }
            }
        }
    }
}

/// Applies a change; returns whether there was room for it.
fn note(open: &mut BTreeMap<String, Open>, change: Change) -> bool {
    let record = change.value.and_then(|value| joins::read(&value).ok());
    // A join without branches has received only notices of failures.
    let waits = |record: &Record| record.closed.is_none() && !record.branches.is_empty();
    match record.filter(waits) {
        None => {
            open.remove(&change.key);
            true
        }
        Some(_) if open.len() >= limits::MAX_OPEN_JOINS && !open.contains_key(&change.key) => false,
        Some(record) => {
            let known = open.get(&change.key);
            let known = known.filter(|open| open.record.deadline == record.deadline);
            let said = known.map_or(0, |open| open.said);
            open.insert(change.key, Open { record, said });
            true
        }
    }
}

/// When a deadline is published for the n-th time (from 0), after it has passed.
fn due(said: u32) -> Duration {
    match said.checked_sub(1) {
        None => Duration::ZERO,
        Some(n) => AGAIN.saturating_mul(1 << n.min(20)),
    }
}

async fn say(stage: &Stage, key: &str, join: &mut Open) {
    let Some(overdue) = join.record.deadline.overdue(stage.clock.now()) else {
        return;
    };
    if overdue < due(join.said) {
        return;
    }
    let Some(workflow) = key
        .split('.')
        .next()
        .and_then(|w| w.parse::<WorkflowId>().ok())
    else {
        return;
    };
    let at = StageSubject {
        workflow,
        number: join.record.number(),
        stage: stage.spec.stage.clone(),
    };
    let mut headers = Headers::new();
    Trace::begin(&*join.record.request_id).stamp(None, &mut headers);
    headers.set(JOIN, DEADLINE);
    headers.set(MESSAGE_ID, &id(&at, join.record.deadline, join.said));
    let published = stage
        .connection
        .publish_stored(&at.to_string(), headers, Bytes::new(), ATTEMPT)
        .await;
    match published {
        Ok(_) => join.said += 1,
        Err(error) => tracing::debug!(%error, key, "the deadline of a join was not said"),
    }
}

/// The message id: the same on every host, and a different one for a reopened join.
fn id(at: &StageSubject, deadline: Moment, said: u32) -> String {
    format!(
        "join:{}:{}:{}:{said}",
        at.workflow,
        at.stage,
        deadline.nanos()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_said_at_growing_distances() {
        let seconds: Vec<u64> = (0..6).map(|n| due(n).as_secs()).collect();
        assert_eq!(seconds, [0, 5, 10, 20, 40, 80]);
        assert!(due(u32::MAX) > Duration::from_secs(3600));
    }
}
