//! Subscriptions that the server's permissions deny: the plugin is shown as deaf.

use harness::{Host, Nats, until};

#[tokio::test]
async fn a_denied_subscription_is_shown_with_its_plugin() {
    let users = "authorization { users: [
        { user: t, password: t },
        { user: h, password: h, permissions: { subscribe: { deny: [\"shut.>\"] } } },
    ] }";
    let nats = Nats::options()
        .line(users)
        .with_user("t", "t")
        .start()
        .await;
    let host = Host::new(&nats)
        .nats(&format!(
            "servers = [\"{}\"]\nuser = \"h\"\npassword = \"h\"",
            nats.url()
        ))
        .plugin("echo", |p| p.subscribe("tools.echo"))
        .plugin("probe", |p| p.subscribe_queue("shut.in", "q"))
        .run()
        .await;
    let line = host
        .logs
        .saying("the NATS server denies a subscription")
        .await;
    assert_eq!(
        (line.level(), line.field("subject")),
        ("WARN".into(), "shut.in".into())
    );
    assert_eq!(line.field("plugins"), "probe");
    until("the state says so", async || {
        let state = nats.state("probe-001").await?;
        (state["metadata"]["denied"] == serde_json::json!(["shut.in"])).then_some(())
    })
    .await;
    let health = nats.request_json("health.check.probe-001", "").await;
    assert_eq!(health["healthy"], false, "{health}");
    let detail = health["detail"].as_str().unwrap();
    assert!(
        detail.contains("denies the subscription to `shut.in`"),
        "{detail}"
    );
    let health = nats.request_json("health.check.echo-001", "").await;
    assert_eq!(health["healthy"], true, "{health}");
    let agents = host.cli(&["agents"]).await.ok().stdout;
    let (_, denied) = agents
        .split_once("subscriptions that the NATS server denies:")
        .unwrap();
    assert!(
        denied.contains("probe-001") && denied.contains("shut.in"),
        "{agents}"
    );
    assert!(!denied.contains("echo-001"), "{agents}");
}
