//! `coord.<workflow>.cancel`: before, in the middle, and while no host runs.

use harness::{Host, Nats};

use super::{events, put, result_of, stage, stage_doing, stage_is_done};

#[tokio::test]
async fn a_cancelled_workflow_is_dropped_also_by_a_host_that_starts_later() {
    let nats = Nats::start().await;
    let mut host = Host::new(&nats)
        .with(stage("a", "next = [\"b\"]"))
        .with(stage("b", ""))
        .run()
        .await;
    put(&nats, "coord.before.cancel", &[], "{}").await;
    put(&nats, "pipeline.before.01.a", &[], "x").await;
    put(&nats, "pipeline.other.01.a", &[], "x").await;
    result_of(&nats, "other").await;
    stage_is_done(&nats, "a").await;
    assert_eq!(
        events(&nats, "before").await.len(),
        1,
        "the cancellation itself"
    );

    // In the middle: the next stage has it and has not begun.
    nats.request_json("agent.b-001.cmd.pause", "").await;
    put(&nats, "pipeline.middle.01.a", &[], "x").await;
    stage_is_done(&nats, "a").await;
    let (code, _) = host.stop().await;
    assert_eq!(code, Some(0));
    put(&nats, "coord.middle.cancel", &[], "{}").await;
    put(&nats, "pipeline.other-2.01.a", &[], "x").await;
    host.start();
    host.wait_ready().await;
    nats.request_json("agent.b-001.cmd.resume", "").await;
    result_of(&nats, "other-2").await;
    stage_is_done(&nats, "b").await;
    for workflow in ["before", "middle"] {
        let subject = format!("pipeline.{workflow}.complete");
        assert!(nats.stored("COORDINATION", &subject).await.is_empty());
    }
    let of_b = events(&nats, "middle").await;
    assert!(
        !of_b.iter().any(|(_, event)| event["stage"] == "b"),
        "{of_b:?}"
    );
    assert!(nats.stored("DLQ", "dlq.>").await.is_empty());
}

#[tokio::test]
async fn what_is_being_handled_when_it_is_cancelled_hands_nothing_on() {
    let nats = Nats::start().await;
    let ran = nats.listen("ran").await;
    let slow = "{ do = \"sequence\", commands = [\
        { do = \"publish\", subject = \"ran\" }, \
        { do = \"request\", subject = \"gate\", timeout_ms = 30000 } ] }";
    let gate = nats.listen("gate").await;
    let _host = Host::new(&nats)
        .with(
            stage_doing("a", "next = [\"b\"]", slow)
                .grant_publish("ran")
                .grant_request("gate")
                .limit("timeout = \"60s\""),
        )
        .with(stage_doing(
            "f",
            "",
            "{ do = \"fail_other\", message = \"x\" }",
        ))
        .run()
        .await;
    put(&nats, "pipeline.w.01.a", &[], "x").await;
    let asked = gate.number(1).await.remove(0);
    put(&nats, "coord.w.cancel", &[], "{}").await;
    // The host has heard of it once it drops another input of the workflow.
    put(&nats, "pipeline.w.01.f", &[], "x").await;
    stage_is_done(&nats, "f").await;
    nats.publish(asked.reply.unwrap().as_str(), "go on").await;
    stage_is_done(&nats, "a").await;
    assert_eq!(ran.all().len(), 1);
    assert!(
        nats.stored("COORDINATION", "pipeline.w.02.b")
            .await
            .is_empty()
    );
    let names: Vec<String> = events(&nats, "w")
        .await
        .into_iter()
        .map(|(n, _)| n)
        .collect();
    assert_eq!(names, ["ready", "cancel"]);
}
