//! A question that an agent puts.

use serde_json::json;

use super::{report, who, worker};
use harness::{Host, Nats, headers, until};

#[tokio::test]
async fn an_agent_asks_the_others_and_not_itself() {
    let nats = Nats::start().await;
    let _host = Host::new(&nats)
        .with(worker("a").instances(2).grant_publish("scatter.*.task"))
        .run()
        .await;
    let _other = Host::new(&nats).with(worker("b")).run().await;
    let question = json!({"do": "scatter", "payload": "who?", "min": 2});
    let told = nats.tell("a-001", question).await;
    assert_eq!(told["status"], "complete");
    assert_eq!(who(&told, "answers", "agent"), ["a-002", "b-001"]);
    let heard: serde_json::Value =
        serde_json::from_str(told["answers"][0]["payload"].as_str().unwrap()).unwrap();
    assert_eq!(heard["payload"], "who?");
    assert_eq!(heard["request"], told["request"]);
    let request = told["request"].as_str().unwrap();
    let task = format!("scatter.{request}.task");
    let task = nats.stored("COORDINATION", &task).await;
    let wait: u64 = task[0].header("X-Timeout-Ms").parse().unwrap();
    assert!((1..=5000).contains(&wait), "{wait}");
    let stored = report(&nats, request).await;
    assert_eq!(stored["asked_by"], "a-001");
    assert_eq!(who(&stored, "results", "agent_id"), ["a-002", "b-001"]);
    assert_eq!(stored["results_omitted"], false);
    assert_eq!(nats.tell("a-001", json!({"do": "heard"})).await, json!([]));
}

#[tokio::test]
async fn without_a_grant_nobody_is_asked() {
    let nats = Nats::start().await;
    let _host = Host::new(&nats)
        .with(worker("a").instances(2).grant_publish("coord.>"))
        .run()
        .await;
    let ear = nats.listen("scatter.>").await;
    let (kind, message) = nats.refused("a-001", json!({"do": "scatter"})).await;
    assert_eq!(kind, "denied");
    assert!(
        message.contains("add \"scatter.*.task\" to [permissions] publish"),
        "{message}"
    );
    nats.audited("refusal", |entry| entry["action"] == "scatter")
        .await;
    nats.answers().await;
    assert!(ear.all().is_empty());
}

#[tokio::test]
async fn an_answer_counts_once_and_not_without_a_name() {
    let nats = Nats::start().await;
    let _host = Host::new(&nats)
        .with(worker("a").grant_publish("scatter.*.task"))
        .run()
        .await;
    let outside = nats.another().await;
    let questions = nats.listen("scatter.*.task").await;
    let answers = async {
        let question = questions.number(1).await.remove(0);
        let to = question
            .subject
            .replace("scatter", "gather")
            .replace("task", "result");
        let as_agent = |id: &str| headers(&[("X-Agent-ID", id)]);
        for (name, answer) in [
            ("x-001", "1"),
            ("x-001", "2"),
            ("x", "3"),
            ("y-001", "4"),
            ("x-002", "5"),
        ] {
            outside.publish_with(&to, as_agent(name), answer).await;
        }
        outside.publish(&to, "6").await;
        outside.publish_with(&to, as_agent("x-003"), "7").await;
    };
    let expected = ["x-001", "x-002", "x-003"];
    let question = json!({"do": "scatter", "payload": "?", "expect": expected});
    let (told, ()) = tokio::join!(nats.tell("a-001", question), answers);
    assert_eq!(told["status"], "complete", "{told}");
    let answers = told["answers"].as_array().unwrap();
    let payloads: Vec<&str> = answers
        .iter()
        .map(|a| a["payload"].as_str().unwrap())
        .collect();
    assert_eq!(
        payloads,
        ["1", "5", "7"],
        "the first of each that is expected, and no other"
    );
}

#[tokio::test]
async fn what_is_too_large_fails_and_is_said() {
    let nats = Nats::start().await;
    let _host = Host::new(&nats)
        .with(
            worker("a")
                .grant_publish("scatter.*.task")
                .limit("payload = \"1KiB\""),
        )
        .with(worker("b").instances(2).limit("payload = \"2KiB\""))
        .run()
        .await;
    let question = json!({"do": "big_reply", "bytes": 2000});
    let told = nats
        .tell(
            "a-001",
            json!({"do": "scatter", "payload": question, "expect": ["b-001", "b-002"]}),
        )
        .await;
    assert_eq!(told["status"], "timeout");
    assert_eq!(who(&told, "failed", "agent"), ["b-001", "b-002"]);
    let reason = told["failed"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("2000 bytes"), "{reason}");
    let big = json!({"do": "scatter", "payload": "x".repeat(1025)});
    // The command that carries it would be too large for the agent; a question is as well.
    let refused = nats
        .request_json("agent.a-001.cmd.execute", big.to_string())
        .await;
    assert_eq!(refused["kind"], "too-large", "{refused}");
}

#[tokio::test]
async fn a_call_that_dies_in_the_middle_leaves_a_report() {
    let nats = Nats::start().await;
    let _host = Host::new(&nats)
        .with(
            worker("a")
                .grant_publish("scatter.*.task")
                .limit("timeout = \"2s\""),
        )
        .with(worker("b"))
        .run()
        .await;
    let ear = nats.listen("scatter.*.task").await;
    // Its time is over before the gathering is: a quick agent of another plugin goes on.
    let commands = json!([
        {"do": "scatter", "payload": "?", "expect": ["b-001", "c-001"], "timeout_ms": 500},
        {"do": "panic", "message": "as asked"},
    ]);
    let told = nats
        .tell("a-001", json!({"do": "sequence", "commands": commands}))
        .await;
    assert_eq!(told["ok"], false);
    let question = ear.number(1).await.remove(0);
    let request = question.subject.split('.').nth(1).unwrap().to_owned();
    let stored = report(&nats, &request).await;
    assert_eq!(stored["status"], "partial");
    assert_eq!(stored["missing"], json!(["c-001"]));
    until("it lives again", async || {
        let told = nats.tell("a-001", json!({"do": "echo", "value": 1})).await;
        (told == json!(1)).then_some(())
    })
    .await;
}
