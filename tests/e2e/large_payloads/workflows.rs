//! Workflows: what goes from stage to stage may be larger than a message.

use serde_json::{Value, json};

use super::{LARGE, claimed, is_removed, objects_for, padded, roomy};
use harness::{Host, Nats, Plugin, component, until};

/// A plugin with the probe's component that does one stage, and hands on what it got.
fn stage(name: &str, lines: &str, command: &str) -> Plugin {
    roomy(
        Plugin::bare(name)
            .component(component("probe"))
            .stage_doing(name, lines, command),
    )
}

#[tokio::test]
async fn large_inputs_go_from_stage_to_stage() {
    let nats = Nats::start().await;
    let big = format!("{{ do = \"big_reply\", bytes = {LARGE} }}");
    let host = Host::new(&nats)
        .with(stage("one", "next = [\"two\"]", &big))
        .with(stage("two", "", &big))
        .run()
        .await;
    let first = "pipeline.wf-1.01.one";
    let input = padded(&json!({}), LARGE);
    host.cli_fed(&["publish", first, "-"], &input).await.ok();
    let result = until("the workflow is complete", async || {
        nats.stored("COORDINATION", "pipeline.wf-1.complete")
            .await
            .pop()
    })
    .await;
    assert_eq!(claimed(&nats, &result).await, vec![b'x'; LARGE]);
    is_removed(&nats, first).await;
    is_removed(&nats, "pipeline.wf-1.02.two").await;
    let left = objects_for(&nats, "pipeline.wf-1.complete").await;
    assert_eq!(left, [result.header("X-Claim")]);

    let timeline = host.cli(&["timeline", "wf-1", "--json"]).await.ok().json();
    let lines = timeline.as_array().unwrap();
    let of = |what: &str| -> Vec<&Value> { lines.iter().filter(|l| l["what"] == what).collect() };
    let stages = of("stage");
    assert_eq!(stages.len(), 2, "{timeline}");
    assert_eq!(stages[1]["subject"], "pipeline.wf-1.02.two");
    assert_eq!(stages[1]["agent_id"], "one-001");
    assert_eq!(stages[1]["bytes"], LARGE);
    assert!(stages[1]["took_ms"].as_f64().unwrap() > 0.0);
    assert_eq!(of("stage begun").len(), 2);
    assert_eq!(of("stage complete").len(), 2);
    let ends = of("workflow complete");
    assert_eq!(ends[0]["agent_id"], "two-001");
    assert_eq!(
        ends[0]["input"],
        format!("COORDINATION:{}", stages[1]["sequence"])
    );
    let (took, waited) = (&ends[0]["took_ms"], &ends[0]["waited_ms"]);
    assert!(
        waited.as_f64().unwrap() <= took.as_f64().unwrap(),
        "{timeline}"
    );
}

#[tokio::test]
async fn a_plugin_starts_a_large_workflow_and_reads_its_result() {
    let nats = Nats::start().await;
    let big = format!("{{ do = \"big_reply\", bytes = {LARGE} }}");
    let host = Host::new(&nats)
        .plugin("probe", |p| {
            roomy(p.work("lab", "*")).grant_publish("pipeline.*.01.one")
        })
        .with(stage("one", "", &big))
        .run()
        .await;
    let start = json!({
        "do": "start_pipeline", "stage": "one", "workflow": "wf-2", "payload": "y".repeat(LARGE),
    });
    let get = json!({"do": "pipeline_result", "workflow": "wf-2", "timeout_ms": 30_000});
    let both = json!({"do": "sequence", "commands": [start, get]}).to_string();
    let sent = ["publish", "work.lab.x", "-", "-H", "X-Request-ID: r"];
    host.cli_fed(&sent, both.as_bytes()).await.ok();
    let result = nats.result_of("r").await;
    let told: Value = serde_json::from_slice(&claimed(&nats, &result).await).unwrap();
    let read = &told[1];
    assert_eq!(read["subject"], "pipeline.wf-2.complete");
    assert_eq!(read["payload"].as_str().unwrap().len(), LARGE);
    let headers = read["headers"].to_string();
    assert!(
        headers.contains("X-Stage") && !headers.contains("X-Claim"),
        "{headers}"
    );
    is_removed(&nats, "pipeline.wf-2.01.one").await;
    is_removed(&nats, "work.lab.x").await;
}
