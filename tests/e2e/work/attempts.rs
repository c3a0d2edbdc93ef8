//! Attempts are counted, not deliveries: trouble of the system uses none up, and none is made too
//! often.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use harness::{Ear, Host, Nats, Plugin, Running, Stored, until, until_in};

/// The server delivers an item again after the ack wait, 30 s; the machine may be busy.
const ACK_WAIT: Duration = Duration::from_secs(75);

/// An item that says that it was begun, by its request id, and then does something.
fn telling(id: &str, command: Value) -> String {
    let publish = json!({"do": "publish", "subject": format!("begun.{id}")});
    json!({"do": "sequence", "commands": [publish, command]}).to_string()
}

fn once(p: Plugin) -> Plugin {
    p.instances(2)
        .work_with("lab", "*", "max_deliver = 1")
        .grant_publish("begun.*")
}

/// How often each item was begun.
fn begun(ear: &Ear) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for subject in ear.subjects() {
        *counts.entry(subject).or_default() += 1;
    }
    counts
}

/// Publishes items that take a moment.
async fn feed(nats: &Nats, from: usize, to: usize) {
    for number in from..to {
        let id = format!("i{number}");
        let command = json!({"do": "sleep", "ms": 20, "how": "wait"});
        nats.work_as(&id, "work.lab.x", telling(&id, command)).await;
    }
}

/// Waits until the queue is empty; then every item was begun once and has a result.
async fn all_ran_once(nats: &Nats, ear: &Ear, items: usize) {
    until_in(ACK_WAIT, "the work queue is empty", async || {
        (nats.stream_info("WORK_QUEUE").await.state.messages == 0).then_some(())
    })
    .await;
    let letters = nats.stored("DLQ", "dlq.>").await;
    let kinds: Vec<String> = letters.iter().map(|l| l.header("X-DLQ-Error")).collect();
    assert!(kinds.is_empty(), "given up: {kinds:?}");
    let counts = begun(ear);
    assert_eq!(counts.len(), items);
    let twice: Vec<_> = counts.iter().filter(|(_, count)| **count > 1).collect();
    assert!(twice.is_empty(), "begun more than once: {twice:?}");
    assert_eq!(nats.stored("RESULTS", "agent.*.resp.*").await.len(), items);
}

/// What an item that is done with leaves behind.
async fn records(nats: &Nats) -> Vec<String> {
    let keys = nats.keys("ATTEMPTS").await;
    keys.into_iter()
        .filter(|key| key.starts_with("item."))
        .collect()
}

fn attempts_of(letter: &Stored) -> Vec<Value> {
    serde_json::from_str(&letter.header("X-DLQ-Attempt-Log")).unwrap()
}

#[tokio::test]
async fn a_host_or_a_server_that_stood_still_has_used_no_attempt() {
    const ITEMS: usize = 300;
    let nats = Nats::start().await;
    let ear = nats.listen("begun.*").await;
    let host = Host::new(&nats).plugin("probe", once).run().await;
    feed(&nats, 0, 100).await;
    host.pause();
    // Longer than a standing poll and everything that waits for its end.
    tokio::time::sleep(Duration::from_secs(5)).await;
    host.resume();
    feed(&nats, 100, 200).await;
    nats.pause();
    tokio::time::sleep(Duration::from_secs(5)).await;
    nats.resume();
    feed(&nats, 200, ITEMS).await;
    all_ran_once(&nats, &ear, ITEMS).await;
}

#[tokio::test]
async fn pauses_reloads_and_other_instances_use_no_attempt() {
    const ITEMS: usize = 400;
    let nats = Nats::start().await;
    let ear = nats.listen("begun.*").await;
    let host = Host::new(&nats).plugin("probe", once).run().await;
    for round in 0..4 {
        feed(&nats, round * 100, round * 100 + 100).await;
        nats.request_json("agent.probe.cmd.pause", "").await;
        let version = format!("0.{}.0", round + 2);
        let instances = u32::try_from(round % 2 + 1).unwrap();
        host.drop_in(
            &once(Plugin::new("probe"))
                .instances(instances)
                .version(&version),
        );
        until("the new version runs", async || {
            let status = nats.request_json("agent.probe-001.cmd.status", "").await;
            (status["version"] == version.as_str()).then_some(())
        })
        .await;
        nats.request_json("agent.probe.cmd.resume", "").await;
    }
    all_ran_once(&nats, &ear, ITEMS).await;
}

#[tokio::test]
async fn a_result_that_cannot_be_stored_is_kept_until_it_can() {
    const ITEMS: usize = 50;
    let nats = Nats::start().await;
    let ear = nats.listen("begun.*").await;
    let host = Host::new(&nats).plugin("probe", once).run().await;
    let results = nats.stream_info("RESULTS").await.config;
    nats.js.delete_stream("RESULTS").await.unwrap();
    feed(&nats, 0, ITEMS).await;
    ear.number(ITEMS).await;
    host.logs
        .first("it says so", |line| {
            line.level() == "ERROR" && line.message().contains("output not stored")
        })
        .await;
    assert_eq!(
        nats.stream_info("WORK_QUEUE").await.state.messages,
        ITEMS as u64,
        "nothing is lost"
    );
    nats.js.create_stream(results).await.unwrap();
    all_ran_once(&nats, &ear, ITEMS).await;
    assert!(records(&nats).await.is_empty());
}

/// Waits until items wait in the host that nobody has begun, and those that were begun are stored.
async fn holds(nats: &Nats, ear: &Ear, count: usize) {
    ear.number(count).await;
    attempts_are_stored(nats, count).await;
}

/// Waits until the store knows of so many attempts that have begun and not ended.
pub(super) async fn attempts_are_stored(nats: &Nats, count: usize) {
    until("the attempts are stored", async || {
        let keys = nats.keys("ATTEMPTS").await;
        let open = keys.iter().filter(|key| key.starts_with("open."));
        let mut items = 0;
        for key in open {
            let value = nats.kv_json("ATTEMPTS", key).await?;
            items += value["attempts"].as_array()?.len();
        }
        (items >= count).then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_a_killed_host_has_begun_counts_and_what_it_has_not_does_not() {
    let nats = Nats::start().await;
    let ear = nats.listen("begun.*").await;
    let mut host = Host::new(&nats).plugin("probe", once).run().await;
    let slow = json!({"do": "sleep", "ms": 4000, "how": "wait"});
    for number in 0..6 {
        let id = format!("i{number}");
        nats.work_as(&id, "work.lab.x", telling(&id, slow.clone()))
            .await;
    }
    holds(&nats, &ear, 2).await;
    host.kill();
    let first = begun(&ear);
    host.start();
    host.wait_ready().await;
    let letters = until_in(ACK_WAIT, "what was begun is given up", async || {
        let letters = nats.stored("DLQ", "dlq.>").await;
        (letters.len() == first.len()).then_some(letters)
    })
    .await;
    for letter in &letters {
        assert_eq!(letter.header("X-DLQ-Error-Kind"), "max-deliver");
        assert_eq!(letter.header("X-DLQ-Attempts"), "1");
        let attempts = attempts_of(letter);
        assert_eq!(attempts.len(), 1, "{attempts:?}");
        assert_eq!(attempts[0]["delivery"], 1);
        assert_eq!(attempts[0]["kind"], Value::Null, "nobody knows");
        let id = letter.header("X-Request-ID");
        assert!(first.contains_key(&format!("begun.{id}")), "{id}");
    }
    until_in(ACK_WAIT, "the rest is done", async || {
        (nats.stream_info("WORK_QUEUE").await.state.messages == 0).then_some(())
    })
    .await;
    let counts = begun(&ear);
    assert_eq!(counts.len(), 6);
    assert!(counts.values().all(|count| *count == 1), "{counts:?}");
    assert_eq!(
        nats.stored("RESULTS", "agent.*.resp.*").await.len(),
        6 - first.len()
    );
    assert!(records(&nats).await.is_empty());
}

async fn killed_while_it_runs(host: &mut Running, ear: &Ear, times: usize) {
    until_in(ACK_WAIT, "it is begun", async || {
        (ear.all().len() == times).then_some(())
    })
    .await;
    host.kill();
    host.start();
    host.wait_ready().await;
}

#[tokio::test]
async fn an_item_that_ends_its_host_each_time_ends_itself() {
    let nats = Nats::start().await;
    let ear = nats.listen("begun.*").await;
    let mut host = Host::new(&nats)
        .plugin("probe", |p| {
            once(p).work_with("poison", "*", "max_deliver = 2")
        })
        .run()
        .await;
    let slow = json!({"do": "sleep", "ms": 4000, "how": "wait"});
    nats.work("work.poison.x", telling("x", slow)).await;
    holds(&nats, &ear, 1).await;
    killed_while_it_runs(&mut host, &ear, 1).await;
    killed_while_it_runs(&mut host, &ear, 2).await;
    let letter = until_in(ACK_WAIT, "it is given up", async || {
        nats.stored("DLQ", "dlq.>").await.pop()
    })
    .await;
    assert_eq!(letter.header("X-DLQ-Attempts"), "2");
    let deliveries: Vec<Value> = attempts_of(&letter)
        .iter()
        .map(|attempt| attempt["delivery"].clone())
        .collect();
    assert_eq!(deliveries, [json!(1), json!(2)]);
    assert_eq!(ear.all().len(), 2);
}

#[tokio::test]
async fn a_dead_letter_lists_the_attempts() {
    let nats = Nats::start().await;
    let host = Host::new(&nats)
        .plugin("probe", |p| {
            p.instances(2)
                .work_with("lab", "*", "max_deliver = 3\nbackoff = [\"20ms\"]")
        })
        .run()
        .await;
    nats.work(
        "work.lab.x",
        json!({"do": "fail_other", "message": "näh\nno"}).to_string(),
    )
    .await;
    let letter = nats.dead_letters("work.lab.x", 1).await.remove(0);
    assert_eq!(letter.header("X-DLQ-Attempts"), "3");
    let log = letter.header("X-DLQ-Attempt-Log");
    assert!(log.is_ascii(), "some clients drop other headers: {log}");
    let attempts = attempts_of(&letter);
    assert_eq!(attempts.len(), 3);
    for (attempt, delivery) in attempts.iter().zip(1..) {
        assert_eq!(attempt["delivery"], delivery);
        assert_eq!(attempt["kind"], "failed");
        assert!(
            attempt["error"].as_str().unwrap().starts_with("näh no"),
            "{attempt}"
        );
        assert!(
            attempt["agent_id"]
                .as_str()
                .unwrap()
                .starts_with("probe-00")
        );
        assert!(attempt["at"].as_str().unwrap().ends_with('Z'));
    }
    nats.work_is_done().await;
    assert!(
        records(&nats).await.is_empty(),
        "nothing needs to be known any more"
    );
    let shown = host
        .cli(&["dlq", "show", &letter.sequence.to_string()])
        .await
        .ok();
    assert!(shown.stdout.contains("attempt 3"), "{shown:?}");
    let entry = nats.audited("dead-letter", |_| true).await;
    assert_eq!(entry["attempts"], 3);
}

#[tokio::test]
async fn an_item_that_failed_for_good_is_not_begun_again_while_its_letter_cannot_be_stored() {
    let nats = Nats::start().await;
    let ear = nats.listen("begun.*").await;
    let host = Host::new(&nats)
        .plugin("probe", |p| p.work("lab", "*").grant_publish("begun.*"))
        .run()
        .await;
    let letters = nats.stream_info("DLQ").await.config;
    nats.js.delete_stream("DLQ").await.unwrap();
    let reject = json!({"do": "fail_reject", "message": "no"});
    nats.work("work.lab.x", telling("x", reject)).await;
    host.logs.saying("dead letter not stored").await;
    nats.js.create_stream(letters).await.unwrap();
    let letter = nats.dead_letters("work.lab.x", 1).await.remove(0);
    assert_eq!(letter.header("X-DLQ-Error-Kind"), "rejected");
    assert_eq!(ear.all().len(), 1, "it ran once");
    nats.work_is_done().await;
}

#[tokio::test]
async fn what_may_be_the_last_attempt_does_not_begin_unrecorded() {
    let nats = Nats::start().await;
    let ear = nats.listen("begun.*").await;
    let host = Host::new(&nats).plugin("probe", once).run().await;
    let bucket = nats.stream_info("KV_ATTEMPTS").await.config;
    nats.js.delete_stream("KV_ATTEMPTS").await.unwrap();
    feed(&nats, 0, 4).await;
    host.logs
        .saying("attempts at work items are not recorded")
        .await;
    assert!(ear.all().is_empty());
    nats.js.create_stream(bucket).await.unwrap();
    all_ran_once(&nats, &ear, 4).await;
}
