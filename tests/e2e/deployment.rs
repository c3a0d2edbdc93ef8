//! The page of deployments: three servers from its own configuration, and two hosts from theirs.

mod leaf;

use std::path::Path;
use std::process::Command;

use crate::docs::markdown::page;
use crate::security::{PASSWORD, configuration, with_passwords};
use crate::transport::tls::certificates;
use harness::{Cluster, Host, Nats, NatsOptions, Plugin, headers, until, until_in};

const PAGE: &str = "docs/deployment.md";

/// How long a cluster may take to choose leaders anew.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(90);

/// The page's configuration for this machine: its ports, its folders, its certificates.
fn node(name: &str, port: u16, routes: &[u16], folder: &Path, etc: &Path) -> String {
    let mut text = configuration(PAGE, "nats.conf");
    let mut put = |there: &str, here: &str| {
        assert!(text.contains(there), "the page has {there}");
        text = text.replace(there, here);
    };
    put("$NATS_NAME", name);
    // The tests choose a free port.
    put("listen: \"0.0.0.0:4222\"\n", "");
    put("/var/lib/nats", &folder.join("store").display().to_string());
    put("0.0.0.0:6222", &format!("127.0.0.1:{port}"));
    for (number, route) in routes.iter().enumerate() {
        let there = format!("nats-{}.example.org:6222", number + 1);
        put(&there, &format!("127.0.0.1:{route}"));
    }
    put("include \"accounts.conf\"", &with_passwords());
    put(
        "include \"tls.conf\"",
        &configuration("docs/security.md", "tls.conf"),
    );
    put("/etc/nats", &etc.display().to_string());
    text
}

async fn cluster(etc: &Path) -> Cluster {
    let file = |name: &str| etc.join(name);
    let test = NatsOptions::default()
        .with_user("kitchen-test", PASSWORD)
        .trusting(&file("ca.pem"))
        .identified_by(&file("host.pem"), &file("host.key"));
    let etc = etc.to_owned();
    Cluster::configured(
        move |name, port, routes, folder| node(name, port, routes, folder, &etc),
        &test,
    )
    .await
}

/// The page's host, on these servers.
fn host(nats: &Cluster, name: &str, etc: &Path) -> Host {
    let blocks = page(PAGE).blocks();
    let block = blocks
        .into_iter()
        .find(|block| block.info == "toml host kitchen-1");
    let text = block.expect("the page has a host").text;
    let (_, section) = text.split_once("[nats]\n").expect("its servers");
    let mut section = section.replace("from a file that only the host can read", PASSWORD);
    for (number, url) in nats.urls().iter().enumerate() {
        let there = format!("nats-{}.example.org:4222", number + 1);
        assert!(section.contains(&there), "the host knows {there}");
        section = section.replace(&there, url.trim_start_matches("nats://"));
    }
    let read = |name: &str| std::fs::read(etc.join(name)).unwrap();
    Host::clustered(nats)
        .named(name)
        .nats(&section)
        .file("ca.pem", read("ca.pem"))
        .file("host.pem", read("host.pem"))
        .file("host-key.pem", read("host.key"))
}

#[tokio::test]
async fn three_servers_and_two_hosts_lose_nothing() {
    let folder = tempfile::tempdir().unwrap();
    certificates(folder.path());
    let mut nats = cluster(folder.path()).await;
    let plugin = || Plugin::shipped("sentiment").instances(4);
    let first = host(&nats, "kitchen-1", folder.path()).with(plugin()).run();
    let mut first = first.await;
    let second = host(&nats, "kitchen-2", folder.path()).with(plugin()).run();
    let second = second.await;
    for stream in ["WORK_QUEUE", "RESULTS", "DLQ", "KV_AGENT_STATE"] {
        let info = nats.stream_info(stream).await;
        assert_eq!(info.config.num_replicas, 3, "{stream}");
    }
    let mut hosts = std::collections::BTreeSet::new();
    for id in 1..=8 {
        let state = nats.state_is(&format!("sentiment-00{id}"), "ready").await;
        hosts.insert(state["metadata"]["host"].to_string());
    }
    assert_eq!(hosts.len(), 2, "four agents on each: {hosts:?}");

    work_is_done(&nats, "all").await;
    // A server ends: whatever leaders it had are chosen anew.
    nats.kill("n3");
    work_is_done(&nats, "two").await;
    // A host drains: the other goes on.
    assert_eq!(first.stop().await.0, Some(0));
    work_is_done(&nats, "one-host").await;
    drop(second);
}

/// Publishes work as the page tells publishers to, and waits for every result.
async fn work_is_done(nats: &Cluster, run: &str) {
    for number in 0..20 {
        let request = format!("{run}-{number}");
        until_in(PATIENCE, &format!("{request} is stored"), async || {
            let ids = headers(&[("X-Request-ID", &request), ("Nats-Msg-Id", &request)]);
            let subject = "work.nlp.normal.sentiment";
            let sent = nats.js.publish_with_headers(subject, ids, "fine".into());
            sent.await.ok()?.await.ok()
        })
        .await;
    }
    for number in 0..20 {
        let request = format!("{run}-{number}");
        until_in(PATIENCE, &format!("{request} has a result"), async || {
            let stream = nats.js.get_stream("RESULTS").await.ok()?;
            let subject = format!("agent.*.resp.{request}");
            stream
                .get_first_raw_message_by_subject(&subject, 1)
                .await
                .ok()
        })
        .await;
    }
}

#[tokio::test]
async fn a_copy_of_the_store_of_a_server_that_does_not_run_is_a_backup() {
    let mut nats = Nats::start().await;
    let _host = Host::new(&nats)
        .plugin("probe", |p| p.work("lab", "*"))
        .run()
        .await;
    nats.request_json("agent.probe-001.cmd.pause", "").await;
    nats.work("work.lab.high.one", "kept").await;
    nats.kill();
    let (store, copy) = (nats.store(), nats.store().with_extension("copy"));
    let moved = Command::new("cp").arg("-a").arg(&store).arg(&copy).status();
    assert!(moved.unwrap().success());
    std::fs::remove_dir_all(&store).unwrap();
    std::fs::rename(&copy, &store).unwrap();
    nats.start_again().await;
    until("what was stored is there again", async || {
        let stream = nats.js.get_stream("WORK_QUEUE").await.ok()?;
        let item = stream
            .get_first_raw_message_by_subject("work.lab.>", 1)
            .await
            .ok()?;
        (&*item.payload == b"kept").then_some(())
    })
    .await;
}
