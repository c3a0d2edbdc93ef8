//! What it does with others.

use mistersmith_sdk::mock::Bus;
use mistersmith_sdk::{CallError, Reply, json};

use super::{probe, told};

#[test]
fn coordination() {
    let bus = Bus::new();
    bus.answer_scatter("a-001", |question| {
        Ok(question.text()?.to_uppercase().into())
    });
    bus.answer_scatter("a-002", |_| Err(CallError::Timeout));
    bus.answer_pipeline("extract", |_| Ok(Reply::from("out")));
    bus.set_leadership(None);
    let mut probe = probe(&bus);
    let results = told(
        &mut probe,
        json!({"do": "sequence", "commands": [
            {"do": "scatter", "payload": "hey", "timeout_ms": 5, "expect": ["a-001", "a-002"], "min": 1},
            {"do": "start_pipeline", "stage": "extract", "workflow": "w1", "payload": {"a": 1}},
            {"do": "pipeline_result", "workflow": "w1", "timeout_ms": 5},
            {"do": "signal", "workflow": "w1", "event": "go", "payload": "now"},
            {"do": "await_event", "workflow": "w1", "event": "go"},
            {"do": "await_event", "workflow": "w1", "event": "stop", "timeout_ms": 5},
            {"do": "watch", "workflow": "w1"},
            {"do": "unwatch", "workflow": "w1"},
            {"do": "unwatch", "workflow": "w1"},
            {"do": "leadership"},
            {"do": "circuit", "service": "db"},
        ]}),
    );
    let answers = json!([{"agent": "a-001", "payload": "HEY", "content_type": "text/plain"}]);
    assert_eq!(results[0]["answers"], answers);
    assert_eq!(results[0]["status"], "complete");
    assert_eq!(results[0]["missing"], json!(["a-002"]));
    assert_eq!(results[1], json!({"workflow": "w1"}));
    assert_eq!(results[2]["payload"], "out");
    assert_eq!(results[4], "now");
    assert_eq!(results[5], json!(null));
    assert_eq!(results[7], json!({"ok": true}));
    assert_eq!(results[8]["error"]["kind"], "not-found");
    assert_eq!(results[9], json!(null));
    assert_eq!(results[10], json!({"state": "closed"}));
}

#[test]
fn questions_and_events_are_heard() {
    let mut probe = probe(&Bus::new());
    let echo = json!({"do": "echo", "value": 7});
    assert_eq!(probe.scatter("r1", echo).unwrap().to_value(), 7);
    let heard = probe.scatter("r2", "what?").unwrap().to_value();
    assert_eq!(
        (&heard["request"], &heard["payload"]),
        (&json!("r2"), &json!("what?"))
    );
    probe.coordinate("w1", "ready", "x");
    let notices = told(&mut probe, json!({"do": "notices"}));
    assert_eq!(notices[0]["event"], "ready");
}
