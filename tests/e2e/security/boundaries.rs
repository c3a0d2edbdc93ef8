//! What lies around the roles: the audit trail, accounts, encryption.

use serde_json::json;

use super::{
    PASSWORD, accounts, configuration, host, may_not_publish, operate, server, with_examples,
};
use crate::docs::markdown::page;
use crate::transport::tls::certificates;
use harness::{Ear, Host, Plugin};

#[tokio::test]
async fn the_audit_trail_is_written_by_hosts_and_operators_alone() {
    let nats = server().await;
    let host = with_examples(host(&nats, "kitchen")).run().await;
    let screen = nats.as_user("screen", PASSWORD, "_INBOX.observer").await;
    let trail = Ear::unconfirmed(&screen.client, "audit.>").await;
    screen.request_json("$JS.API.INFO", "").await;
    for user in ["shop", "desk", "screen"] {
        let forger = nats
            .as_user(user, PASSWORD, &format!("_INBOX.{}", role(user)))
            .await;
        may_not_publish(&nats, &forger, user, "audit.command").await;
    }
    operate(&nats, &host, &["request", "agent.echo-001.cmd.pause"])
        .await
        .ok();
    operate(&nats, &host, &["dlq", "purge", "--yes"]).await.ok();
    trail.on_subject("audit.command").await;
    trail.on_subject("audit.forced").await;
    let commands = nats.stored("AUDIT", "audit.command").await;
    assert_eq!(commands.len(), 1, "what was forged is not there");
    let command = commands[0].json();
    assert_eq!(command["agent_id"], "echo-001", "{command}");
    assert_eq!(command["command"], "pause", "{command}");
}

/// The part of a user's inboxes that stands for its role.
fn role(user: &str) -> &'static str {
    match user {
        "shop" => "publisher",
        "desk" => "worker",
        _ => "observer",
    }
}

#[tokio::test]
async fn two_accounts_do_not_know_of_each_other() {
    let nats = server().await;
    let garden = nats.as_user("garden-test", PASSWORD, "_INBOX").await;
    let plugin = Plugin::new("probe")
        .work("lab", "*")
        .subscribe("tools.which");
    let kitchen_host = host(&nats, "kitchen").with(plugin.clone()).run().await;
    // Who asks in the kitchen does not see the garden's agents.
    let garden_host = host(&nats, "garden").with(plugin.not_awaited()).start();
    garden.agents_ready("probe", "garden", 1).await;

    // The same id in both, and each operator sees one.
    for (client, name) in [(&*nats, "kitchen"), (&garden, "garden")] {
        let answers = client.ask_all("agent.all.cmd.status", "", 1).await;
        assert_eq!(answers[0]["agent_id"], "probe-001");
        assert_eq!(answers[0]["host"], name);
        client.state_is("probe-001", "ready").await;
    }
    // Work of one is not the other's.
    let context = json!({"do": "context"}).to_string();
    garden.work_as("g", "work.lab.high.one", context).await;
    garden.result_of("g").await;
    assert!(nats.results_of("g").await.is_empty());
    assert_eq!(nats.stream_info("WORK_QUEUE").await.state.last_sequence, 0);
    // The end of one is not the other's.
    garden.publish("broadcast.emergency.shutdown", "").await;
    let mut garden_host = garden_host;
    assert_eq!(garden_host.ended().await, Some(0));
    let answers = nats.ask_all("agent.all.cmd.status", "", 1).await;
    assert_eq!(answers[0]["host"], "kitchen");
    drop(kitchen_host);
}

#[tokio::test]
async fn the_page_s_tls_lets_in_who_has_a_certificate() {
    let folder = tempfile::tempdir().unwrap();
    certificates(folder.path());
    let file = |name: &str| folder.path().join(name);
    let tls = configuration("docs/security.md", "tls.conf");
    let tls = tls.replace("/etc/nats", &folder.path().display().to_string());
    let nats = accounts()
        .line(&tls)
        .trusting(&file("ca.pem"))
        .identified_by(&file("host.pem"), &file("host.key"))
        .start()
        .await;
    let blocks = page("docs/security.md").blocks();
    let block = blocks
        .into_iter()
        .find(|block| block.info == "toml host tls");
    let section = block.expect("the host's side is shown").text;
    let section = section
        .trim_start_matches("[nats]")
        .replace(
            "nats-1.example.org:4222",
            &format!("127.0.0.1:{}", nats.port()),
        )
        .replace("from a file that only the host can read", PASSWORD);
    let files = |host: Host, certificate: &str| {
        let read = |name: &str| std::fs::read(file(name)).unwrap();
        host.file("ca.pem", read("ca.pem"))
            .file("host.pem", read(&format!("{certificate}.pem")))
            .file("host-key.pem", read(&format!("{certificate}.key")))
    };
    let host = files(Host::new(&nats).nats(&section), "host");
    let _running = host.with(Plugin::shipped("echo")).run().await;
    let answer = nats.request("tools.echo", "sealed").await;
    assert_eq!(&*answer.payload, b"sealed");

    // A certificate of somebody else's, and none.
    let stranger = files(Host::new(&nats).nats(&section), "other").written();
    let ran = stranger.cli(&["agents"]).await;
    assert_eq!(ran.code, Some(1), "{ran:#?}");
    let bare = section.replace(", cert = \"host.pem\", key = \"host-key.pem\"", "");
    assert_ne!(bare, section);
    let ran = files(Host::new(&nats).nats(&bare), "host")
        .written()
        .cli(&["agents"])
        .await;
    assert_eq!(ran.code, Some(1), "{ran:#?}");
}
