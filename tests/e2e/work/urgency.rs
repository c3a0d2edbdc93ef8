//! Priorities: urgent work first, and low work not starved.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::json;

use harness::{Host, Nats};

#[tokio::test]
async fn urgent_work_is_taken_more_often_and_low_work_is_not_starved() {
    const EACH: usize = 45;
    let nats = Nats::start().await;
    let _host = Host::new(&nats)
        .plugin("probe", |p| p.work("lab", "*"))
        .run()
        .await;
    nats.request_json("agent.probe-001.cmd.pause", "").await;
    let slow = json!({"do": "sleep", "ms": 15, "how": "wait"}).to_string();
    for number in 0..EACH {
        for priority in ["low", "normal", "high", "critical"] {
            let subject = format!("work.lab.{priority}.x");
            nats.work_as(&format!("{priority}-{number}"), &subject, slow.clone())
                .await;
        }
    }
    nats.request_json("agent.probe-001.cmd.resume", "").await;
    nats.work_is_done().await;

    // RESULTS has them in the order in which they were done.
    let done: Vec<String> = nats
        .stored("RESULTS", "agent.*.resp.*")
        .await
        .iter()
        .map(|result| result.header("X-Priority"))
        .collect();
    assert_eq!(done.len(), 4 * EACH, "all of them, each once");
    let mut first: BTreeMap<&str, usize> = BTreeMap::new();
    for priority in &done[..60] {
        *first.entry(priority.as_str()).or_default() += 1;
    }
    // 8 : 4 : 2 : 1 of 60 is 32, 16, 8, 4; the very first polls know no backlog yet.
    let share = |priority: &str| first.get(priority).copied().unwrap_or(0);
    assert!((24..=40).contains(&share("critical")), "{first:?}");
    assert!((10..=22).contains(&share("high")), "{first:?}");
    assert!((4..=14).contains(&share("normal")), "{first:?}");
    assert!((2..=10).contains(&share("low")), "{first:?}");
}

#[tokio::test]
async fn the_short_form_is_as_urgent_as_normal() {
    let nats = Nats::start().await;
    let _host = Host::new(&nats)
        .plugin("probe", |p| p.work("lab", "*"))
        .run()
        .await;
    nats.request_json("agent.probe-001.cmd.pause", "").await;
    let slow = json!({"do": "sleep", "ms": 15, "how": "wait"}).to_string();
    for _ in 0..30 {
        nats.work("work.lab.x", slow.clone()).await;
        nats.work("work.lab.normal.x", slow.clone()).await;
    }
    nats.request_json("agent.probe-001.cmd.resume", "").await;
    nats.work_is_done().await;
    let results = nats.stored("RESULTS", "agent.*.resp.*").await;
    assert_eq!(results.len(), 60);
    assert!(
        results
            .iter()
            .all(|result| result.header("X-Priority") == "normal")
    );
    // Odd sequences are of the short form; ids tell the sequence.
    let short = results[..30].iter().filter(|result| {
        let id = result.header("X-Request-ID");
        id.strip_prefix("wq-").unwrap().parse::<u64>().unwrap() % 2 == 1
    });
    let short = short.count();
    assert!((8..=22).contains(&short), "{short} of the first 30");
}

#[tokio::test]
async fn no_item_is_left_lying_while_an_agent_is_free() {
    let nats = Nats::start().await;
    let _host = Host::new(&nats)
        .plugin("probe", |p| {
            p.instances(2)
                .work_with("lab", "*", "max_deliver = 3\nbackoff = [\"20ms\"]")
        })
        .run()
        .await;
    // Items arrive for every poll while agents turn busy, so that polls are taken back with an item
    // on its way to them.
    let forms = ["critical.x", "high.x", "normal.x", "low.x", "x"];
    let (mut slowest, mut again) = (Duration::ZERO, 0);
    for round in 0..60 {
        let begun = Instant::now();
        let fails = round % 4 == 0;
        let command = match fails {
            true => json!({"do": "fail_times", "n": 1}),
            false => json!({"do": "sleep", "ms": round % 5, "how": "wait"}),
        };
        let ids: Vec<String> = (0..10).map(|part| format!("i{round}-{part}")).collect();
        for (part, id) in ids.iter().enumerate() {
            let subject = format!("work.lab.{}", forms[part % forms.len()]);
            nats.work_as(id, &subject, command.to_string()).await;
        }
        for id in &ids {
            let tries = nats.result_of(id).await.header("X-Retry-Count");
            again += usize::from(!fails && tries != "0");
        }
        slowest = slowest.max(begun.elapsed());
    }
    // The ack wait is 30 s: who comes near it was delivered to nobody.
    assert!(slowest < Duration::from_secs(10), "{slowest:?}");
    assert_eq!(again, 0, "an item counts as tried that nobody tried");
}
