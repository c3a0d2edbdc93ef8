//! Two hosts on one NATS system.

use std::collections::BTreeSet;

use harness::{Host, Nats, Plugin, component, until};

use super::{put, stage, stage_is_done};

#[tokio::test]
async fn two_hosts_share_the_stages() {
    const WORKFLOWS: usize = 40;
    let nats = Nats::start().await;
    let slow = "{ do = \"sequence\", commands = [\
        { do = \"sleep\", ms = 30, how = \"wait\" }, { do = \"stage\" } ] }";
    let host = |name: &str| {
        Host::new(&nats)
            .named(name)
            .with(super::stage_doing("a", "next = [\"b\"]", slow))
            .with(stage("b", ""))
    };
    let _one = host("one").run().await;
    let _two = host("two").run().await;
    for n in 0..WORKFLOWS {
        put(&nats, &format!("pipeline.w{n}.01.a"), &[], "x").await;
    }
    let results = until("all are complete", async || {
        let results = nats.stored("COORDINATION", "pipeline.*.complete").await;
        (results.len() >= WORKFLOWS).then_some(results)
    })
    .await;
    assert_eq!(results.len(), WORKFLOWS);
    for name in ["a", "b"] {
        stage_is_done(&nats, name).await;
    }
    let agents: BTreeSet<String> = nats
        .stored("COORDINATION", "pipeline.*.02.b")
        .await
        .iter()
        .map(|input| input.header("X-Agent-ID"))
        .collect();
    assert_eq!(agents.len(), 2, "{agents:?}");
}

#[tokio::test]
async fn a_stage_is_done_by_one_plugin() {
    let nats = Nats::start().await;
    let _one = Host::new(&nats)
        .named("one")
        .with(stage("a", ""))
        .run()
        .await;
    let two = Host::new(&nats)
        .named("two")
        .with(
            Plugin::bare("thief")
                .component(component("probe"))
                .stage("a", "")
                .not_awaited(),
        )
        .start();
    let refused = two
        .logs
        .first("it is refused", |line| {
            line.0.to_string().contains("both do the stage")
        })
        .await;
    let text = refused.0.to_string();
    assert!(text.contains("`thief`") && text.contains("`a`"), "{text}");
    put(&nats, "pipeline.w.01.a", &[], "x").await;
    super::result_of(&nats, "w").await;
}
