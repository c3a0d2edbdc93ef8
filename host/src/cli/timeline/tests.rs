//! Tests of the timeline, from messages in the form in which streams hold them.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use bytes::Bytes;
use serde_json::json;

use super::gather::Event;
use super::rebuild::Timeline;
use super::{check, of};
use mistersmith_nats::{Connection, Headers, Role, StoredMessage};
use mistersmith_testing::TestServer;
use mistersmith_testing::golden;

/// 2026-01-02T03:04:05Z in nanoseconds.
const START: u64 = 1_767_323_045_000_000_000;

/// A message stored `ms` milliseconds after the start.
fn event(
    stream: &'static str,
    sequence: u64,
    ms: u64,
    subject: &str,
    headers: &[(&str, &str)],
    payload: &str,
) -> Event {
    let mut all = Headers::new();
    for (name, value) in headers {
        all.append(name, value).unwrap();
    }
    let stored_at = format!("2026-01-02T03:04:{:02}.{:03}Z", 5 + ms / 1000, ms % 1000);
    Event {
        stream,
        message: StoredMessage {
            subject: subject.to_owned(),
            sequence,
            stored_at,
            headers: all,
            payload: Bytes::copy_from_slice(payload.as_bytes()),
        },
    }
}

/// The id of an output of a message stored `ms` milliseconds after the start.
fn id(input: &str, ms: u64, output: &str) -> String {
    format!("{input}:{}:{output}", START + ms * 1_000_000)
}

/// A work item with two attempts, and another with the same id that failed for good.
fn work() -> Vec<Event> {
    let result = id("WORK_QUEUE:17", 0, "result");
    let dead = id("WORK_QUEUE:18", 20, "dlq");
    vec![
        event(
            "RESULTS",
            4,
            1250,
            "agent.echo-001.resp.r-1",
            &[
                ("Nats-Msg-Id", &result),
                ("X-Agent-ID", "echo-001"),
                ("X-Retry-Count", "1"),
                ("X-Trace-ID", "4bf92f35"),
            ],
            "done",
        ),
        event(
            "DLQ",
            2,
            600,
            "dlq.work.nlp.high.echo",
            &[
                ("Nats-Msg-Id", &dead),
                ("X-DLQ-Agent-ID", "echo-002"),
                ("X-DLQ-Subject", "work.nlp.high.echo"),
                ("X-DLQ-Deliveries", "3"),
                ("X-DLQ-Error-Kind", "rejected"),
                ("X-DLQ-Error", "no\u{1b}[2J"),
            ],
            "",
        ),
        event(
            "AUDIT",
            9,
            601,
            "audit.dead-letter",
            &[],
            r#"{"kind": "dead-letter"}"#,
        ),
        event(
            "WORK_QUEUE",
            30,
            2000,
            "work.nlp.high.echo",
            &[("Nats-Msg-Id", "DLQ:2:2026-01-02T03:04:05.6Z:replay")],
            "",
        ),
    ]
}

/// A workflow of two stages, and a question to all agents.
fn workflow() -> Vec<Event> {
    let stage = |ms, output: &str| id("COORDINATION:1", ms, output);
    let ready = stage(0, "coord.extract.ready");
    let next = stage(0, "next.analyze");
    let told = json!({"stage": "extract", "n": 1, "agent_id": "extract-001"}).to_string();
    let gathered = json!({"status": "partial", "results": [1, 2], "missing": ["c-001"]});
    let by = ("X-Agent-ID", "extract-001");
    vec![
        event("COORDINATION", 1, 0, "pipeline.wf.01.extract", &[], "text"),
        event(
            "COORDINATION",
            2,
            400,
            "coord.wf.ready",
            &[("Nats-Msg-Id", &ready), by],
            &told,
        ),
        event(
            "COORDINATION",
            3,
            1000,
            "pipeline.wf.02.analyze",
            &[("Nats-Msg-Id", &next), by],
            "t",
        ),
        event("COORDINATION", 4, 1001, "coord.wf.complete", &[by], &told),
        event("COORDINATION", 5, 1002, "coord.wf.cancel", &[], ""),
        event("COORDINATION", 6, 1100, "scatter.wf.task", &[], "?"),
        event(
            "COORDINATION",
            7,
            1200,
            "gather.wf.result",
            &[("X-Agent-ID", "a-001")],
            "!",
        ),
        event(
            "COORDINATION",
            8,
            1300,
            "gather.wf.complete",
            &[],
            &gathered.to_string(),
        ),
        event("COORDINATION", 9, 1400, "pipeline.wf.complete", &[], "done"),
    ]
}

#[test]
fn a_timeline_is_rebuilt() {
    for (name, id, events) in [("work", "r-1", work()), ("workflow", "wf", workflow())] {
        let shown = Timeline::of(&events).text(id, true) + "\n";
        golden(&format!("cli/timeline/golden/{name}.txt"), &shown);
    }
}

#[test]
fn what_is_printed_as_json_is_whole() {
    let lines = json!(Timeline::of(&work()).lines());
    assert_eq!(lines.as_array().unwrap().len(), 6);
    assert_eq!(lines[0]["what"], "stored");
    assert_eq!(lines[0]["at"], "2026-01-02T03:04:05Z");
    assert_eq!(lines[1]["subject"], "work.nlp.high.echo");
    let result = &lines[4];
    assert_eq!(result["what"], "result");
    assert_eq!(result["ms"], 1250.0);
    assert_eq!(result["took_ms"], 1250.0);
    assert_eq!(result["retries"], 1);
    assert_eq!(result["input"], "WORK_QUEUE:17");
}

#[test]
fn nothing_is_a_timeline_too() {
    assert!(Timeline::of(&[]).is_empty());
}

#[test]
fn ids_of_others_cannot_steer() {
    let forged = [
        "WORK_QUEUE:x:1:result",
        "WORK_QUEUE:1:99999999999999999999999999999999999999:result",
        "WORK_QUEUE:1:-5:result",
        "WORK_QUEUE:1:18446744073709551615:result",
        "WORK_QUEUE:1",
        ":::",
        "OTHER:1:1:result",
    ];
    for id in forged {
        let events = [event(
            "RESULTS",
            1,
            0,
            "agent.a-001.resp.r",
            &[("Nats-Msg-Id", id)],
            "",
        )];
        let text = Timeline::of(&events).text("r", true);
        assert!(text.contains("result"), "{text}");
    }
}

#[test]
fn an_id_is_no_pattern() {
    assert!(check("r-1_A").is_ok());
    for bad in ["", "*", ">", "a.b", "a b", &"x".repeat(97)] {
        assert!(check(bad).is_err(), "{bad:?}");
    }
}

async fn make(connection: &Connection, name: &str, subjects: &str) {
    let config = json!({ "name": name, "subjects": subjects.split(' ').collect::<Vec<_>>() });
    let call = format!("$JS.API.STREAM.CREATE.{name}");
    let wait = std::time::Duration::from_secs(5);
    let body = Bytes::from(config.to_string());
    connection
        .request(&call, Headers::new(), body, wait)
        .await
        .unwrap();
}

async fn store(connection: &Connection, subject: &str, request: &str) -> u64 {
    let mut headers = Headers::new();
    if !request.is_empty() {
        headers.insert("X-Request-ID", request).unwrap();
        headers
            .insert("X-Trace-ID", &format!("trace-{request}"))
            .unwrap();
    }
    let id = nuid::next().to_string();
    let stored = connection.store(subject, &id, headers, Bytes::new()).await;
    stored.unwrap().sequence
}

#[tokio::test]
async fn messages_are_found_by_subject_and_by_header() {
    let server = TestServer::start().await;
    let transport = crate::testing::connect(&server).await;
    let connection = transport.connection(Role::Bulk);
    let subjects = |timeline: &Timeline| -> Vec<String> {
        let lines = timeline.lines().iter();
        lines.map(|line| line.subject.clone().unwrap()).collect()
    };
    // A system on which no host has run has no events.
    let (nothing, cut) = of(connection, "r-1", 10).await.unwrap();
    assert!(nothing.is_empty() && cut.is_empty());

    make(connection, "WORK_QUEUE", "work.>").await;
    make(connection, "RESULTS", "agent.*.resp.*").await;
    make(connection, "COORDINATION", "pipeline.> coord.>").await;
    make(connection, "DLQ", "dlq.>").await;
    store(connection, "work.a.one", "r-1").await;
    for _ in 0..20 {
        store(connection, "work.a.other", "r-2").await;
    }
    store(connection, "pipeline.r-1.01.x", "other").await;
    store(connection, "coord.r-1.ready", "").await;
    store(connection, "agent.a-001.resp.r-1", "r-1").await;
    let (found, cut) = of(connection, "r-1", 100).await.unwrap();
    let all = [
        "work.a.one",
        "pipeline.r-1.01.x",
        "coord.r-1.ready",
        "agent.a-001.resp.r-1",
    ];
    assert_eq!(subjects(&found), all);
    assert!(cut.is_empty(), "{cut:?}");
    let (by_trace, _) = of(connection, "trace-r-1", 100).await.unwrap();
    assert_eq!(subjects(&by_trace), ["work.a.one", "agent.a-001.resp.r-1"]);
    let (numbered, _) = of(connection, "wq-22", 100).await.unwrap();
    assert!(numbered.is_empty());
    store(connection, "work.a.unnamed", "").await;
    let (numbered, _) = of(connection, "wq-22", 100).await.unwrap();
    assert_eq!(subjects(&numbered), ["work.a.unnamed"]);

    // The newest five do not have it; the result reports the cut.
    let (found, cut) = of(connection, "r-1", 5).await.unwrap();
    assert_eq!(subjects(&found), all[1..]);
    assert_eq!(cut, ["WORK_QUEUE"]);
    // An old item is found behind a long gap.
    let queue = connection.stream("WORK_QUEUE").unwrap();
    queue.purge("work.a.other", 99).await.unwrap();
    let (found, cut) = of(connection, "r-1", 5).await.unwrap();
    assert_eq!(subjects(&found), all);
    assert!(cut.is_empty(), "{cut:?}");
}
