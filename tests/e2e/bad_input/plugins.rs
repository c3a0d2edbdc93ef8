//! Plugins that cannot run, in the folder of a host that runs.

use harness::{Host, Line, Nats, Plugin, Running, component, renamed_in};

/// The one error line that a host wrote about a plugin.
async fn error_about(host: &Running, plugin: &str) -> String {
    let about = |line: &Line| line.level() == "ERROR" && line.field("plugin") == plugin;
    host.logs
        .first(&format!("an error about {plugin}"), about)
        .await;
    let lines = host.logs.find(about);
    assert_eq!(lines.len(), 1, "said once: {lines:#?}");
    lines[0].message()
}

/// Work goes on as if nothing else were there.
async fn the_good_one_works(nats: &Nats, request: &str) {
    nats.work_as(request, "work.lab.high.x", r#"{"do": "echo", "value": 1}"#)
        .await;
    assert_eq!(nats.result_of(request).await.text(), "1");
}

fn broken() -> Vec<(Plugin, &'static [&'static str])> {
    let echo = component("echo");
    vec![
        (
            Plugin::bare("text").component("#!/bin/sh\necho no\n"),
            &["text/text.wasm", "not WebAssembly"],
        ),
        (
            Plugin::bare("empty").component(""),
            &["empty/empty.wasm", "not WebAssembly"],
        ),
        (
            // As `--target wasm32-unknown-unknown` makes them.
            Plugin::bare("core").component(*b"\0asm\x01\0\0\0"),
            &["core/core.wasm", "core module", "--target wasm32-wasip2"],
        ),
        (
            Plugin::bare("cut").component(&echo[..echo.len() / 2]),
            &["cut/cut.wasm"],
        ),
        (
            Plugin::bare("wants").component(renamed_in(
                &echo,
                "wasi:cli/stderr",
                "wasi:cli/secret",
            )),
            &[
                "wants/wants.wasm",
                "imports wasi:cli/secret",
                "does not offer",
            ],
        ),
        (
            Plugin::bare("mute").component(renamed_in(
                &echo,
                "mistersmith:agent/handler",
                "mistersmith:agent/handles",
            )),
            &[
                "mute/mute.wasm",
                "does not export mistersmith:agent/handler",
                "export_agent!",
            ],
        ),
        (
            Plugin::bare("absent"),
            &["absent/plugin.toml", "absent.wasm"],
        ),
    ]
}

#[tokio::test]
async fn a_component_that_cannot_run_is_named_and_the_others_go_on() {
    let nats = Nats::start().await;
    let mut host = Host::new(&nats).plugin("probe", |p| p.work("lab", "*"));
    for (plugin, _) in broken() {
        host = host.with(plugin.not_awaited());
    }
    let host = host.run().await;
    for (plugin, words) in broken() {
        let error = error_about(&host, &plugin.name).await;
        for word in words {
            assert!(
                error.contains(word),
                "{}: no {word:?} in: {error}",
                plugin.name
            );
        }
        let name = plugin.name.as_str();
        nats.audited("plugin", |entry| {
            entry["plugin"] == name && entry["change"] == "refused"
        })
        .await;
    }
    the_good_one_works(&nats, "beside").await;
    assert_eq!(
        nats.keys("AGENT_CLAIMS").await.len(),
        1 + 5,
        "one agent, its five durables"
    );

    // The same is said without a host, and in one run.
    let checked = host.cli(&["check", "--json"]).await;
    assert_eq!(checked.code, Some(64), "{checked:#?}");
    let mistakes = checked.json()["mistakes"].to_string();
    for (plugin, words) in broken() {
        for word in words {
            assert!(
                mistakes.contains(word),
                "{}: no {word:?} in: {mistakes}",
                plugin.name
            );
        }
    }

    // Put right, it runs; broken again, what runs goes on.
    host.drop_in(&Plugin::bare("text").component(component("echo")));
    nats.agents_ready("text", host.name(), 1).await;
    host.drop_in(&Plugin::bare("text").component("text again"));
    let error = host
        .logs
        .first("the broken version is refused", |line| {
            line.field("plugin") == "text"
                && line.message().contains("the version that runs goes on")
        })
        .await;
    assert!(error.message().contains("not WebAssembly"), "{error:?}");
    let answer = nats
        .request("agent.text-001.cmd.execute", "still here")
        .await;
    assert_eq!(&*answer.payload, b"still here");
}

#[tokio::test]
async fn a_manifest_tells_all_its_mistakes_at_once() {
    let nats = Nats::start().await;
    let manifest = r#"[plugin]
name = "echo"
version = "0.1.0"
instances = 0
instanses = 2

[[work]]
domain = "Not A Token"
task = "x"
max_deliver = "often"

[permissions]
publish = ["$JS.API.>", "good.subject"]

[limits]
memory = "32 apples"
timeout = 5
"#;
    let expected = [
        (4, "plugin.instances"),
        (5, "plugin.instanses"),
        (8, "work.domain"),
        (10, "work.max_deliver"),
        (13, "permissions.publish"),
        (16, "limits.memory"),
        (17, "limits.timeout"),
    ];
    let host = Host::new(&nats)
        .plugin("probe", |p| p.work("lab", "*"))
        .plugin("echo", |p| p.whole(manifest).not_awaited())
        .run()
        .await;
    let error = error_about(&host, "echo").await;
    for (line, key) in expected {
        let place = format!("echo/plugin.toml:{line}: {key}");
        assert!(error.contains(&place), "no {place} in:\n{error}");
    }
    assert!(
        error.contains("`instances`") || error.contains("\"instances\""),
        "a suggestion: {error}"
    );
    assert!(error.contains("$JS.API.>"), "{error}");
    assert!(!error.contains("good.subject"), "{error}");
    the_good_one_works(&nats, "beside").await;
    let checked = host.cli(&["check", "echo"]).await;
    assert_eq!(checked.code, Some(64));
    for (line, key) in expected {
        assert!(
            checked
                .stderr
                .contains(&format!("plugin.toml:{line}: {key}")),
            "{checked:#?}"
        );
    }
}

#[tokio::test]
async fn two_that_want_the_same_are_both_named() {
    let nats = Nats::start().await;
    let host = Host::new(&nats)
        .plugin("probe", |p| p.work("lab", "*"))
        .run()
        .await;
    // A second that wants a part of the first one's work.
    let thief = Plugin::bare("thief")
        .component(component("probe"))
        .work("lab", "sorting");
    host.drop_in(&thief);
    let error = error_about(&host, "thief").await;
    for word in ["thief/plugin.toml", "lab", "sorting", "probe"] {
        assert!(error.contains(word), "no {word:?} in: {error}");
    }
    assert!(
        nats.kv("AGENT_CLAIMS")
            .await
            .get("thief-001")
            .await
            .unwrap()
            .is_none()
    );

    // A second of the same name: neither is meant, and what runs goes on.
    let twin = host.plugins().join("probe.wasm");
    std::fs::write(&twin, component("echo")).unwrap();
    std::fs::write(
        host.plugins().join("probe.toml"),
        "[plugin]\nname = \"probe\"\nversion = \"9.0.0\"\n",
    )
    .unwrap();
    let error = host.logs.saying("two plugins are called").await;
    assert!(error.message().contains("probe.wasm"), "{error:?}");
    let checked = host.cli(&["check"]).await;
    assert_eq!(checked.code, Some(64), "{checked:#?}");
    assert!(checked.stderr.contains("probe"), "{checked:#?}");
    let status = nats.request_json("agent.probe-001.cmd.status", "").await;
    assert_eq!(status["version"], "0.1.0");
    nats.work_as("on", "work.lab.sorting", r#"{"do": "echo", "value": 2}"#)
        .await;
    nats.result_of("on").await;
    nats.work_is_done().await;

    // Without the first, the second may take the work.
    std::fs::remove_file(&twin).unwrap();
    std::fs::remove_file(host.plugins().join("probe.toml")).unwrap();
    host.take_out("probe");
    host.logs.saying("plugin removed").await;
    host.drop_in(&thief.version("0.1.1"));
    nats.agents_ready("thief", host.name(), 1).await;
    nats.work_as("taken", "work.lab.sorting", r#"{"do": "echo", "value": 3}"#)
        .await;
    let result = nats.result_of("taken").await;
    assert_eq!(result.subject, "agent.thief-001.resp.taken");
}
