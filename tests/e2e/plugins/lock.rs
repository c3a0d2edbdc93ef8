//! `mistersmith.lock`: a host runs the plugins that are pinned, and no others.

use std::fs;

use serde_json::json;

use harness::{Host, Nats, Plugin, component, rebuilt};

fn probe(version: &str) -> Plugin {
    Plugin::new("probe")
        .version(version)
        .subscribe("tools.probe")
}

#[tokio::test]
async fn what_is_not_pinned_is_held_and_the_pinned_version_goes_on() {
    let nats = Nats::start().await;
    let mut host = Host::new(&nats).with(probe("0.1.0")).run().await;
    let version = async || {
        let context = nats.tell("probe-001", json!({"do": "context"})).await;
        context["version"].as_str().unwrap().to_owned()
    };
    host.cli(&["lock"]).await.ok();
    host.logs.saying("lock read").await;
    host.cli(&["lock", "--check"]).await.ok();

    // Another manifest and another component: held, with what to do, until it is pinned.
    host.drop_in(&probe("0.2.0").component(rebuilt(&component("probe"), "0.2.0")));
    let held = host.logs.saying("plugin not loaded").await;
    assert_eq!(held.level(), "ERROR");
    for part in [
        "the version that runs goes on",
        "its component and manifest are not what mistersmith.lock pins",
        "run: mistersmith lock probe",
    ] {
        assert!(
            held.message().contains(part),
            "{part:?}: {}",
            held.message()
        );
    }
    assert_eq!(version().await, "0.1.0");
    let ran = host.cli(&["lock", "--check", "--json"]).await;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let files = json!(["component", "manifest"]);
    assert_eq!(
        ran.json(),
        json!([{"name": "probe", "state": "differs", "files": files}])
    );
    assert!(ran.stderr.contains("run: mistersmith lock"), "{ran:?}");

    // A plugin that is not in the lock.
    host.drop_in(&Plugin::shipped("echo"));
    let echo = host
        .logs
        .first("echo is held", |line| line.field("plugin") == "echo")
        .await;
    let text = echo.message();
    assert!(
        text.contains("it is not pinned in mistersmith.lock"),
        "{text}"
    );

    // One is pinned, and the other stays held.
    host.cli(&["lock", "probe"]).await.ok();
    host.logs.saying("plugin replaced").await;
    assert_eq!(version().await, "0.2.0");
    let ran = host.cli(&["lock", "--check", "probe"]).await.ok();
    assert!(ran.stdout.contains("as pinned"), "{ran:?}");
    assert_eq!(host.cli(&["lock", "--check"]).await.code, Some(1));

    // Also after a start; without the lock nothing is held.
    assert_eq!(host.stop().await.0, Some(0));
    host.start();
    host.wait_plugin("probe", 1).await;
    host.logs
        .first("echo is held again", |line| line.field("plugin") == "echo")
        .await;
    fs::remove_file(host.folder().join("mistersmith.lock")).unwrap();
    host.wait_plugin("echo", 2).await;
    assert_eq!(host.stop().await.0, Some(0));
}

#[tokio::test]
async fn a_lock_that_cannot_be_read_holds_everything_with_one_error() {
    let nats = Nats::start().await;
    let mut host = Host::new(&nats).with(probe("0.1.0")).run().await;
    let lock = host.folder().join("mistersmith.lock");
    fs::write(&lock, "version = 1\nplugins = 7\n").unwrap();
    let error = host.logs.saying("lock not read").await;
    let text = error.message();
    assert!(
        text.contains("mistersmith.lock:2: plugins: 7 is not a table"),
        "{text}"
    );
    host.drop_in(&Plugin::shipped("echo"));
    host.drop_in(&probe("0.2.0"));
    let ran = host.cli(&["lock", "--check"]).await;
    assert_eq!(ran.code, Some(64), "{ran:?}");
    assert!(ran.stderr.contains("mistersmith.lock:2"), "{ran:?}");

    // Pinned one by one it would lose pins that nobody can read; as a whole it is written again.
    assert_eq!(host.cli(&["lock", "echo"]).await.code, Some(64));
    host.cli(&["lock"]).await.ok();
    host.wait_plugin("echo", 2).await;
    host.logs.saying("plugin replaced").await;
    let errors = host.logs.find(|line| line.level() == "ERROR");
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert_eq!(host.stop().await.0, Some(0));
}

#[tokio::test]
async fn what_cannot_be_loaded_is_not_pinned() {
    let nats = Nats::start().await;
    let broken = Plugin::new("probe")
        .limit("memory = \"a lot\"")
        .not_awaited();
    let host = Host::new(&nats)
        .with(broken)
        .with(Plugin::shipped("echo"))
        .written();
    let lock = host.folder().join("mistersmith.lock");
    for (arguments, code, said) in [
        (&["lock", "--check"][..], 64, "limits.memory"),
        (&["lock"], 64, "limits.memory"),
        (&["lock", "nobody"], 64, "no plugin `nobody`"),
        (&["lock", "--check", "echo"], 1, "run: mistersmith lock"),
    ] {
        let ran = host.cli(arguments).await;
        assert_eq!(ran.code, Some(code), "{ran:?}");
        assert!(ran.stderr.contains(said), "{ran:?}");
        assert!(!lock.exists(), "{arguments:?}");
    }
    host.cli(&["lock", "echo"]).await.ok();
    let text = fs::read_to_string(&lock).unwrap();
    assert!(
        text.contains("[plugins.echo]") && !text.contains("probe"),
        "{text}"
    );
}
