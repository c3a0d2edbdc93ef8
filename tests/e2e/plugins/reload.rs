//! A changed plugin is replaced, a removed one drained, a broken one reported.

use std::fs;

use serde_json::json;

use harness::{Host, Line, Nats, Plugin, component, headers, rebuilt, until};

fn probe() -> Plugin {
    Plugin::new("probe")
        .instances(2)
        .work("lab", "*")
        .subscribe_queue("probe.in", "probes")
}

#[tokio::test]
async fn a_changed_plugin_is_replaced_under_load_and_nothing_is_lost() {
    const ITEMS: usize = 300;
    let nats = Nats::start().await;
    let ear = nats.listen("agent.>").await;
    let host = Host::new(&nats).with(probe()).run().await;
    let before = nats.tell("probe-001", json!({"do": "counter"})).await;

    let other = nats.another().await;
    let requests = tokio::spawn(async move {
        let mut slowest = std::time::Duration::ZERO;
        for number in 0..200 {
            let begun = std::time::Instant::now();
            let answer = other
                .request(
                    "probe.in",
                    json!({"do": "echo", "value": number}).to_string(),
                )
                .await;
            let text = String::from_utf8_lossy(&answer.payload).into_owned();
            assert_eq!(text, number.to_string(), "a request met nobody");
            slowest = slowest.max(begun.elapsed());
        }
        slowest
    });
    let slow = json!({"do": "sleep", "ms": 15, "how": "wait"}).to_string();
    for number in 0..ITEMS {
        nats.work_as(&format!("i{number}"), "work.lab.high.x", slow.clone())
            .await;
        if [60, 140, 220].contains(&number) {
            let version = format!("0.2.{number}");
            host.drop_in(
                &probe()
                    .version(&version)
                    .component(rebuilt(&component("probe"), &version)),
            );
            // The files must be the same in two looks; by then they are.
            until("it is replaced", async || {
                let replaced = host.logs.find(|line| line.message() == "plugin replaced");
                (replaced.len() == [60, 140, 220].iter().filter(|n| **n <= number).count())
                    .then_some(())
            })
            .await;
        }
    }
    nats.work_is_done().await;
    let results = nats.stored("RESULTS", "agent.*.resp.*").await;
    let mut ids: Vec<String> = results.iter().map(|r| r.header("X-Request-ID")).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), ITEMS, "none is lost");
    assert_eq!(results.len(), ITEMS, "none is done twice");
    assert!(
        results.iter().all(|r| r.header("X-Retry-Count") == "0"),
        "none had to be tried again"
    );
    let slowest = requests.await.unwrap();
    assert!(slowest.as_secs() < 5, "a request waited {slowest:?}");

    // The ids are the same, the memory is not.
    let after = nats.tell("probe-001", json!({"do": "counter"})).await;
    assert_ne!(after["instance"], before["instance"]);
    let context = nats.tell("probe-002", json!({"do": "context"})).await;
    assert_eq!(context["version"], "0.2.220");
    assert!(nats.state("probe-003").await.is_none());
    assert_eq!(ear.count("agent.probe-001.error"), 0);
    until("its version is told", async || {
        let state = nats.state("probe-001").await?;
        (state["metadata"]["version"] == "0.2.220").then_some(())
    })
    .await;
    nats.audited("plugin", |entry| {
        entry["change"] == "replaced" && entry["version"] == "0.2.220"
    })
    .await;
}

#[tokio::test]
async fn what_is_in_hand_is_finished_by_the_old_version() {
    let nats = Nats::start().await;
    let ran = nats.listen("ran").await;
    let slow = |p: Plugin| {
        p.instances(1)
            .limit("timeout = \"20s\"")
            .grant_publish("ran")
    };
    let host = Host::new(&nats).with(slow(probe())).run().await;
    let command = json!({"do": "sequence", "commands": [
        {"do": "publish", "subject": "ran"}, {"do": "sleep", "ms": 3000, "how": "wait"}, {"do": "context"},
    ]});
    nats.work_as("held", "work.lab.high.x", command.to_string())
        .await;
    ran.number(1).await;
    host.drop_in(&slow(probe()).version("0.2.0"));
    nats.work_as(
        "next",
        "work.lab.high.x",
        json!({"do": "context"}).to_string(),
    )
    .await;
    let held = nats.result_of("held").await;
    assert_eq!(held.json()[2]["version"], "0.1.0");
    assert_eq!(nats.result_of("next").await.json()["version"], "0.2.0");
    assert_eq!(ran.all().len(), 1);
}

#[tokio::test]
async fn instances_and_subscriptions_follow_the_manifest() {
    let nats = Nats::start().await;
    let ear = nats.listen("agent.>").await;
    let host = Host::new(&nats)
        .plugin("probe", |p| p.instances(3).subscribe_queue("old.in", "q"))
        .run()
        .await;
    // A command's change stays; what the manifest gives changes.
    nats.request_json("agent.probe-001.cmd.config", r#"{"mine": 1}"#)
        .await;
    let next = Plugin::new("probe")
        .version("0.2.0")
        .instances(2)
        .config("theirs = 2")
        .subscribe_queue("new.in", "q");
    host.drop_in(&next);
    ear.on_subject("agent.probe-003.stopped").await;
    host.logs.saying("plugin replaced").await;
    let answer = nats
        .request("new.in", r#"{"do": "echo", "value": 1}"#)
        .await;
    assert_eq!(answer.payload, "1");
    let nobody = nats.client.request("old.in", "x".into()).await;
    assert_eq!(
        nobody.unwrap_err().kind(),
        async_nats::RequestErrorKind::NoResponders
    );
    let config = nats.tell("probe-001", json!({"do": "context"})).await["config"].clone();
    assert_eq!(config, json!({"mine": 1, "theirs": 2}));
    assert!(
        !nats
            .keys("AGENT_CLAIMS")
            .await
            .contains(&"probe-003".to_owned()),
        "the number is free"
    );

    host.drop_in(&next.version("0.3.0").instances(4));
    ear.on_subject("agent.probe-004.ready").await;
}

#[tokio::test]
async fn a_removed_plugin_is_drained() {
    let nats = Nats::start().await;
    let ran = nats.listen("ran").await;
    let ear = nats.listen("agent.*.stopped").await;
    let host = Host::new(&nats)
        .with(probe().grant_publish("ran"))
        .with(Plugin::shipped("echo"))
        .run()
        .await;
    let slow = json!({"do": "sequence", "commands": [
        {"do": "publish", "subject": "ran"}, {"do": "sleep", "ms": 2500, "how": "wait"}, {"do": "echo", "value": "done"},
    ]});
    nats.work_as("held", "work.lab.high.x", slow.to_string())
        .await;
    ran.number(1).await;
    host.take_out("probe");
    assert_eq!(
        nats.result_of("held").await.json()[2],
        "done",
        "it is finished, not dropped"
    );
    nats.work_is_done().await;
    for agent in ["probe-001", "probe-002"] {
        let stopped = ear.on_subject(&format!("agent.{agent}.stopped")).await;
        let stopped: serde_json::Value = serde_json::from_slice(&stopped.payload).unwrap();
        assert_eq!(stopped["reason"], "removed");
    }
    host.logs.saying("plugin removed").await;
    assert_eq!(nats.state("probe-001").await, None);
    assert!(
        nats.keys("AGENT_CLAIMS")
            .await
            .iter()
            .all(|key| !key.starts_with("probe-"))
    );
    assert_eq!(nats.request("tools.echo", "x").await.payload, "x");
    assert_eq!(ear.all().len(), 2, "the other plugin noticed nothing");
    // What comes now waits for whoever takes it next.
    nats.work_as("late", "work.lab.high.x", r#"{"do": "echo", "value": 1}"#)
        .await;
    assert_eq!(nats.stream_info("WORK_QUEUE").await.state.messages, 1);
    host.drop_in(&probe());
    assert_eq!(nats.result_of("late").await.text(), "1");
}

#[tokio::test]
async fn a_broken_version_is_reported_and_the_old_one_goes_on() {
    let nats = Nats::start().await;
    let host = Host::new(&nats).with(probe()).run().await;
    let instance = nats.tell("probe-001", json!({"do": "counter"})).await["instance"].clone();
    let good = component("probe");
    let broken: [(&str, Plugin, &str); 5] = [
        ("0.2.1", probe().component("no wasm at all"), "WebAssembly"),
        (
            "0.2.2",
            probe().component(&good[..good.len() / 2]),
            "probe.wasm",
        ),
        (
            "0.2.3",
            probe().limit("memory = \"32 apples\""),
            "32 apples",
        ),
        (
            "0.2.4",
            probe().config("on_start = { do = \"fail_other\", message = \"no model\" }"),
            "no model",
        ),
        (
            "0.2.5",
            probe().config("on_start = { do = \"trap\" }"),
            "gave up",
        ),
    ];
    for (number, (version, plugin, problem)) in broken.into_iter().enumerate() {
        host.drop_in(&plugin.version(version));
        let reports = || {
            host.logs
                .find(|line| line.level() == "ERROR" && line.field("plugin") == "probe")
        };
        let text = until(&format!("{version} is reported"), async || {
            reports().get(number).map(Line::message)
        })
        .await;
        assert!(text.contains(problem), "{version}: {text}");
        assert!(text.contains("the version that runs goes on"), "{text}");
        let told = nats.tell("probe-001", json!({"do": "counter"})).await;
        assert_eq!(told["instance"], instance, "{version}");
        let id = version.replace('.', "-");
        nats.work_as(&id, "work.lab.x", r#"{"do": "context"}"#)
            .await;
        assert_eq!(nats.result_of(&id).await.json()["version"], "0.1.0");
        nats.audited("plugin", |entry| {
            entry["change"] == "refused" && entry["error"].as_str().unwrap().contains(problem)
        })
        .await;
    }
    // A file that is still being copied is left alone until it stands still.
    let path = host.plugins().join("probe/probe.wasm");
    let next = rebuilt(&good, "next");
    fs::write(
        host.plugins().join("probe/plugin.toml"),
        probe().version("0.3.0").manifest(),
    )
    .unwrap();
    for part in 1..=12 {
        fs::write(&path, &next[..next.len() * part / 12]).unwrap();
        nats.request_with(
            "probe.in",
            headers(&[]),
            r#"{"do": "sleep", "ms": 120, "how": "wait"}"#,
        )
        .await;
    }
    until("the whole one runs", async || {
        let told = nats.tell("probe-001", json!({"do": "context"})).await;
        (told["version"] == "0.3.0").then_some(())
    })
    .await;
}
