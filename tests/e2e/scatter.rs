//! Scatter-gather: one question, many answers, one report.

mod fate;
mod inside;

use serde_json::{Value, json};

use harness::{Host, Nats, Plugin, component, headers, until};

/// The probe under another name, answering questions.
fn worker(name: &str) -> Plugin {
    Plugin::bare(name)
        .component(component("probe"))
        .table("[scatter]")
}

/// Who answered, sorted.
fn who(told: &Value, list: &str, key: &str) -> Vec<String> {
    let entries = told[list].as_array().unwrap_or_else(|| panic!("{told}"));
    let mut who: Vec<String> = entries
        .iter()
        .map(|entry| match key {
            "" => entry.as_str().unwrap().to_owned(),
            key => entry[key].as_str().unwrap().to_owned(),
        })
        .collect();
    who.sort();
    who
}

/// What was stored at the end of a gathering, when it is there.
async fn report(nats: &Nats, request: &str) -> Value {
    let subject = format!("gather.{request}.complete");
    until("the report is stored", async || {
        let stored = nats.stored("COORDINATION", &subject).await;
        assert!(stored.len() < 2, "reported twice");
        stored.first().map(|report| report.json())
    })
    .await
}

#[tokio::test]
async fn every_agent_of_every_host_answers() {
    let nats = Nats::start().await;
    let ask = json!({"do": "context"}).to_string();
    let host = Host::new(&nats).with(worker("a").instances(2)).run().await;
    let _other = Host::new(&nats)
        .with(worker("a").instances(1))
        .with(worker("b"))
        .run()
        .await;
    let ran = host.cli(&["scatter", &ask, "--min", "4", "--json"]).await;
    let told = ran.ok().json();
    let all = ["a-001", "a-002", "a-003", "b-001"];
    assert_eq!(who(&told, "results", "agent_id"), all);
    assert_eq!(told["status"], "complete");
    for result in told["results"].as_array().unwrap() {
        assert_eq!(result["result"]["agent"], result["agent_id"]);
        assert_eq!(result["content_type"], "application/json");
    }
    let request = told["request"].as_str().unwrap();
    let stored = report(&nats, request).await;
    assert_eq!(stored["status"], "complete");
    assert_eq!(who(&stored, "results", "agent_id"), all);
    assert_eq!(stored["asked_by"], json!(null));
    let answers = nats
        .stored("COORDINATION", &format!("gather.{request}.result"))
        .await;
    assert_eq!(answers.len(), 4);
    for answer in &answers {
        assert_eq!(answer.header("X-Request-ID"), request);
    }
}

#[tokio::test]
async fn a_group_makes_one_answer() {
    let nats = Nats::start().await;
    let grouped = |name: &str| {
        Plugin::bare(name)
            .component(component("probe"))
            .table("[scatter]\ngroup = \"scatter-workers\"")
            .instances(2)
    };
    let _host = Host::new(&nats).with(grouped("a")).run().await;
    let _other = Host::new(&nats).with(grouped("b")).run().await;
    let ear = nats.listen("gather.*.result").await;
    for n in 0..5 {
        let question = json!({"do": "echo", "value": n}).to_string();
        nats.publish(&format!("scatter.q{n}.task"), question).await;
        ear.on_subject(&format!("gather.q{n}.result")).await;
    }
    nats.answers().await;
    assert_eq!(ear.all().len(), 5, "one of them answers each question");
}

#[tokio::test]
async fn a_person_sees_who_answered_failed_and_is_missing() {
    let nats = Nats::start().await;
    let host = Host::new(&nats)
        .with(worker("a"))
        .with(
            worker("b")
                .table("schema = \"q.json\"")
                .file("q.json", r#"{"type": "string"}"#),
        )
        .run()
        .await;
    let ask = json!({"do": "echo", "value": "one\ntwo"}).to_string();
    let cli = async |more: &[&str]| {
        let mut args = vec!["scatter", ask.as_str()];
        args.extend(more);
        host.cli(&args).await
    };
    let some = cli(&[
        "--expect",
        "a-001",
        "--expect",
        "b-001",
        "--expect",
        "c-007",
        "--timeout",
        "1s",
    ])
    .await;
    assert_eq!(some.code, Some(1));
    assert!(some.stdout.contains("a-001  \"one\\ntwo\"\n"), "{some:?}");
    assert!(some.stdout.contains("b-001  failed: "), "{some:?}");
    assert!(some.stdout.contains("c-007  missing\n"), "{some:?}");
    assert!(some.stderr.contains("only 1 answers came"), "{some:?}");

    // Everybody who is expected has said something: nobody waits an hour for that.
    let failed = cli(&["--expect", "b-001", "--timeout", "1h"]).await;
    assert_eq!(failed.code, Some(1));
    assert!(failed.stderr.contains("nobody could answer"), "{failed:?}");
    let one = cli(&[
        "--expect",
        "a-001",
        "--expect",
        "b-001",
        "--min",
        "1",
        "--timeout",
        "1h",
    ])
    .await;
    assert_eq!(one.ok().stdout.lines().next(), Some("a-001  \"one\\ntwo\""));
    for wrong in [
        &["--min", "0"][..],
        &["--expect", "a"],
        &["--expect", "a-001", "--min", "2"],
        &["--timeout", "soon"],
    ] {
        assert_eq!(cli(wrong).await.code, Some(64), "{wrong:?}");
    }
}

#[tokio::test]
async fn outsiders_ask_and_what_is_no_question_wakes_nobody() {
    let nats = Nats::start().await;
    let _host = Host::new(&nats).with(worker("a").instances(2)).run().await;
    let ear = nats.listen("gather.>").await;
    let who_asks = headers(&[("X-Agent-ID", "a-002"), ("X-Request-ID", "r-9")]);
    let ask = json!({"do": "context"}).to_string();
    for forged in ["scatter.$x.task", "scatter.a=b.task", "scatter.q.task.more"] {
        nats.publish(forged, ask.clone()).await;
    }
    // The agent that asks, or says so, is not asked.
    nats.publish_with("scatter.q1.task", who_asks, ask.clone())
        .await;
    let answer = ear.on_subject("gather.q1.result").await;
    let told: Value = serde_json::from_slice(&answer.payload).unwrap();
    assert_eq!(
        (&told["agent"], &told["request_id"]),
        (&json!("a-001"), &json!("r-9"))
    );
    // Who has no answer says nothing; who fails says so; and both go on.
    nats.publish("scatter.q2.task", r#"{"do": "no_reply"}"#)
        .await;
    nats.publish(
        "scatter.q3.task",
        r#"{"do": "panic", "message": "as asked"}"#,
    )
    .await;
    for _ in 0..2 {
        let failed = ear
            .first("a failure", |m| *m.subject == *"gather.q3.result")
            .await;
        let failed = failed.headers.unwrap();
        assert_eq!(
            failed.get("Nats-Service-Error-Code").unwrap().as_str(),
            "500"
        );
    }
    nats.publish("scatter.q4.task", ask).await;
    until("both answer again", async || {
        (ear.count("gather.q4.result") == 2).then_some(())
    })
    .await;
    assert_eq!(ear.count("gather.q1.result"), 1);
    assert_eq!(ear.count("gather.q2.result"), 0);
    assert_eq!(ear.count("gather.q3.result"), 2);
    assert_eq!(ear.all().len(), 5);
}
