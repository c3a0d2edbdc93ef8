//! All connections end at every boundary of a message, in turn: after the first message of a flow,
//! after the second, and so on to its last.

use std::time::{Duration, Instant};

use harness::{Host, Nats, Outside, Plugin, Proxy, Running, until};
use serde_json::json;

use super::account::{Account, Offered};
use super::items::Intent;
use super::pace::Pace;
use super::settled::{found, wait};

/// How long no message may pass before the next cut.
const QUIET: Duration = Duration::from_millis(200);
/// How long a flow may take to reach its boundary; one that was passed on to nobody waits for its
/// next delivery, and the boundaries behind it are those of the next round.
const REACHED: Duration = Duration::from_secs(4);

/// A host that says little by itself, behind a proxy.
struct Bed {
    nats: Nats,
    proxy: Proxy,
    host: Running,
}

impl Bed {
    async fn new(plugin: impl FnOnce(Plugin) -> Plugin) -> Self {
        let nats = Nats::start().await;
        let proxy = Proxy::before(nats.port()).await;
        let host = Host::new(&nats)
            .through(&[&proxy])
            .line("heartbeat = \"1m\"");
        let host = host.plugin("probe", plugin).run().await;
        Self { nats, proxy, host }
    }

    /// Waits until the agent answers on every connection and nothing passes any more.
    async fn is_quiet(&self) {
        let (mut seen, mut since) = (self.proxy.seen().messages, Instant::now());
        until("the host is back and quiet", async || {
            let now = self.proxy.seen().messages;
            if now != seen {
                (seen, since) = (now, Instant::now());
            }
            (since.elapsed() > QUIET && self.answers().await).then_some(())
        })
        .await;
    }

    async fn answers(&self) -> bool {
        let before = self.proxy.seen().messages;
        let asked = self
            .nats
            .client
            .request("agent.probe-001.cmd.status", "".into());
        let answer = tokio::time::timeout(Duration::from_secs(1), asked).await;
        // The question and its answer, and nothing else.
        matches!(answer, Ok(Ok(_))) && self.proxy.seen().messages <= before + 2
    }

    /// Cuts a flow at each of its boundaries, round after round while the scenario has time. Every
    /// flow is done, once. At least so many boundaries are expected.
    async fn cut_everywhere(
        &self,
        pace: &Pace,
        least: u64,
        begin: impl AsyncFn(&Outside, &str),
        is_over: impl AsyncFn(&Outside, &str) -> bool,
    ) {
        let mut offered = Offered::default();
        for round in 1.. {
            let mut boundary = 0;
            let mut over = false;
            while !over {
                boundary += 1;
                assert!(boundary < 200, "a flow has an end");
                let id = format!("cut-{round}-{boundary}");
                self.is_quiet().await;
                let cuts = self.proxy.seen().cuts;
                self.proxy.cut_after(boundary);
                begin(&self.nats, &id).await;
                over = self
                    .is_over_uncut(cuts, async || is_over(&self.nats, &id).await)
                    .await;
                self.proxy.cut_no_more();
                offered.sure.insert(id, Intent::Done);
            }
            assert!(boundary > least, "{} boundaries", boundary - 1);
            if !pace.goes_on() {
                break;
            }
        }
        wait(&self.nats).await;
        pace.close(&Account::of(&offered, &found(&self.nats).await));
        let panics = self
            .host
            .logs
            .find(|line| line.message().contains("panicked"));
        assert!(panics.is_empty(), "{panics:?}");
    }

    /// Waits for one cut more than these, or for the end of the flow without: whether it is that.
    async fn is_over_uncut(&self, cuts: u64, is_over: impl AsyncFn() -> bool) -> bool {
        let begun = Instant::now();
        while self.proxy.seen().cuts == cuts && begun.elapsed() < REACHED {
            if is_over().await {
                return self.proxy.seen().cuts == cuts;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        false
    }
}

#[tokio::test]
async fn a_work_item_is_done_once_wherever_the_connections_end() {
    let pace = Pace::of("cuts: work item", 1);
    let bed = Bed::new(|p| p.work_with("lab", "*", "max_deliver = 8\nbackoff = [\"1ms\"]")).await;
    let begin = async |nats: &Outside, id: &str| {
        let subject = format!("work.lab.{id}");
        nats.work_as(id, &subject, r#"{"do": "echo", "value": 1}"#)
            .await;
    };
    let is_over = async |nats: &Outside, id: &str| {
        let item = format!("work.lab.{id}");
        let done = !nats.results_of(id).await.is_empty();
        done && nats.stored("WORK_QUEUE", &item).await.is_empty()
    };
    // The item, its attempt and the result with their answers, and the ack.
    bed.cut_everywhere(&pace, 6, begin, is_over).await;
}

#[tokio::test]
async fn a_pipeline_is_completed_once_wherever_the_connections_end() {
    let pace = Pace::of("cuts: pipeline", 1);
    let bed = Bed::new(|p| p.stage("read", "next = [\"write\"]").stage("write", "")).await;
    let begin = async |nats: &Outside, id: &str| {
        nats.work(&format!("pipeline.{id}.01.read"), "{}").await;
    };
    let is_over = async |nats: &Outside, id: &str| {
        let complete = format!("pipeline.{id}.complete");
        !nats.stored("COORDINATION", &complete).await.is_empty()
    };
    // The input, its attempt, the next input and its result, with their answers and acks.
    bed.cut_everywhere(&pace, 10, begin, is_over).await;
}

#[tokio::test]
async fn a_request_is_answered_at_most_once_and_the_next_one_surely() {
    let bed = Bed::new(|p| p.subscribe_queue("lab.ask", "lab")).await;
    let ask = async |nats: &Outside| {
        let counter = json!({"do": "counter"}).to_string();
        let asked = nats.client.request("lab.ask", counter.into());
        let answer = tokio::time::timeout(Duration::from_secs(2), asked)
            .await
            .ok()?
            .ok()?;
        let told: serde_json::Value = serde_json::from_slice(&answer.payload).ok()?;
        told["count"].as_u64()
    };
    for boundary in 1..=4 {
        bed.is_quiet().await;
        let before = until("it is answered", async || ask(&bed.nats).await).await;
        bed.proxy.cut_after(boundary);
        ask(&bed.nats).await;
        bed.proxy.cut_no_more();
        bed.is_quiet().await;
        let after = until("it is answered again", async || ask(&bed.nats).await).await;
        assert!(
            after - before <= 2,
            "one request ran {} times",
            after - before - 1
        );
    }
    assert!(bed.proxy.seen().cuts >= 2, "{:?}", bed.proxy.seen());
}
