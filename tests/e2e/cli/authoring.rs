//! From `new` to an answer. This is the slow one: it calls cargo, which compiles the SDK.

use std::time::Duration;

use harness::{Host, Nats, repository, until_in};

/// Compiles with the folder of this test run, so that what it has compiled already is used.
fn shared() -> String {
    harness::target().display().to_string()
}

#[tokio::test]
async fn a_new_plugin_compiles_passes_its_test_and_runs() {
    const COMPILING: Duration = Duration::from_secs(600);
    let nats = Nats::start().await;
    let mut host = Host::new(&nats)
        .variable("CARGO_TARGET_DIR", &shared())
        .written();
    let made = host.cli(&["new", "my-agent"]).await.ok();
    for word in [
        "src/lib.rs",
        "cargo test",
        "mistersmith build my-agent",
        "mistersmith run",
        "tools.my-agent",
    ] {
        assert!(made.stdout.contains(word), "no {word:?} in {made:#?}");
    }
    let again = host.cli(&["new", "my-agent"]).await;
    assert_eq!(again.code, Some(64), "{again:#?}");
    let unbuilt = host.cli(&["check"]).await;
    assert!((unbuilt.stdout + &unbuilt.stderr).contains("mistersmith build"));

    let folder = host.plugins().join("my-agent");
    // An author gets the newest libraries; a test must not depend on what was published today.
    let lock = repository("plugins/Cargo.lock");
    std::fs::copy(lock, folder.join("Cargo.lock")).unwrap();
    let test = tokio::process::Command::new("cargo")
        .args(["test", "--quiet"])
        .current_dir(&folder)
        .env("CARGO_TARGET_DIR", shared())
        .kill_on_drop(true)
        .output();
    let test = tokio::time::timeout(COMPILING, test)
        .await
        .expect("cargo ends")
        .unwrap();
    assert!(
        test.status.success(),
        "{}",
        String::from_utf8_lossy(&test.stderr)
    );
    assert!(String::from_utf8_lossy(&test.stdout).contains("test result: ok"));

    let built = host.cli(&["build", "my-agent"]).await.ok();
    assert!(
        built.stdout.contains("my-agent") && built.stdout.contains("my-agent.wasm"),
        "{built:#?}"
    );
    host.cli(&["check", "my-agent"]).await.ok();
    host.start();
    host.wait_ready().await;
    nats.agents_ready("my-agent", "h1", 2).await;
    let asked = host
        .cli(&["request", "tools.my-agent", "how many words are these"])
        .await
        .ok();
    assert!(asked.stdout.contains('5'), "{asked:#?}");

    // A mistake in the source: its own error, and what runs goes on.
    let source = folder.join("src/lib.rs");
    let good = std::fs::read_to_string(&source).unwrap();
    std::fs::write(&source, good.clone() + "\nfn broken( {\n").unwrap();
    let failed = host.cli(&["build", "my-agent"]).await;
    assert_eq!(failed.code, Some(1), "{failed:#?}");
    assert!(failed.stderr.contains("src/lib.rs"), "{failed:#?}");
    std::fs::write(&source, good).unwrap();
    host.cli(&["request", "tools.my-agent", "still there"])
        .await
        .ok();
    // A changed one replaces it while it runs.
    let manifest = folder.join("plugin.toml");
    let text = std::fs::read_to_string(&manifest).unwrap();
    std::fs::write(
        &manifest,
        text.replace("version = \"0.1.0\"", "version = \"0.2.0\""),
    )
    .unwrap();
    until_in(
        Duration::from_secs(60),
        "the new version runs",
        async || {
            let status = nats.request_json("agent.my-agent-001.cmd.status", "").await;
            (status["version"] == "0.2.0").then_some(())
        },
    )
    .await;
}
