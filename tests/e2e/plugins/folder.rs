//! What lies in the folder runs, when it can.

use std::fs;

use serde_json::json;

use harness::{Host, Nats, Plugin, component, until};

#[tokio::test]
async fn a_plugin_dropped_into_the_folder_runs() {
    let nats = Nats::start().await;
    let mut host = Host::new(&nats).run().await;
    host.logs.saying("no plugin runs").await;

    host.drop_in(&Plugin::shipped("echo"));
    host.wait_plugin("echo", 2).await;
    assert_eq!(nats.request("tools.echo", "hello").await.payload, "hello");

    // Cargo's own name for the component, and a folder that holds the source as well.
    let folder = host.plugins().join("word-count");
    fs::create_dir_all(folder.join("src")).unwrap();
    fs::write(folder.join("src/lib.rs"), "").unwrap();
    fs::write(
        folder.join("Cargo.toml"),
        "[package]\nname = \"word-count\"\n",
    )
    .unwrap();
    fs::write(folder.join("word_count.wasm"), component("word-count")).unwrap();
    let manifest = "[plugin]\nname = \"word-count\"\nversion = \"0.1.0\"\n\
        [[work]]\ndomain = \"data\"\ntask = \"*\"\n\
        [permissions]\nkv = [{ bucket = \"WORD_COUNT\", keys = [\"totals\"], access = \"read-write\" }]\n";
    fs::write(folder.join("plugin.toml"), manifest).unwrap();
    host.wait_plugin("word-count", 1).await;
    nats.work_as("count", "work.data.wordcount", "one two")
        .await;
    nats.result_of("count").await;

    // Two files without a folder.
    fs::write(host.plugins().join("probe.wasm"), component("probe")).unwrap();
    let manifest = Plugin::new("probe").instances(2).manifest();
    fs::write(host.plugins().join("probe.toml"), manifest).unwrap();
    host.wait_plugin("probe", 2).await;
    assert_eq!(
        nats.tell("probe-002", json!({"do": "echo", "value": 1}))
            .await,
        1
    );
    nats.audited("plugin", |entry| {
        entry["plugin"] == "probe" && entry["change"] == "loaded"
    })
    .await;
}

#[tokio::test]
async fn a_component_without_a_manifest_is_listed_and_given_one_to_start_from() {
    let nats = Nats::start().await;
    let mut host = Host::new(&nats).with(Plugin::shipped("echo")).run().await;
    fs::write(host.plugins().join("probe.wasm"), component("probe")).unwrap();
    let line = host
        .logs
        .first("it is listed", |line| line.field("plugin") == "probe")
        .await;
    assert_eq!(line.level(), "WARN");
    let text = line.message();
    for part in [
        "no manifest",
        "no grants",
        "not run",
        "[plugin]",
        "name = \"probe\"",
        "[permissions]",
        "publish",
        "kv",
    ] {
        assert!(text.contains(part), "{part:?} is not in: {text}");
    }
    assert!(
        nats.keys("AGENT_CLAIMS")
            .await
            .iter()
            .all(|key| !key.starts_with("probe"))
    );

    // What it prints is a manifest that works.
    let manifest = text
        .split_once("[plugin]")
        .map(|(_, rest)| format!("[plugin]{rest}"))
        .unwrap();
    fs::write(host.plugins().join("probe.toml"), manifest).unwrap();
    host.wait_plugin("probe", 1).await;
    let (kind, _) = nats
        .refused("probe-001", json!({"do": "publish", "subject": "x"}))
        .await;
    assert_eq!(kind, "denied", "it grants nothing that nobody asked for");
}

#[tokio::test]
async fn what_was_compiled_once_is_kept_and_not_trusted_blindly() {
    let nats = Nats::start().await;
    let host = Host::new(&nats).plugin("probe", |p| p);
    let compiled = host.folder().join(".mistersmith/compiled");
    fs::remove_file(&compiled).unwrap();
    let mut host = host.run().await;
    let files = || {
        let mut found = Vec::new();
        let mut folders = vec![compiled.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
                if entry.path().is_dir() {
                    folders.push(entry.path())
                } else {
                    found.push(entry.path())
                }
            }
        }
        found
    };
    let kept = until("the compiled code is kept", async || {
        let files: Vec<_> = files()
            .into_iter()
            .filter(|file| fs::metadata(file).is_ok_and(|m| m.len() > 10_000))
            .collect();
        (!files.is_empty()).then_some(files)
    })
    .await;
    host.stop().await;
    for file in &kept {
        let half = fs::read(file).unwrap();
        fs::write(file, &half[..half.len() / 2]).unwrap();
    }
    host.start();
    host.wait_ready().await;
    assert_eq!(
        nats.tell("probe-001", json!({"do": "echo", "value": 1}))
            .await,
        1
    );
}
