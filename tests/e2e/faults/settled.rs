//! Waits until nothing is left to do, and reads what became of every item.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::Value;

use harness::{Outside, Stored};

use super::account::{Account, Found};
use super::load::Load;
use super::pace::Pace;

/// How long nothing may get less: an item that a dead host held is delivered again after 30 s, and
/// a host that lost its lease needs a while.
const STANDSTILL: Duration = Duration::from_secs(90);

/// The end of a scenario: its load ends, the rest is done, the account is closed.
pub(super) async fn settle(nats: &Outside, load: Load, pace: &Pace) {
    let offered = load.end().await;
    wait(nats).await;
    pace.close(&Account::of(&offered, &found(nats).await));
}

/// Waits until no work is stored and no input of a stage is pending, or nothing changes any more.
pub(super) async fn wait(nats: &Outside) {
    let (mut least, mut since) = (u64::MAX, Instant::now());
    loop {
        match left(nats).await {
            Some(0) => return,
            Some(left) if left < least => (least, since) = (left, Instant::now()),
            _ => {}
        }
        if since.elapsed() > STANDSTILL {
            println!("{least} are left: {:#?}", nats.consumers().await);
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Items that are stored or in hand.
async fn left(nats: &Outside) -> Option<u64> {
    let work = ask(nats, "STREAM.INFO.WORK_QUEUE").await?;
    let stored = work["state"]["messages"].as_u64()?;
    let stages = ask(nats, "CONSUMER.LIST.COORDINATION").await?;
    let stages = stages["consumers"].as_array()?.iter();
    let pending = stages.map(|stage| {
        let count = |name: &str| stage[name].as_u64().unwrap_or_default();
        count("num_pending") + count("num_ack_pending")
    });
    Some(stored + pending.sum::<u64>())
}

async fn ask(nats: &Outside, call: &str) -> Option<Value> {
    let asked = nats.client.request(format!("$JS.API.{call}"), "".into());
    let answer = tokio::time::timeout(Duration::from_secs(3), asked).await;
    let answer: Value = serde_json::from_slice(&answer.ok()?.ok()?.payload).ok()?;
    answer["error"].is_null().then_some(answer)
}

/// Everything that hosts have made of items.
pub(super) async fn found(nats: &Outside) -> Found {
    let mut results = ids(&nats.stored("RESULTS", "agent.*.resp.*").await);
    let complete = nats.stored("COORDINATION", "pipeline.*.complete").await;
    results.extend(complete.iter().map(|message| workflow(&message.subject)));
    let letters = nats.stored("DLQ", "dlq.>").await;
    let letters = letters.iter().map(|letter| {
        let id = match letter.subject.starts_with("dlq.pipeline.") {
            true => workflow(&letter.subject[4..]),
            false => letter.header("X-Request-ID"),
        };
        (id, letter.header("X-DLQ-Error"))
    });
    let left: BTreeSet<String> = ids(&nats.stored("WORK_QUEUE", ">").await)
        .into_iter()
        .collect();
    Found {
        results,
        letters: letters.collect(),
        left,
    }
}

fn ids(messages: &[Stored]) -> Vec<String> {
    let ids = messages
        .iter()
        .map(|message| message.header("X-Request-ID"));
    ids.collect()
}

/// The second token of a subject.
fn workflow(subject: &str) -> String {
    subject.split('.').nth(1).unwrap_or_default().to_owned()
}
