//! The server that a host starts for itself.

use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use harness::{Host, Running, is_alive, signal, until};

fn server_pid(host: &Running) -> u32 {
    let server = host.own_server().expect("the host has a server");
    u32::try_from(server["pid"].as_u64().unwrap()).unwrap()
}

/// The process that ends the server when the host is gone.
fn guard_pid(host: &Running) -> u32 {
    let server = server_pid(host).to_string();
    let processes = std::fs::read_dir("/proc").unwrap();
    let mut pids = processes.filter_map(|entry| {
        let pid: u32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
        let is_guard = words.contains(&b"mistersmith-guard".as_slice());
        (is_guard && words.contains(&server.as_bytes())).then_some(pid)
    });
    pids.next().expect("the server has a guard")
}

async fn dies(pid: u32) {
    until("the server is gone", async || {
        (!is_alive(pid)).then_some(())
    })
    .await;
}

fn alone() -> Host {
    Host::alone().plugin("probe", |p| p.work("lab", "*").subscribe("lab.ask"))
}

/// What `agents` shows when the one agent has told how it is, which takes a second at most.
async fn agents(host: &Running) -> Value {
    until("the agent is shown", async || {
        let shown = host.cli(&["agents", "--json"]).await.ok().json();
        shown["agents"][0].is_object().then_some(shown)
    })
    .await
}

/// The host works, as the other commands see it.
async fn answers(host: &Running) {
    let ran = host
        .cli(&["request", "lab.ask", r#"{"do": "echo", "value": 7}"#])
        .await
        .ok();
    assert_eq!(ran.stdout.trim_end(), "7");
}

#[tokio::test]
async fn a_host_without_a_server_starts_one_and_takes_it_along() {
    let mut host = alone().run().await;
    answers(&host).await;
    let file = host.data().join("nats.json");
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "only for the owner");
    let server = host.own_server().unwrap();
    let url = server["url"].as_str().unwrap().to_owned();
    assert!(url.contains("127.0.0.1"), "{url}");
    let password = server["password"].as_str().unwrap();
    assert!(password.len() > 20);
    assert!(!host.logs.tail(usize::MAX).contains(password));
    // Nobody else is let in.
    let stranger = host.cli(&["agents", "--nats", &url]).await;
    assert_eq!(stranger.code, Some(1), "{stranger:#?}");
    assert!(
        stranger.stderr.contains("refuses the credentials"),
        "{stranger:#?}"
    );
    let agents = agents(&host).await;
    assert_eq!(agents["agents"][0]["agent_id"], "probe-001", "{agents}");

    let pid = server_pid(&host);
    let (code, _) = host.stop().await;
    assert_eq!(code, Some(0));
    assert!(!is_alive(pid), "it ended before the host");
    assert!(!file.exists());
    let nobody = host.cli(&["agents"]).await;
    assert_eq!(nobody.code, Some(1), "{nobody:#?}");
    assert!(nobody.stderr.contains("mistersmith run"), "{nobody:#?}");

    // What was stored is there again.
    host.start();
    host.wait_ready().await;
    answers(&host).await;
    assert_ne!(server_pid(&host), pid);
}

#[tokio::test]
async fn the_server_does_not_outlive_a_host_that_is_killed() {
    let mut host = alone().run().await;
    let item = ["publish", "work.other.x", "kept"];
    host.cli(&item).await.ok();
    let pid = server_pid(&host);
    host.kill();
    dies(pid).await;
    host.start();
    host.wait_ready().await;
    answers(&host).await;
    let agents = agents(&host).await;
    assert!(
        agents["unclaimed_work"]
            .to_string()
            .contains("work.other.x"),
        "{agents}"
    );
    assert_eq!(
        agents["agents"].as_array().map(Vec::len),
        Some(1),
        "{agents}"
    );
    let (code, _) = host.stop().await;
    assert_eq!(code, Some(0));
}

#[tokio::test]
async fn a_server_that_was_left_behind_is_ended_before_the_next_begins() {
    let mut host = alone().run().await;
    host.cli(&["publish", "work.other.x", "kept"]).await.ok();
    let orphan = server_pid(&host);
    // So that nobody tells it to end.
    signal(guard_pid(&host), "KILL");
    host.kill();
    assert!(is_alive(orphan));
    host.start();
    host.logs.saying("an earlier run left behind").await;
    host.wait_ready().await;
    assert!(!is_alive(orphan));
    assert_ne!(server_pid(&host), orphan);
    answers(&host).await;
    let agents = agents(&host).await;
    assert!(
        agents["unclaimed_work"]
            .to_string()
            .contains("work.other.x"),
        "{agents}"
    );
}

#[tokio::test]
async fn a_host_whose_server_dies_says_so_and_ends() {
    let mut host = alone().line("grace = \"1s\"").run().await;
    signal(server_pid(&host), "KILL");
    assert_eq!(host.ended().await, Some(1));
    let error = host.logs.saying("error: nats-server").await.message();
    assert!(error.contains("nats-server.log"), "{error}");
}
