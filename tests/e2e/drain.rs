//! The end of a host: what is in flight is finished or given back, and the rest of the world is
//! told.

use std::time::Duration;

use serde_json::{Value, json};

use harness::{Host, Nats, Stored, until, until_in};

/// An item that says that it has begun, and then takes its time.
fn slow(ms: u64) -> String {
    let commands = json!([
        {"do": "publish", "subject": "begun"},
        {"do": "sleep", "ms": ms, "how": "wait"},
        {"do": "header", "name": "X-Retry-Count"},
    ]);
    json!({"do": "sequence", "commands": commands}).to_string()
}

/// Why each agent has stopped, by the stream of the lifecycle.
async fn stopped(nats: &Nats) -> Vec<(String, String)> {
    let events = nats.stored("AGENT_LIFECYCLE", "agent.*.stopped").await;
    let told = |event: &Stored| {
        let event: Value = event.json();
        let text = |name: &str| event[name].as_str().unwrap().to_owned();
        (text("agent_id"), text("reason"))
    };
    let mut told: Vec<_> = events.iter().map(told).collect();
    told.sort();
    told
}

#[tokio::test]
async fn a_host_that_is_told_to_end_finishes_what_it_has_begun() {
    let nats = Nats::start().await;
    let begun = nats.listen("begun").await;
    let mut host = Host::new(&nats)
        .plugin("probe", |p| {
            p.instances(2)
                .work("lab", "*")
                .subscribe("lab.ask")
                .grant_publish("begun")
        })
        .run()
        .await;
    nats.work_as("one", "work.lab.high.x", slow(1500)).await;
    nats.work_as("two", "work.lab.high.x", slow(1500)).await;
    begun.number(2).await;
    nats.work_as("three", "work.lab.low.x", slow(0)).await;
    host.terminate();
    host.logs.saying("draining").await;
    until("all polls are taken back", async || {
        (nats.polls().await == 0).then_some(())
    })
    .await;
    // Nobody takes this any more.
    nats.work_as("four", "work.lab.critical.x", slow(0)).await;
    assert_eq!(host.ended().await, Some(0));
    for id in ["one", "two"] {
        let results = nats.results_of(id).await;
        assert_eq!(results.len(), 1, "{id}");
        assert_eq!(results[0].header("X-Retry-Count"), "0");
    }
    let left = nats.stored("WORK_QUEUE", "work.>").await;
    let left: Vec<String> = left
        .iter()
        .map(|item| item.header("X-Request-ID"))
        .collect();
    assert!(left.contains(&"four".to_owned()), "{left:?}");
    assert!(
        !left.contains(&"one".to_owned()) && !left.contains(&"two".to_owned()),
        "acknowledged: {left:?}"
    );
    let reason = |id: &str| (id.to_owned(), "drain".to_owned());
    assert_eq!(
        stopped(&nats).await,
        [reason("probe-001"), reason("probe-002")]
    );
    assert!(nats.keys("AGENT_STATE").await.is_empty());
    assert!(
        nats.keys("AGENT_LEASES").await.is_empty(),
        "given up, not expired"
    );
    assert!(host.logs.find(|line| line.level() == "ERROR").is_empty());

    // The next does the rest, under the same names.
    host.start();
    host.wait_ready().await;
    for id in ["three", "four"] {
        let result = nats.result_of(id).await;
        assert!(
            result.subject.starts_with("agent.probe-00"),
            "{}",
            result.subject
        );
    }
    nats.work_is_done().await;
}

#[tokio::test]
async fn what_takes_longer_than_the_grace_period_is_done_again_elsewhere() {
    let nats = Nats::start().await;
    let begun = nats.listen("begun").await;
    let mut host = Host::new(&nats)
        .line("grace = \"1s\"")
        .plugin("probe", |p| {
            p.work("lab", "*")
                .grant_publish("begun")
                .limit("timeout = \"60s\"")
        })
        .run()
        .await;
    nats.work_as("long", "work.lab.high.x", slow(8000)).await;
    begun.number(1).await;
    let (code, took) = host.stop().await;
    assert_eq!(code, Some(0));
    assert!(took < Duration::from_secs(6), "{took:?}");
    assert_eq!(
        nats.stream_info("WORK_QUEUE").await.state.messages,
        1,
        "not lost"
    );
    assert!(nats.results_of("long").await.is_empty());
    assert!(nats.stored("DLQ", "dlq.>").await.is_empty());
    host.start();
    host.wait_ready().await;
    // At the latest when the ack wait of 30 s is over.
    until_in(Duration::from_secs(75), "it begins again", async || {
        (begun.all().len() == 2).then_some(())
    })
    .await;
    let result = nats.result_of("long").await;
    assert_eq!(result.json()[2], "1", "the second try");
    nats.work_is_done().await;
}

#[tokio::test]
async fn an_emergency_ends_all_hosts() {
    let nats = Nats::start().await;
    let start = |name: &str| Host::new(&nats).named(name).plugin("echo", |p| p).run();
    let mut first = start("h1").await;
    let mut second = start("h2").await;
    first
        .cli(&["publish", "broadcast.emergency.shutdown", "fire"])
        .await
        .ok();
    for host in [&mut first, &mut second] {
        assert_eq!(host.ended().await, Some(0));
        host.logs.saying("emergency shutdown").await;
    }
    let told = stopped(&nats).await;
    assert_eq!(told.len(), 2, "{told:?}");
    nats.audited("command", |entry| entry["command"] == "emergency.shutdown")
        .await;
    assert!(nats.keys("AGENT_STATE").await.is_empty());
}
