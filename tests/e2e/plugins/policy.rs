//! `[policy]`: what no manifest can exceed.

use serde_json::json;

use harness::{Host, Nats, Plugin};

const POLICY: &str = "[policy]\npublish = [\"results.{plugin}.>\"]\n\
    [policy.limits]\nmemory = \"40MiB\"\ninstances = 2\n";

fn probe(version: &str) -> Plugin {
    Plugin::new("probe")
        .version(version)
        .subscribe("tools.probe")
        .grant_publish("results.probe.a")
}

#[tokio::test]
async fn a_manifest_that_asks_for_too_much_is_refused_and_the_running_version_goes_on() {
    let nats = Nats::start().await;
    let mut host = Host::new(&nats)
        .config(POLICY)
        .with(probe("0.1.0"))
        .run()
        .await;

    let greedy = probe("0.2.0")
        .instances(3)
        .grant_publish("orders.>")
        .limit("memory = \"64MiB\"");
    host.drop_in(&greedy);
    let refused = host.logs.saying("plugin not loaded").await;
    let text = refused.message();
    assert!(text.contains("the version that runs goes on"), "{text}");
    for part in [
        "plugins/probe/plugin.toml:4: plugin.instances: 3 is more than 2,",
        "permissions.publish: \"orders.>\" is beyond [policy] publish in mistersmith.toml:",
        "which allows \"results.{plugin}.>\"",
        "limits.memory: \"64MiB\" is more than \"40MiB\"",
        "or raise the ceiling there",
    ] {
        assert!(text.contains(part), "{part:?} is not in: {text}");
    }
    nats.audited("plugin", |entry| entry["change"] == "refused")
        .await;
    let context = nats.tell("probe-001", json!({"do": "context"})).await;
    assert_eq!(context["version"], "0.1.0");

    // The command says the same, and needs no host.
    let ran = host.cli(&["check"]).await;
    assert_eq!(ran.code, Some(64), "{ran:?}");
    assert_eq!(
        ran.stderr.matches("mistersmith.toml:").count(),
        3,
        "{ran:?}"
    );

    host.drop_in(&probe("0.3.0").instances(2));
    host.logs.saying("plugin replaced").await;
    host.cli(&["check"]).await.ok();
    assert_eq!(host.stop().await.0, Some(0));
}
