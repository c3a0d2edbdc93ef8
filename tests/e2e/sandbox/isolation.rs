//! An agent that traps, loops, grows or floods ends or slows itself alone.

use std::time::{Duration, Instant};

use serde_json::json;

use harness::{Host, Nats, Plugin};

#[tokio::test]
async fn a_bad_neighbour_is_not_noticed() {
    let nats = Nats::start().await;
    let ear = nats.listen("agent.>").await;
    let mut host = Host::new(&nats)
        .plugin("probe", |p| {
            p.instances(3)
                .work_with("lab", "*", "max_deliver = 2\nbackoff = [\"50ms\"]")
                .limit("cpu = \"500ms\"")
                .limit("memory = \"16MiB\"")
                .grant_publish("flood")
        })
        .with(Plugin::shipped("echo"))
        .with(Plugin::shipped("sentiment"))
        .run()
        .await;
    let pid = host.pid();
    let bad = [
        json!({"do": "spin"}),
        json!({"do": "trap"}),
        json!({"do": "alloc", "bytes": 64 << 20}),
        json!({"do": "recurse", "depth": null}),
        json!({"do": "exit", "code": 1}),
        json!({"do": "flood_publish", "subject": "flood", "count": 10_000}),
        json!({"do": "flood_log", "count": 10_000, "bytes": 1000}),
    ];
    for (number, command) in bad.iter().enumerate() {
        nats.work(
            &format!("work.lab.critical.bad-{number}"),
            command.to_string(),
        )
        .await;
    }
    let mut slowest = Duration::ZERO;
    for number in 0..40 {
        let begun = Instant::now();
        let answer = nats.request("tools.echo", "hello").await;
        assert_eq!(answer.payload, "hello");
        slowest = slowest.max(begun.elapsed());
        nats.work_as(
            &format!("good-{number}"),
            "work.nlp.high.sentiment",
            "I love it.",
        )
        .await;
    }
    for number in 0..40 {
        assert_eq!(
            nats.result_of(&format!("good-{number}")).await.json()["label"],
            "positive"
        );
    }
    assert!(slowest < Duration::from_secs(5), "an echo took {slowest:?}");
    nats.work_is_done().await;
    // Five of them end an instance, each twice; two are only slowed.
    let letters = nats.stored("DLQ", "dlq.>").await;
    assert_eq!(letters.len(), 5, "{letters:?}");
    for subject in ear.subjects() {
        let ours = subject.starts_with("agent.probe-") || !subject.ends_with(".error");
        assert!(ours, "{subject}");
    }
    assert_eq!(host.pid(), pid);
    assert!(host.exited().is_none());
}
