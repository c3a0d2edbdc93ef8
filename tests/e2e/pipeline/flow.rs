//! A workflow from stage to stage.

use serde_json::{Value, json};

use harness::{Host, Nats};

use super::{events, output_id, put, result_of, stage, stage_doing, stage_is_done, value};

#[tokio::test]
async fn a_workflow_runs_through_its_stages() {
    let nats = Nats::start().await;
    let _host = Host::new(&nats)
        .with(stage("extract", "next = [\"preprocess\"]").instances(2))
        .with(stage("preprocess", "next = [\"analyze\"]"))
        .with(stage("analyze", "next = [\"summarize\"]"))
        .with(stage("summarize", ""))
        .run()
        .await;
    let own = [("X-Trace-ID", "order_7"), ("X-Priority", "high")];
    put(&nats, "pipeline.w-1.01.extract", &own, "some text").await;
    let result = result_of(&nats, "w-1").await;
    let expected = ["extract", "preprocess", "analyze", "summarize"];
    let mut told = result.json();
    for (n, stage) in expected.iter().enumerate().rev() {
        assert_eq!(told["stage"], *stage);
        assert_eq!(told["n"], n + 1);
        assert_eq!(told["workflow"], "w-1");
        assert_eq!(told["retries"], 0);
        told = told["input"].take();
    }
    assert_eq!(told, "some text");

    // What goes from stage to stage.
    let inputs = nats.stored("COORDINATION", "pipeline.w-1.>").await;
    let subjects: Vec<&str> = inputs.iter().map(|input| input.subject.as_str()).collect();
    assert_eq!(
        subjects,
        [
            "pipeline.w-1.01.extract",
            "pipeline.w-1.02.preprocess",
            "pipeline.w-1.03.analyze",
            "pipeline.w-1.04.summarize",
            "pipeline.w-1.complete",
        ]
    );
    let outputs = [
        "next.preprocess",
        "next.analyze",
        "next.summarize",
        "result",
    ];
    for (pair, (stage, output)) in inputs.windows(2).zip(expected.iter().zip(outputs)) {
        let made = &pair[1].headers;
        let id = output_id(&nats, pair[0].sequence, output).await;
        assert_eq!(value(made, "Nats-Msg-Id"), id);
        assert_eq!(value(made, "X-Stage"), *stage);
        assert!(value(made, "X-Agent-ID").starts_with(stage));
        assert_eq!(value(made, "X-Request-ID"), "w-1", "that of the workflow");
        assert_eq!(value(made, "X-Trace-ID"), "order_7");
        assert_eq!(value(made, "X-Priority"), "high");
        assert_eq!(value(made, "Content-Type"), "application/json");
    }

    // What is said about it.
    for stage in expected {
        stage_is_done(&nats, stage).await;
    }
    let events = events(&nats, "w-1").await;
    for (n, stage) in expected.iter().enumerate() {
        let of_stage: Vec<&(String, Value)> = events
            .iter()
            .filter(|(_, event)| event["stage"] == *stage)
            .collect();
        let names: Vec<&str> = of_stage.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["ready", "complete"], "{stage}");
        for (_, event) in of_stage {
            assert_eq!(event["n"], n + 1);
            assert!(event["agent_id"].as_str().unwrap().starts_with(stage));
            assert!(event["at"].as_str().unwrap().ends_with('Z'));
        }
    }
}

#[tokio::test]
async fn a_workflow_begins_with_any_stage_and_goes_on_where_the_number_says() {
    let nats = Nats::start().await;
    let _host = Host::new(&nats)
        .with(stage("b", "next = [\"c\"]"))
        .with(stage("c", ""))
        .run()
        .await;
    put(
        &nats,
        "pipeline.w_2.7.b",
        &[("X-Request-ID", "order-9")],
        "{\"a\": 1}",
    )
    .await;
    let result = result_of(&nats, "w_2").await;
    assert_eq!(result.json()["n"], 8);
    assert_eq!(result.json()["input"]["input"], json!({"a": 1}));
    assert_eq!(result.header("X-Request-ID"), "order-9");
}

#[tokio::test]
async fn what_a_handler_returns_is_handed_on_as_it_is() {
    let nats = Nats::start().await;
    let _host = Host::new(&nats)
        .with(stage_doing(
            "a",
            "next = [\"b\", \"c\"]",
            "{ do = \"reply\", payload = \"words\", content_type = \"text/plain\", headers = [[\"X-Mine\", \"kept\"]] }",
        ))
        .with(stage_doing("b", "", "{ do = \"header\", name = \"X-Mine\" }"))
        .with(stage_doing("c", "", "{ do = \"no_reply\" }"))
        .run()
        .await;
    put(&nats, "pipeline.w.01.a", &[], "x").await;
    for stage in ["a", "b", "c"] {
        stage_is_done(&nats, stage).await;
    }
    let inputs = nats.stored("COORDINATION", "pipeline.w.02.*").await;
    assert_eq!(inputs.len(), 2);
    for input in &inputs {
        assert_eq!(input.text(), "words");
        assert_eq!(input.header("Content-Type"), "text/plain");
        assert_eq!(input.header("X-Mine"), "kept");
        assert_eq!(input.header("X-Stage"), "a");
    }
    // Each last stage completes the workflow.
    let mut results = nats.stored("COORDINATION", "pipeline.w.complete").await;
    results.sort_by_key(|result| result.header("X-Stage"));
    assert_eq!(results[0].text(), "\"kept\"");
    assert_eq!(results[1].text(), "");
    assert_eq!(results.len(), 2);
}
