//! What `agents`, `check`, `publish` and `request` show, and how they end.

use serde_json::json;

use harness::{Host, Nats, Plugin, component, header};

#[tokio::test]
async fn agents_of_all_hosts_are_shown_and_the_work_nobody_takes() {
    let nats = Nats::start().await;
    let empty = Host::new(&nats).written();
    let none = empty.cli(&["agents"]).await.ok();
    assert!(none.stdout.contains("no agents"), "{none:#?}");
    let start = |name: &str| {
        Host::new(&nats)
            .named(name)
            .plugin("probe", |p| p.instances(2).work("lab", "*"))
    };
    let first = start("h1").run().await;
    let _second = start("h2").run().await;
    for number in 1..=4 {
        nats.state_is(&format!("probe-00{number}"), "ready").await;
    }
    nats.work("work.nobody.high.x", "{}").await;
    nats.work("work.nobody.high.x", "{}").await;

    let shown = first.cli(&["agents", "--json"]).await.ok().json();
    let agents = shown["agents"].as_array().unwrap();
    let ids: Vec<&str> = agents
        .iter()
        .map(|agent| agent["agent_id"].as_str().unwrap())
        .collect();
    assert_eq!(ids, ["probe-001", "probe-002", "probe-003", "probe-004"]);
    for agent in agents {
        assert_eq!(agent["status"], "ready", "{agent}");
        assert!(
            agent["current_load"]
                .as_f64()
                .is_some_and(|load| (0.0..=1.0).contains(&load)),
            "{agent}"
        );
        assert!(
            agent["last_heartbeat"].as_str().unwrap().ends_with('Z'),
            "{agent}"
        );
        assert!(
            ["h1", "h2"].contains(&agent["metadata"]["host"].as_str().unwrap()),
            "{agent}"
        );
    }
    assert_eq!(
        shown["unclaimed_work"],
        json!([{"subject": "work.nobody.high.x", "messages": 2}])
    );
    assert_eq!(shown["server"]["connected"], true, "{shown}");

    let table = empty.cli(&["agents"]).await.ok().stdout;
    for word in [
        "probe-001",
        "probe-004",
        "h1",
        "h2",
        "round trip",
        "JetStream",
        "reconnects",
        "work.nobody.high.x",
    ] {
        assert!(table.contains(word), "no {word:?} in\n{table}");
    }
}

#[tokio::test]
async fn check_needs_no_server_and_tells_all_there_is() {
    let host = Host::alone()
        .with(Plugin::shipped("echo"))
        .plugin("probe", |p| {
            p.work("lab", "*")
                .grant_publish("out.>")
                .deny("out.secret")
                .grant_kv("NOTES", "mine.>", "read")
                .limit("memory = \"8MiB\"")
        })
        .written();
    // A component alone has no grants.
    std::fs::write(host.plugins().join("bare.wasm"), component("echo")).unwrap();
    let text = host.cli(&["check"]).await.ok().stdout;
    for word in [
        "echo 0.1.0",
        "tools.echo",
        "probe 0.1.0",
        "work.lab.*",
        "out.>",
        "out.secret",
        "NOTES",
        "8 MiB",
        "mistersmith:agent@0.1.0",
        "messaging",
        "bare.toml",
        "2 plugins",
        "0 mistakes",
    ] {
        assert!(
            text.contains(word) || text.replace("MiB", " MiB").contains(word),
            "no {word:?} in\n{text}"
        );
    }
    let all = host.cli(&["check", "--json"]).await.ok().json();
    let plugins = all["plugins"].as_array().unwrap();
    assert_eq!(plugins.len(), 2, "{all}");
    for plugin in plugins {
        let imports = plugin["imports"].as_array().unwrap();
        assert!(
            imports
                .iter()
                .any(|import| import == "mistersmith:agent/log@0.1.0"
                    || import == "mistersmith:agent/types@0.1.0"),
            "{plugin}"
        );
    }
    assert_eq!(all["without_manifest"].as_array().map(Vec::len), Some(1));
    assert!(
        all["without_manifest"][0]["suggestion"]
            .as_str()
            .unwrap()
            .contains("[plugin]")
    );
    assert_eq!(all["mistakes"], json!([]));
    let one = host.cli(&["check", "echo"]).await.ok().stdout;
    assert!(
        one.contains("echo 0.1.0") && !one.contains("probe 0.1.0"),
        "{one}"
    );
    let unknown = host.cli(&["check", "ecko"]).await;
    assert_eq!(unknown.code, Some(64), "{unknown:#?}");
    assert!(unknown.stderr.contains("ecko"));
}

#[tokio::test]
async fn publish_and_request_end_as_what_they_sent_fared() {
    let nats = Nats::start().await;
    let ear = nats.listen("free.>").await;
    let host = Host::new(&nats)
        .plugin("probe", |p| p.work("lab", "*").subscribe("lab.ask"))
        .run()
        .await;
    host.cli(&[
        "publish",
        "free.one",
        "text",
        "-H",
        "X-Mine: 1",
        "-H",
        "Content-Type: text/plain",
    ])
    .await
    .ok();
    let heard = ear.on_subject("free.one").await;
    assert_eq!(&*heard.payload, b"text");
    let told = heard.headers.unwrap();
    assert_eq!(header(&told, "X-Mine"), "1");
    host.cli(&["publish", "free.empty"]).await.ok();
    ear.on_subject("free.empty").await;
    // Nobody stores a free subject.
    let unstored = host.cli(&["publish", "free.one", "x", "--stored"]).await;
    assert_eq!(unstored.code, Some(1), "{unstored:#?}");

    let asked = host
        .cli(&[
            "request",
            "lab.ask",
            r#"{"do": "echo", "value": [1, 2]}"#,
            "--headers",
        ])
        .await
        .ok();
    assert!(asked.stdout.contains("X-Agent-ID: probe-001"), "{asked:#?}");
    assert!(asked.stdout.trim_end().ends_with("[1,2]"), "{asked:#?}");
    let failed = host
        .cli(&[
            "request",
            "lab.ask",
            r#"{"do": "fail_other", "message": "no idea"}"#,
        ])
        .await;
    assert_eq!(failed.code, Some(1), "{failed:#?}");
    assert!(
        failed.stderr.contains("no idea") && failed.stderr.contains("code 500"),
        "{failed:#?}"
    );
    let nobody = host.cli(&["request", "free.nobody"]).await;
    assert_eq!(nobody.code, Some(1), "{nobody:#?}");
    let dead = host
        .cli(&[
            "request",
            "agent.probe-077.cmd.status",
            "--timeout",
            "300ms",
        ])
        .await;
    assert_eq!(dead.code, Some(1), "{dead:#?}");
    assert!(dead.stderr.contains("mistersmith agents"), "{dead:#?}");
    for wrong in [
        &["request"][..],
        &["publish"],
        &["request", "a", "--timeout", "soon"],
        &["frobnicate"],
        &["run", "--frob"],
    ] {
        assert_eq!(host.cli(wrong).await.code, Some(64), "{wrong:?}");
    }
    assert!(
        host.cli(&["--version"])
            .await
            .ok()
            .stdout
            .contains("mistersmith 0.")
    );
}
