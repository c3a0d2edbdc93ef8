//! Payloads that are not what is due, and streams that take no more.

use serde_json::{Value, json};

use harness::{Host, Nats, header};

const SCHEMA: &str = r#"{"type": "object", "required": ["do"], "properties": {"do": {"enum": ["counter", "echo"]}}}"#;

/// What an answer says that is an error: kind, code and sentence.
fn error_of(answer: &async_nats::Message) -> (String, String, String) {
    let body: Value = serde_json::from_slice(&answer.payload).unwrap();
    assert_eq!(body["ok"], false, "{body}");
    let told = answer.headers.as_ref().expect("headers of an error");
    let kind = body["kind"].as_str().unwrap_or_default().to_owned();
    let error = body["error"].as_str().unwrap().to_owned();
    assert_eq!(header(told, "Nats-Service-Error"), error);
    (kind, header(told, "Nats-Service-Error-Code"), error)
}

#[tokio::test]
async fn what_breaks_the_schema_or_the_limit_is_answered_and_wakes_nobody() {
    let nats = Nats::start().await;
    let host = Host::new(&nats)
        .plugin("probe", |p| {
            p.work_with("lab", "*", "schema = \"in.json\"")
                .subscribe_with("lab.ask", "schema = \"in.json\"")
                .execute("schema = \"in.json\"")
                .file("in.json", SCHEMA)
                .limit("payload = \"1KiB\"")
        })
        .run()
        .await;
    let large = json!({"do": "echo", "value": "x".repeat(1024)}).to_string();
    let cases = [
        ("no json", "schema", "400"),
        ("", "schema", "400"),
        ("[]", "schema", "400"),
        (r#"{"do": "trap"}"#, "schema", "400"),
        ("\u{feff}{\"do\": \"counter\"}", "schema", "400"),
        (large.as_str(), "too-large", "413"),
    ];
    for (payload, kind, code) in cases {
        for subject in ["lab.ask", "agent.probe-001.cmd.execute"] {
            let answer = nats.request(subject, payload.to_owned()).await;
            let (got, number, error) = error_of(&answer);
            assert_eq!(
                (got.as_str(), number.as_str()),
                (kind, code),
                "{subject}: {error}"
            );
        }
        let before = nats.stored("DLQ", "dlq.>").await.len();
        nats.work("work.lab.low.bad", payload.to_owned()).await;
        let letters = nats.dead_letters("work.lab.low.bad", before + 1).await;
        let letter = letters.last().unwrap();
        assert_eq!(letter.header("X-DLQ-Error-Kind"), kind);
        assert_eq!(letter.text(), payload, "nothing is lost");
    }
    // Each of them would have been counted.
    let counted = nats.request_json("lab.ask", r#"{"do": "counter"}"#).await;
    assert_eq!(counted["count"], 1, "{counted}");
    nats.work_is_done().await;

    for payload in ["no json", "", "[1]", "3"] {
        let answer = nats.request("agent.probe-001.cmd.config", payload).await;
        let (_, code, error) = error_of(&answer);
        assert_eq!(code, "400");
        assert!(error.contains("JSON object"), "{error}");
    }
    let shown = host.cli(&["request", "lab.ask", "no json"]).await;
    assert_eq!(shown.code, Some(1), "{shown:#?}");
    assert!(shown.stderr.contains("code 400"), "{shown:#?}");
}

#[tokio::test]
async fn what_is_too_large_to_send_is_refused_before_it_is_sent() {
    let nats = Nats::options().line("max_payload: 100000").start().await;
    let host = Host::new(&nats)
        .plugin("probe", |p| {
            p.grant_publish("out")
                .grant_kv("NOTES", "mine.>", "read-write")
        })
        .run()
        .await;
    let out = nats.listen("out").await;
    for bytes in [100_001, (1 << 20) + 1] {
        for call in ["publish", "publish_stored"] {
            let command = json!({"do": call, "subject": "out", "bytes": bytes});
            let (kind, message) = nats.refused("probe-001", command).await;
            assert_eq!(kind, "too-large", "{call} {bytes}: {message}");
        }
        let put = json!({"do": "kv_put", "bucket": "NOTES", "key": "mine.x", "value": "", "bytes": bytes});
        let (kind, message) = nats.refused("probe-001", put).await;
        assert_eq!(kind, "too-large", "{bytes}: {message}");
    }
    // What a person sends.
    let text = "x".repeat(100_001);
    for command in ["publish", "request"] {
        let ran = host.cli(&[command, "out", &text]).await;
        assert_eq!(ran.code, Some(64), "{:?} {}", ran.code, ran.stderr);
        assert!(ran.stderr.contains("100000"), "{}", ran.stderr);
    }
    let fits = json!({"do": "publish", "subject": "out", "payload": "fits"});
    assert_eq!(nats.tell("probe-001", fits).await["ok"], true);
    out.number(1).await;
    assert_eq!(&*out.all()[0].payload, b"fits", "nothing else was sent");
}

#[tokio::test]
async fn a_full_work_queue_tells_the_publisher_and_keeps_what_it_has() {
    let nats = Nats::start().await;
    let host = Host::new(&nats)
        .config("[jetstream.streams.WORK_QUEUE]\nmax_msgs_per_subject = 3")
        .plugin("probe", |p| p.work("lab", "*"))
        .run()
        .await;
    nats.request_json("agent.probe-001.cmd.pause", "").await;
    for number in 1..=3 {
        let payload = json!({"do": "echo", "value": number}).to_string();
        let request = format!("X-Request-ID: item-{number}");
        let ran = host
            .cli(&["publish", "work.lab.low.x", &payload, "-H", &request])
            .await
            .ok();
        assert!(
            ran.stdout
                .contains(&format!("stored by WORK_QUEUE as number {number}")),
            "{ran:#?}"
        );
    }
    let ran = host.cli(&["publish", "work.lab.low.x", "one more"]).await;
    assert_eq!(ran.code, Some(1), "{ran:#?}");
    assert!(
        ran.stderr.contains("work.lab.low.x") && ran.stderr.contains("exceeded"),
        "{ran:#?}"
    );
    assert_eq!(nats.stream_info("WORK_QUEUE").await.state.messages, 3);
    // Another subject has room.
    let other = r#"{"do": "echo", "value": "other"}"#;
    nats.work_as("other", "work.lab.high.x", other).await;

    nats.request_json("agent.probe-001.cmd.resume", "").await;
    nats.result_of("other").await;
    for number in 1..=3 {
        let result = nats.result_of(&format!("item-{number}")).await;
        assert_eq!(result.text(), number.to_string());
    }
    host.cli(&[
        "publish",
        "work.lab.low.x",
        "{\"do\": \"echo\", \"value\": 4}",
    ])
    .await
    .ok();
}

#[tokio::test]
async fn a_plugin_that_publishes_into_a_full_stream_is_told() {
    let nats = Nats::start().await;
    let _host = Host::new(&nats)
        .config("[jetstream.streams.WORK_QUEUE]\nmax_msgs_per_subject = 1")
        .plugin("probe", |p| p.grant_publish("work.other.>"))
        .run()
        .await;
    let publish = json!({"do": "publish_stored", "subject": "work.other.low.x", "payload": "x"});
    assert_eq!(
        nats.tell("probe-001", publish.clone()).await["stream"],
        "WORK_QUEUE"
    );
    let (kind, message) = nats.refused("probe-001", publish).await;
    assert_eq!(kind, "full", "{message}");
    let kept = nats.stored("WORK_QUEUE", "work.>").await;
    assert_eq!(kept.len(), 1);
}
