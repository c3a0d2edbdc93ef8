//! Pipelines, events of workflows, elections and circuits, as a plugin sees them.

use serde_json::{Value, json};

use harness::{Host, Nats, Plugin, headers, until};

fn coordinator(probe: Plugin) -> Plugin {
    probe
        .grant_publish("pipeline.*.01.unclaimed")
        .grant_publish("coord.>")
        .grant_subscribe("coord.>")
        .deny("coord.*.cancel")
}

#[tokio::test]
async fn an_event_is_awaited_whether_it_was_or_comes() {
    let nats = Nats::start().await;
    let _host = Host::new(&nats)
        .plugin("probe", |p| coordinator(p).instances(2))
        .run()
        .await;
    let _other = Host::new(&nats)
        .plugin("probe", |p| coordinator(p).instances(1))
        .run()
        .await;
    let await_event =
        |ms: u64| json!({"do": "await_event", "workflow": "w1", "event": "go", "timeout_ms": ms});
    let signal = |payload: &str| json!({"do": "signal", "workflow": "w1", "event": "go", "payload": payload});
    let none = nats.tell("probe-001", await_event(0)).await;
    assert_eq!(none, json!(null));

    // One that comes, from an agent of another host.
    let subscribed = nats.listen("coord.w1.go").await;
    let (waited, told) = tokio::join!(
        nats.tell("probe-001", await_event(4000)),
        nats.tell("probe-003", signal("1")),
    );
    assert_eq!(told, json!({"ok": true}));
    assert_eq!(waited, "1");
    assert_eq!(subscribed.number(1).await.len(), 1);
    // One that was: the newest.
    nats.tell("probe-003", signal("2")).await;
    assert_eq!(nats.tell("probe-002", await_event(0)).await, "2");
    let stored = nats.stored("COORDINATION", "coord.w1.go").await;
    assert_eq!(stored.len(), 2);
    assert_eq!(stored[1].header("X-Agent-ID"), "probe-003");
    // What another client says is an event too.
    nats.publish("coord.w2.go", "from outside").await;
    let other = json!({"do": "await_event", "workflow": "w2", "event": "go"});
    assert_eq!(nats.tell("probe-001", other).await, "from outside");
    for command in [
        json!({"do": "signal", "workflow": "w1", "event": "cancel"}),
        json!({"do": "await_event", "workflow": "w1", "event": "cancel"}),
    ] {
        assert_eq!(nats.refused("probe-001", command).await.0, "denied");
    }
    let malformed = json!({"do": "signal", "workflow": "w.1", "event": "go"});
    assert_eq!(nats.refused("probe-001", malformed).await.0, "invalid");
}

#[tokio::test]
async fn a_pipeline_is_started_once_and_its_result_awaited() {
    let nats = Nats::start().await;
    let _host = Host::new(&nats)
        .plugin("probe", |p| coordinator(p).instances(2))
        .run()
        .await;
    let start = json!({"do": "start_pipeline", "stage": "unclaimed", "payload": {"a": 1}});
    let told = nats.tell("probe-001", start).await;
    let workflow = told["workflow"].as_str().unwrap().to_owned();
    let input = format!("pipeline.{workflow}.01.unclaimed");
    let stored = nats.stored("COORDINATION", &input).await;
    assert_eq!(stored.len(), 1);
    assert_eq!(stored[0].json(), json!({"a": 1}));
    assert_eq!(stored[0].header("X-Agent-ID"), "probe-001");

    let result = |ms: u64| json!({"do": "pipeline_result", "workflow": workflow, "timeout_ms": ms});
    assert_eq!(nats.tell("probe-001", result(0)).await, json!(null));
    // Somebody finishes it while it is awaited.
    let complete = format!("pipeline.{workflow}.complete");
    let finish = async {
        let made = headers(&[("X-Stage", "unclaimed")]);
        nats.publish_with(&complete, made, "done").await;
    };
    let (told, ()) = tokio::join!(nats.tell("probe-001", result(4000)), finish);
    assert_eq!(
        (&told["subject"], &told["payload"]),
        (&json!(complete), &json!("done"))
    );
    // Nobody else's, and nothing that is not granted.
    assert_eq!(nats.refused("probe-002", result(0)).await.0, "not-found");
    let other = json!({"do": "start_pipeline", "stage": "another"});
    let (kind, message) = nats.refused("probe-001", other).await;
    assert_eq!(kind, "denied");
    assert!(message.contains("pipeline.*.01.another"), "{message}");
}

#[tokio::test]
async fn a_watched_workflow_is_heard_until_it_is_not() {
    let nats = Nats::start().await;
    let _host = Host::new(&nats)
        .plugin("probe", |p| coordinator(p).instances(2))
        .run()
        .await;
    let tell = async |command: Value| nats.tell("probe-001", command).await;
    let watch = || json!({"do": "watch", "workflow": "w1"});
    assert_eq!(tell(watch()).await, json!({"ok": true}));
    assert_eq!(tell(watch()).await, json!({"ok": true}));
    nats.answers().await;
    nats.publish("coord.w2.go", "other").await;
    nats.publish("coord.w1.cancel", "denied").await;
    for event in ["ready", "mine"] {
        nats.publish(&format!("coord.w1.{event}"), format!("<{event}>"))
            .await;
    }
    let mut notices = Vec::new();
    until("both events are heard", async || {
        let more = tell(json!({"do": "notices"})).await;
        notices.extend(more.as_array().unwrap().clone());
        (notices.len() >= 2).then_some(())
    })
    .await;
    let events: Vec<(&str, &str)> = notices
        .iter()
        .map(|n| (n["event"].as_str().unwrap(), n["payload"].as_str().unwrap()))
        .collect();
    assert_eq!(events, [("ready", "<ready>"), ("mine", "<mine>")]);
    assert_eq!(notices[0]["workflow"], "w1");

    let unwatch = || json!({"do": "unwatch", "workflow": "w1"});
    assert_eq!(tell(unwatch()).await, json!({"ok": true}));
    assert_eq!(nats.refused("probe-001", unwatch()).await.0, "not-found");
    // The same agent still hears what it asks for: had the event been for it, it would be there.
    nats.publish("coord.w1.ready", "late").await;
    let found = json!({"do": "await_event", "workflow": "w1", "event": "ready"});
    assert_eq!(tell(found).await, "late");
    assert_eq!(tell(json!({"do": "notices"})).await, json!([]));
}

#[tokio::test]
async fn without_an_election_nobody_leads_and_unknown_circuits_are_closed() {
    let nats = Nats::start().await;
    let _host = Host::new(&nats)
        .plugin("probe", |p| p.grant_kv("CIRCUITS", "nlp", "read"))
        .run()
        .await;
    assert_eq!(
        nats.tell("probe-001", json!({"do": "leadership"})).await,
        json!(null)
    );
    let circuit = |service: &str| json!({"do": "circuit", "service": service});
    let closed = nats.tell("probe-001", circuit("nlp")).await;
    assert_eq!(closed, json!({"state": "closed"}));
    assert_eq!(nats.refused("probe-001", circuit("db")).await.0, "denied");
}
