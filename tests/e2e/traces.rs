//! Headers on everything the host sends, and a trace that goes through it all.

use serde_json::{Value, json};

use harness::{Headers, Host, Nats, header, headers, until};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN: &str = "00f067aa0ba902b7";

fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits
        && text
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// Asserts that the five headers are there and fit together; returns trace, span, request.
fn whole(what: &str, said: &Headers, agent: &str) -> (String, String, String) {
    let get = |name| header(said, name);
    assert_eq!(get("X-Agent-ID"), agent, "{what}: {said:?}");
    let (trace, span, request) = (get("X-Trace-ID"), get("X-Span-ID"), get("X-Request-ID"));
    assert!(!trace.is_empty() && !request.is_empty(), "{what}: {said:?}");
    assert!(is_hex(&span, 16), "{what}: {said:?}");
    let parent = get("traceparent");
    let parts: Vec<&str> = parent.split('-').collect();
    assert_eq!(parts.len(), 4, "{what}: {said:?}");
    assert_eq!(
        (parts[0], parts[2]),
        ("00", span.as_str()),
        "{what}: {said:?}"
    );
    assert!(is_hex(parts[1], 32), "{what}: {said:?}");
    if is_hex(&trace, 32) {
        assert_eq!(parts[1], trace, "{what}: {said:?}");
    }
    (trace, span, request)
}

#[tokio::test]
async fn everything_the_host_sends_says_where_it_belongs() {
    let nats = Nats::start().await;
    let all = nats.listen(">").await;
    let mut host = Host::new(&nats)
        .plugin("probe", |p| {
            p.work("lab", "*").grant_publish("out").subscribe("in")
        })
        .run()
        .await;
    nats.work("work.lab.high.x", r#"{"do": "publish", "subject": "out"}"#)
        .await;
    nats.work(
        "work.lab.high.dead",
        r#"{"do": "fail_reject", "message": "no"}"#,
    )
    .await;
    nats.dead_letters("work.lab.high.dead", 1).await;
    nats.work_is_done().await;
    let answers = [
        (
            "execute",
            nats.request(
                "agent.probe-001.cmd.execute",
                r#"{"do": "echo", "value": 1}"#,
            )
            .await,
        ),
        (
            "execute that fails",
            nats.request("agent.probe-001.cmd.execute", "no json").await,
        ),
        (
            "status",
            nats.request("agent.probe-001.cmd.status", "").await,
        ),
        (
            "config that fails",
            nats.request("agent.probe-001.cmd.config", "no json").await,
        ),
        ("health", nats.request("health.check.probe-001", "").await),
        (
            "subscription",
            nats.request("in", r#"{"do": "echo", "value": 1}"#).await,
        ),
    ];
    for (what, answer) in &answers {
        whole(what, answer.headers.as_ref().unwrap(), "probe-001");
    }
    all.on_subject("agent.probe-001.heartbeat").await;
    host.stop().await;
    all.on_subject("agent.probe-001.stopped").await;
    let letter = nats.stored("DLQ", "dlq.>").await.remove(0);
    whole("dead letter", &letter.headers, "probe-001");
    for subject in [
        "out",
        "agent.probe-001.created",
        "agent.probe-001.started",
        "agent.probe-001.ready",
        "agent.probe-001.heartbeat",
        "agent.probe-001.stopped",
    ] {
        let message = all.on_subject(subject).await;
        whole(subject, message.headers.as_ref().unwrap(), "probe-001");
    }
    let result = all
        .first("a result", |m| {
            m.subject.starts_with("agent.probe-001.resp.")
        })
        .await;
    whole("result", result.headers.as_ref().unwrap(), "probe-001");
    let audit = all
        .first("an audit entry", |m| m.subject.starts_with("audit."))
        .await;
    let said = audit.headers.unwrap();
    assert!(is_hex(&header(&said, "X-Span-ID"), 16), "{said:?}");
    assert!(!header(&said, "X-Request-ID").is_empty(), "{said:?}");
}

#[tokio::test]
async fn a_trace_goes_on_through_work_and_requests_and_what_plugins_send() {
    let nats = Nats::start().await;
    let all = nats.listen(">").await;
    let host = Host::new(&nats)
        .plugin("probe", |p| {
            p.instances(2)
                .work("lab", "*")
                .grant_publish("out")
                .grant_publish("work.lab.>")
                .grant_request("agent.*.cmd.execute")
        })
        .run()
        .await;
    let given = headers(&[
        ("X-Request-ID", "order-7"),
        ("X-Trace-ID", TRACE),
        ("traceparent", &format!("00-{TRACE}-{SPAN}-01")),
        ("tracestate", "vendor=1"),
        ("X-Mine", "not passed on"),
    ]);
    let inner = json!({"do": "sequence", "commands": [
        {"do": "publish", "subject": "out", "payload": "two"}, {"do": "log", "level": "info", "message": "inside"}, {"do": "context"},
    ]});
    let outer = json!({"do": "sequence", "commands": [
        {"do": "publish", "subject": "out", "payload": "one"},
        {"do": "request", "subject": "agent.probe-002.cmd.execute", "payload": inner},
        {"do": "context"},
    ]});
    // Only the first agent takes the item: the other one has to be asked.
    nats.request_json("agent.probe-002.cmd.pause", "").await;
    nats.request_json("agent.probe-002.cmd.resume", "").await;
    let answer = nats
        .request_with("agent.probe-001.cmd.execute", given, outer.to_string())
        .await;
    let told: Value = serde_json::from_slice(&answer.payload).unwrap();
    assert_eq!(told[2]["trace_id"], TRACE);
    assert_eq!(told[2]["request_id"], "order-7");
    let inner: Value = serde_json::from_str(told[1]["payload"].as_str().unwrap()).unwrap();
    assert_eq!(inner[2]["trace_id"], TRACE);
    assert_eq!(inner[2]["request_id"], "order-7");

    let mut spans = std::collections::BTreeMap::from([("outside", SPAN.to_owned())]);
    let first = all
        .first("the first", |m| m.payload == "one")
        .await
        .headers
        .unwrap();
    let second = all
        .first("the second", |m| m.payload == "two")
        .await
        .headers
        .unwrap();
    let asked = all
        .first("the question", |m| {
            *m.subject == *"agent.probe-002.cmd.execute" && m.headers.is_some()
        })
        .await
        .headers
        .unwrap();
    let answer = answer.headers.unwrap();
    for (what, said, agent) in [
        ("first", &first, "probe-001"),
        ("second", &second, "probe-002"),
        ("question", &asked, "probe-001"),
        ("answer", &answer, "probe-001"),
    ] {
        let (trace, span, request) = whole(what, said, agent);
        assert_eq!(trace, TRACE, "{what}");
        assert_eq!(request, "order-7", "{what}");
        assert_eq!(header(said, "tracestate"), "vendor=1", "{what}");
        assert_eq!(header(said, "X-Mine"), "", "{what}");
        // What one call sends is of one span, and no other's.
        assert_eq!(*spans.entry(agent).or_insert(span.clone()), span, "{what}");
    }
    let different: std::collections::BTreeSet<_> = spans.values().collect();
    assert_eq!(different.len(), 3, "{spans:?}");
    let line = host.logs.saying("inside").await;
    assert_eq!(line.field("trace_id"), TRACE);
    assert_eq!(line.field("agent"), "probe-002");
}

#[tokio::test]
async fn work_carries_its_trace_and_urgency_to_the_end() {
    let nats = Nats::start().await;
    let out = nats.listen("out").await;
    let _host = Host::new(&nats)
        .plugin("probe", |p| {
            p.work("lab", "*")
                .grant_publish("out")
                .grant_publish("work.lab.>")
        })
        .run()
        .await;
    // An id of the sender's own, which is no trace id of W3C's.
    let given = headers(&[("X-Request-ID", "r1"), ("X-Trace-ID", "order_7")]);
    let next = json!({"do": "publish", "subject": "out"});
    let item = json!({"do": "sequence", "commands": [
        {"do": "fail_times", "n": 1}, {"do": "publish_stored", "subject": "work.lab.low.next", "payload": next},
    ]});
    nats.work_with("work.lab.critical.x", given, item.to_string())
        .await;
    // The item that it makes belongs to the same request, and so does that one's result.
    let result = until("its result", async || {
        let results = nats.results_of("r1").await;
        results
            .into_iter()
            .find(|r| r.header("X-Priority") == "critical")
    })
    .await;
    let (trace, _, request) = whole("result", &result.headers, "probe-001");
    assert_eq!((trace.as_str(), request.as_str()), ("order_7", "r1"));
    assert_eq!(result.header("X-Priority"), "critical");
    assert_eq!(result.header("X-Retry-Count"), "1");
    let message = out.on_subject("out").await;
    let (trace, _, request) = whole(
        "what came of it",
        message.headers.as_ref().unwrap(),
        "probe-001",
    );
    assert_eq!((trace.as_str(), request.as_str()), ("order_7", "r1"));
    assert_eq!(
        header(message.headers.as_ref().unwrap(), "X-Priority"),
        "low",
        "its own subject says so"
    );
    nats.work_is_done().await;

    // Without any: made once, and the same over all tries.
    let item = json!({"do": "sequence", "commands": [{"do": "publish", "subject": "out"}, {"do": "fail_times", "n": 2}]});
    out.forget();
    let sequence = nats.work("work.lab.high.y", item.to_string()).await;
    let result = nats.result_of(&format!("wq-{sequence}")).await;
    for message in out.number(3).await {
        let said = message.headers.unwrap();
        assert_eq!(header(&said, "X-Request-ID"), format!("wq-{sequence}"));
        assert!(is_hex(&header(&said, "X-Trace-ID"), 32), "{said:?}");
    }
    assert_eq!(result.header("X-Retry-Count"), "2");
}
