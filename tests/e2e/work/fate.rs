//! What becomes of items that fail: tried again, or a dead letter with its reasons.

use std::time::Duration;

use serde_json::json;

use harness::{Ear, Host, Nats, Stored, headers, until};

/// A command that says that it runs, and then does something.
fn telling(command: serde_json::Value) -> String {
    json!({"do": "sequence", "commands": [{"do": "publish", "subject": "ran"}, command]})
        .to_string()
}

fn gaps(ear: &Ear) -> Vec<Duration> {
    let times = ear.times();
    times.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

#[tokio::test]
async fn a_failed_item_is_tried_again_after_its_delay() {
    let nats = Nats::start().await;
    let ran = nats.listen("ran").await;
    let _host = Host::new(&nats)
        .plugin("probe", |p| {
            p.work_with(
                "lab",
                "*",
                "max_deliver = 4\nbackoff = [\"200ms\", \"800ms\"]",
            )
            .grant_publish("ran")
        })
        .run()
        .await;
    nats.work_as(
        "again",
        "work.lab.high.x",
        telling(json!({"do": "fail_times", "n": 2})),
    )
    .await;
    let result = nats.result_of("again").await;
    assert_eq!(result.json()[1], json!({"retries": 2}));
    assert_eq!(result.header("X-Retry-Count"), "2");
    let waits = gaps(&ran);
    assert_eq!(waits.len(), 2, "three tries");
    assert!(waits[0] >= Duration::from_millis(150), "{waits:?}");
    assert!(waits[1] >= Duration::from_millis(700), "{waits:?}");
    for (message, count) in ran.all().iter().zip(["0", "1", "2"]) {
        let told = message.headers.as_ref().unwrap();
        assert_eq!(
            harness::header(told, "X-Request-ID"),
            "again",
            "try {count}"
        );
    }

    // The agent's own wish counts more than the manifest.
    ran.forget();
    let wish = json!({"do": "fail_retry", "message": "later", "delay_ms": 1200});
    nats.work_as("wish", "work.lab.high.x", telling(wish)).await;
    ran.number(2).await;
    assert!(
        gaps(&ran)[0] >= Duration::from_millis(1100),
        "{:?}",
        gaps(&ran)
    );
    // Its four tries end in the DLQ.
    let letter = nats.dead_letters("work.lab.high.x", 1).await.remove(0);
    assert_eq!(letter.header("X-DLQ-Deliveries"), "4");
    nats.work_is_done().await;
}

#[tokio::test]
async fn what_cannot_be_done_becomes_a_dead_letter_that_says_why() {
    let nats = Nats::start().await;
    let ran = nats.listen("ran").await;
    let host = Host::new(&nats)
        .plugin("probe", |p| {
            p.instances(2)
                .work_with("lab", "*", "max_deliver = 2\nbackoff = [\"50ms\"]")
                .grant_publish("ran")
                .limit("timeout = \"4s\"")
                .limit("cpu = \"300ms\"")
                .limit("memory = \"8MiB\"")
        })
        .run()
        .await;
    let cases = [
        (
            "reject",
            json!({"do": "fail_reject", "message": "not a\r\ntext"}),
            "rejected",
            1,
        ),
        (
            "other",
            json!({"do": "fail_other", "message": "no idea"}),
            "failed",
            2,
        ),
        (
            "retry",
            json!({"do": "fail_retry", "message": "not now", "delay_ms": 10}),
            "retry",
            2,
        ),
        ("trap", json!({"do": "trap"}), "trap", 2),
        ("spin", json!({"do": "spin"}), "cpu", 2),
        (
            "wait",
            json!({"do": "sleep", "ms": 60_000, "how": "wait"}),
            "timeout",
            2,
        ),
        (
            "memory",
            json!({"do": "alloc", "bytes": 64 << 20}),
            "memory",
            2,
        ),
        ("exit", json!({"do": "exit", "code": 3}), "exit", 2),
    ];
    for (task, command, kind, tries) in cases {
        ran.forget();
        let subject = format!("work.lab.low.{task}");
        let payload = telling(command);
        let own = headers(&[
            ("X-Request-ID", task),
            ("X-Mine", "kept"),
            ("X-Trace-ID", "order_7"),
        ]);
        let sequence = nats.work_with(&subject, own, payload.clone()).await;
        let letter: Stored = nats.dead_letters(&subject, 1).await.remove(0);
        assert_eq!(letter.text(), payload, "the payload is the original one");
        assert_eq!(letter.header("X-DLQ-Subject"), subject);
        assert_eq!(letter.header("X-DLQ-Stream"), "WORK_QUEUE");
        assert_eq!(letter.header("X-DLQ-Sequence"), sequence.to_string());
        assert_eq!(
            letter.header("X-DLQ-Deliveries"),
            tries.to_string(),
            "{task}"
        );
        assert_eq!(
            letter.header("X-DLQ-Error-Kind"),
            kind,
            "{task}: {}",
            letter.header("X-DLQ-Error")
        );
        assert!(!letter.header("X-DLQ-Error").is_empty(), "{task}");
        assert!(
            letter.header("X-DLQ-Agent-ID").starts_with("probe-00"),
            "{task}"
        );
        assert!(letter.header("X-DLQ-At").ends_with('Z'), "{task}");
        assert_eq!(letter.header("X-Request-ID"), task);
        assert_eq!(letter.header("X-Trace-ID"), "order_7");
        assert_eq!(letter.header("X-Mine"), "kept");
        assert_eq!(ran.all().len(), tries, "{task} ran {tries} times");
        nats.audited("dead-letter", |entry| {
            entry["subject"] == subject.as_str()
                && entry["error_kind"] == kind
                && entry["sequence"] == sequence
        })
        .await;
    }
    nats.work_is_done().await;
    assert!(nats.stored("RESULTS", "agent.*.resp.*").await.is_empty());

    // The agents are as good as before.
    nats.work_as(
        "after",
        "work.lab.critical.x",
        r#"{"do": "echo", "value": 1}"#,
    )
    .await;
    assert_eq!(nats.result_of("after").await.text(), "1");
    let logged = host.logs.find(|line| line.message() == "dead letter");
    assert_eq!(logged.len(), 8);
}

#[tokio::test]
async fn an_item_that_breaks_its_schema_does_not_wake_the_agent() {
    let nats = Nats::start().await;
    let _host = Host::new(&nats)
        .plugin("probe", |p| {
            p.work_with("lab", "*", "schema = \"item.json\"")
                .file("item.json", r#"{"type": "object", "required": ["do"], "properties": {"do": {"enum": ["counter"]}}}"#)
                .limit("payload = \"1KiB\"")
        })
        .run()
        .await;
    for (task, payload, kind) in [
        ("text", "no json".to_owned(), "schema"),
        ("empty", String::new(), "schema"),
        ("list", "[1]".to_owned(), "schema"),
        ("value", r#"{"do": "trap"}"#.to_owned(), "schema"),
        (
            "large",
            format!("{{\"do\": \"counter\", \"x\": \"{}\"}}", "x".repeat(1024)),
            "too-large",
        ),
    ] {
        let subject = format!("work.lab.{task}");
        nats.work(&subject, payload.clone()).await;
        let letter = nats.dead_letters(&subject, 1).await.remove(0);
        assert_eq!(letter.header("X-DLQ-Error-Kind"), kind, "{task}");
        assert_eq!(letter.header("X-DLQ-Deliveries"), "1", "at once: {task}");
        assert_eq!(
            letter.header("X-DLQ-Agent-ID"),
            "",
            "nobody was woken: {task}"
        );
        assert_eq!(letter.text(), payload);
    }
    nats.work_as("good", "work.lab.x", r#"{"do": "counter"}"#)
        .await;
    assert_eq!(
        nats.result_of("good").await.json()["count"],
        1,
        "the first call there was"
    );
    nats.work_is_done().await;
}

#[tokio::test]
async fn a_result_that_cannot_be_stored_leaves_the_item_where_it_is() {
    let nats = Nats::start().await;
    let ran = nats.listen("ran").await;
    let host = Host::new(&nats)
        .config("[jetstream.streams.RESULTS]\ndiscard = \"new\"\nmax_bytes = \"1MiB\"\nmax_msgs_per_subject = 1000")
        .plugin("probe", |p| p.work("lab", "*").grant_publish("ran"))
        .run()
        .await;
    // Fill the stream of the results.
    let filling = vec![b'x'; 100_000];
    until("RESULTS is full", async || {
        let ack = nats
            .js
            .publish("agent.someone-001.resp.filling", filling.clone().into())
            .await
            .unwrap();
        ack.await.is_err().then_some(())
    })
    .await;
    let large = json!({"do": "sequence", "commands": [
        {"do": "publish", "subject": "ran"}, {"do": "echo", "value": "x".repeat(100_000)},
    ]});
    nats.work_as("full", "work.lab.high.x", large.to_string())
        .await;
    host.logs
        .first("it says so", |line| {
            line.level() == "ERROR" && line.message().contains("output not stored")
        })
        .await;
    assert_eq!(
        nats.stream_info("WORK_QUEUE").await.state.messages,
        1,
        "nothing is lost"
    );
    assert!(nats.results_of("full").await.is_empty());
    assert!(
        nats.stored("DLQ", "dlq.>").await.is_empty(),
        "it is nobody's fault"
    );
    let consumer = nats
        .stream("WORK_QUEUE")
        .await
        .consumer_info("workers-lab_high_all")
        .await
        .unwrap();
    assert_eq!(consumer.num_ack_pending, 1, "never acknowledged");
    assert_eq!(ran.all().len(), 1);
}

#[tokio::test]
async fn a_result_that_is_larger_than_the_plugin_may_return_is_a_dead_letter() {
    let nats = Nats::start().await;
    let _host = Host::new(&nats)
        .plugin("probe", |p| {
            p.work("lab", "*").limit("payload = \"100KiB\"")
        })
        .run()
        .await;
    nats.work("work.lab.big", r#"{"do": "big_reply", "bytes": 120000}"#)
        .await;
    let letter = nats.dead_letters("work.lab.big", 1).await.remove(0);
    assert_eq!(letter.header("X-DLQ-Error-Kind"), "rejected");
    nats.work_is_done().await;
}

#[tokio::test]
async fn a_dead_letter_of_a_subject_that_is_too_long_keeps_the_whole_subject() {
    let nats = Nats::start().await;
    let _host = Host::new(&nats)
        .plugin("probe", |p| p.work("lab", "*"))
        .run()
        .await;
    let subject = format!("work.lab.high.{}", "x".repeat(240));
    nats.work_as("long", &subject, r#"{"do": "echo", "value": 1}"#)
        .await;
    assert_eq!(nats.result_of("long").await.text(), "1");
    nats.work(&subject, r#"{"do": "fail_reject", "message": "no"}"#)
        .await;
    let letter = until("the letter is stored", async || {
        nats.stored("DLQ", "dlq.>").await.pop()
    })
    .await;
    assert_eq!(letter.header("X-DLQ-Subject"), subject);
    assert!(
        letter.subject.starts_with("dlq.work."),
        "{}",
        letter.subject
    );
    nats.work_is_done().await;
}
