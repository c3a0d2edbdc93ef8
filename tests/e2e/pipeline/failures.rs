//! Stages that fail, and inputs that are none.

use serde_json::json;

use harness::{Host, Nats};

use super::{events, put, result_of, stage, stage_doing, stage_is_done, told};

#[tokio::test]
async fn a_failing_stage_is_tried_again_then_dead_lettered_and_reported() {
    let nats = Nats::start().await;
    let _host = Host::new(&nats)
        .with(stage_doing(
            "once",
            "next = [\"never\"]",
            "{ do = \"fail_times\", n = 1 }",
        ))
        .with(stage_doing(
            "never",
            "",
            "{ do = \"fail_other\", message = \"no idea\" }",
        ))
        .with(stage_doing(
            "not-mine",
            "",
            "{ do = \"fail_reject\", message = \"not text\" }",
        ))
        .run()
        .await;
    put(&nats, "pipeline.w.01.once", &[], "x").await;
    let error = told(&nats, "w", "error", 1).await.remove(0);
    assert_eq!(error["stage"], "never");
    assert_eq!(error["n"], 2);
    assert_eq!(error["agent_id"], "never-001");
    assert_eq!(error["kind"], "failed");
    assert_eq!(error["error"], "no idea (attempt 3 of 3)");
    assert_eq!(error["deliveries"], 3);
    let letter = nats.dead_letters("pipeline.w.02.never", 1).await.remove(0);
    assert_eq!(error["dlq_sequence"], letter.sequence);
    assert_eq!(letter.json(), json!({"retries": 1}), "the second try");
    assert_eq!(letter.header("X-DLQ-Stream"), "COORDINATION");
    assert_eq!(letter.header("X-DLQ-Agent-ID"), "never-001");
    assert_eq!(letter.header("X-Stage"), "once");
    stage_is_done(&nats, "never").await;

    put(&nats, "pipeline.v.01.not-mine", &[], "x").await;
    let error = told(&nats, "v", "error", 1).await.remove(0);
    assert_eq!(
        (&error["kind"], &error["deliveries"]),
        (&json!("rejected"), &json!(1))
    );
    stage_is_done(&nats, "not-mine").await;
    for workflow in ["w", "v"] {
        let result = format!("pipeline.{workflow}.complete");
        assert!(nats.stored("COORDINATION", &result).await.is_empty());
        let all = events(&nats, workflow).await;
        assert_eq!(all.iter().filter(|(name, _)| name == "error").count(), 1);
    }
}

#[tokio::test]
async fn a_dead_letter_can_be_sent_again() {
    let nats = Nats::start().await;
    let host = Host::new(&nats)
        .with(stage("a", "schema = \"s.json\"").file("s.json", r#"{"type": "object"}"#))
        .run()
        .await;
    put(&nats, "pipeline.w.04.a", &[], "no json").await;
    let error = told(&nats, "w", "error", 1).await.remove(0);
    assert_eq!((&error["kind"], &error["n"]), (&json!("schema"), &json!(4)));
    assert_eq!(error["agent_id"], json!(null), "no agent was woken");
    let mut plugin = stage("a", "");
    plugin = plugin.version("0.2.0");
    host.drop_in(&plugin);
    host.logs
        .first("the plugin is replaced", |line| {
            line.message().contains("replaced") || line.field("version") == "0.2.0"
        })
        .await;
    let ran = host.cli(&["dlq", "replay", "--all"]).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let result = result_of(&nats, "w").await;
    assert_eq!(result.json()["input"], "no json");
    assert_eq!(result.json()["n"], 4);
}

#[tokio::test]
async fn what_is_no_input_becomes_a_dead_letter_and_no_workflow_hears_of_it() {
    let nats = Nats::start().await;
    let _host = Host::new(&nats)
        .with(stage("a", "next = [\"b\"]"))
        .run()
        .await;
    for (subject, problem) in [
        (
            "pipeline.w.xx.a",
            "its third token must be a number, 01 to 99",
        ),
        (
            "pipeline.w.00.a",
            "its third token must be a number, 01 to 99",
        ),
        (
            "pipeline.w.100.a",
            "its third token must be a number, 01 to 99",
        ),
        ("pipeline.w$x.01.a", "is not a workflow id"),
    ] {
        put(&nats, subject, &[], "x").await;
        let letter = nats.dead_letters(subject, 1).await.remove(0);
        assert_eq!(letter.header("X-DLQ-Error-Kind"), "malformed");
        let error = letter.header("X-DLQ-Error");
        assert!(error.contains(problem), "{error}");
        assert_eq!(letter.text(), "x");
    }
    stage_is_done(&nats, "a").await;
    assert!(nats.stored("COORDINATION", "coord.>").await.is_empty());

    // A circle comes to its end.
    put(&nats, "pipeline.round.99.a", &[], "x").await;
    let error = told(&nats, "round", "error", 1).await.remove(0);
    assert_eq!(error["kind"], "too-long");
    let letter = nats.dead_letters("pipeline.round.99.a", 1).await.remove(0);
    let text = letter.header("X-DLQ-Error");
    assert!(
        text.contains("do the stages' next form a circle?"),
        "{text}"
    );
}
