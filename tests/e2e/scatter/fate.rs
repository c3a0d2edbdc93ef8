//! Hosts that die, and hosts that end, in the middle of a gathering.

use serde_json::json;

use super::{report, who, worker};
use harness::{Host, Nats};

#[tokio::test]
async fn of_a_worker_host_that_is_killed_the_agents_are_missing() {
    let nats = Nats::start().await;
    let host = Host::new(&nats).with(worker("a")).run().await;
    let mut doomed = Host::new(&nats).with(worker("b").instances(2)).run().await;
    let ear = nats.listen("scatter.*.task").await;
    // Those of `b` think until they are killed.
    let slow = json!({"do": "sequence", "commands": [
        {"do": "sleep", "ms": 1000, "how": "wait"}, {"do": "context"},
    ]});
    let slow = slow.to_string();
    let args = [
        "scatter",
        &slow,
        "--expect",
        "a-001",
        "--expect",
        "b-001",
        "--expect",
        "b-002",
        "--timeout",
        "4s",
        "--json",
    ];
    let kill = async {
        ear.number(1).await;
        doomed.kill();
    };
    let (ran, ()) = tokio::join!(host.cli(&args), kill);
    assert_eq!(ran.code, Some(1));
    let told = ran.json();
    assert_eq!(told["status"], "partial");
    assert_eq!(who(&told, "results", "agent_id"), ["a-001"]);
    assert_eq!(told["missing"], json!(["b-001", "b-002"]));
    let stored = report(&nats, told["request"].as_str().unwrap()).await;
    assert_eq!(stored["missing"], told["missing"]);
}

#[tokio::test]
async fn a_host_that_drains_answers_what_it_has_heard() {
    let nats = Nats::start().await;
    let mut host = Host::new(&nats)
        .with(worker("a").instances(2).grant_publish("began"))
        .run()
        .await;
    let (ear, began) = (
        nats.listen("gather.*.result").await,
        nats.listen("began").await,
    );
    let slow = json!({"do": "sequence", "commands": [
        {"do": "publish", "subject": "began"}, {"do": "sleep", "ms": 1000, "how": "wait"},
    ]});
    nats.publish("scatter.q1.task", slow.to_string()).await;
    began.number(2).await;
    let (code, _) = host.stop().await;
    assert_eq!(code, Some(0));
    assert_eq!(ear.number(2).await.len(), 2);
}
