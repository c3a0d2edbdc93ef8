//! Standard error and standard output with readers that go away, or stand still: neither hurts a
//! host, and no command panics.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use harness::{Host, Nats, Plugin, Running, until};

/// A host whose plugin logs as much as a test wants.
fn talkative(nats: &Nats) -> Running {
    Host::new(nats)
        .plugin("probe", |p| p.limit("log_rate = \"10000/s\""))
        .written()
}

/// Has the plugin log so many bytes.
async fn log(nats: &Nats, bytes: usize) {
    const LINE: usize = 8000;
    let line = json!({"do": "log", "level": "info", "message": "line ", "bytes": LINE});
    let lines = vec![line; 100];
    for _ in 0..bytes.div_ceil(100 * LINE) {
        nats.tell("probe-001", json!({"do": "sequence", "commands": lines}))
            .await;
    }
}

async fn answers(nats: &Nats) {
    let said = nats
        .tell("probe-001", json!({"do": "echo", "value": 7}))
        .await;
    assert_eq!(said, 7);
}

/// The revision of the host's lease: each renewal makes a new one.
async fn lease(nats: &Nats, host: &Running) -> u64 {
    let key = format!("host.{}", host.host_id());
    let held = nats.kv("AGENT_LEASES").await.entry(key).await.unwrap();
    held.expect("the host holds its lease").revision
}

async fn drains(nats: &Nats, mut host: Running) {
    let (code, took) = host.stop().await;
    assert_eq!(code, Some(0));
    assert!(took < Duration::from_secs(15), "{took:?}");
    let key = format!("host.{}", host.host_id());
    assert_eq!(nats.kv_json("AGENT_LEASES", &key).await, None);
    assert_eq!(nats.state("probe-001").await, None);
}

#[tokio::test]
async fn a_host_goes_on_when_the_reader_of_its_log_is_gone() {
    let nats = Nats::start().await;
    let mut host = talkative(&nats);
    let errors = host.start_unread();
    nats.agents_ready("probe", host.name(), 1).await;
    drop(errors);
    log(&nats, 200_000).await;
    // The host has something to say itself.
    host.drop_in(&Plugin::bare("broken").whole("[plugin"));
    nats.audited("plugin", |entry| entry["plugin"] == "broken")
        .await;
    host.drop_in(&Plugin::new("echo"));
    nats.agents_ready("echo", host.name(), 1).await;
    answers(&nats).await;
    assert_eq!(host.exited(), None);
    drains(&nats, host).await;
}

#[tokio::test]
async fn a_host_goes_on_when_the_reader_of_its_log_stands_still() {
    let nats = Nats::start().await;
    let mut host = talkative(&nats);
    let errors = host.start_unread();
    nats.agents_ready("probe", host.name(), 1).await;
    log(&nats, 16_000_000).await;
    let before = lease(&nats, &host).await;
    until("the lease is renewed", async || {
        answers(&nats).await;
        (lease(&nats, &host).await > before + 1).then_some(())
    })
    .await;

    // It is read again: the gap is named, and what comes behind it is all there.
    let (told, tells) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(errors).lines() {
            let Ok(line) = line else { return };
            let line: Value = serde_json::from_str(&line).expect("each line is whole");
            // The test may have seen what it wants.
            let _ = told.send(line);
        }
    });
    let (mut plain, mut dropped) = (0, 0);
    until("the gap is named", async || {
        for line in tells.try_iter() {
            dropped += line["dropped"].as_u64().unwrap_or_default();
            plain += u64::from(line["message"].as_str()?.starts_with("line "));
        }
        (dropped > 0).then_some(())
    })
    .await;
    assert!(plain > 500, "{plain} lines waited");
    assert!(
        plain + dropped >= 2000,
        "{plain} lines and {dropped} dropped"
    );
    let said = json!({"do": "log", "level": "warn", "message": "behind the gap"});
    nats.tell("probe-001", said).await;
    until("the log goes on", async || {
        let mut lines = tells.try_iter();
        lines.find(|line| line["message"] == "behind the gap")
    })
    .await;
    drains(&nats, host).await;
}

#[tokio::test]
async fn a_host_drains_although_nobody_reads_its_last_lines() {
    let nats = Nats::start().await;
    let mut host = talkative(&nats);
    let errors = host.start_unread();
    nats.agents_ready("probe", host.name(), 1).await;
    log(&nats, 200_000).await;
    drains(&nats, host).await;
    drop(errors);
}

#[tokio::test]
async fn the_last_words_of_a_host_that_fails_are_written() {
    // More than a pipe holds, to a reader that comes late.
    let names: Vec<String> = (0..100).map(|n| format!("unknown_{n:0900} = 1")).collect();
    let mut host = Host::alone().config(&names.join("\n")).written();
    let errors = host.start_unread();
    let lines: Vec<String> = BufReader::new(errors).lines().map(Result::unwrap).collect();
    assert_eq!(host.ended().await, Some(64));
    assert_eq!(lines.len(), 100);
    assert!(lines.iter().all(|line| line.starts_with("error: ")));
}

#[tokio::test]
async fn commands_end_quietly_when_nobody_reads_what_they_say() {
    let nats = Nats::start().await;
    let host = Host::new(&nats)
        .plugin("probe", |p| p)
        .with(Plugin::bare("broken").whole("[plugin").not_awaited())
        .run()
        .await;
    // A command, and how it ends when everything is read.
    for (line, code) in [
        ("--help", 0),
        ("no-such-command", 64),
        ("check", 64),
        ("check --json", 64),
        ("agents", 0),
        ("agents --json -vvv", 0),
        ("provision --plan", 0),
        ("provision -vvv", 0),
        ("request nobody.is.there x", 1),
        ("request agent.probe-001.cmd.status", 0),
        ("publish work.lab.high.x {}", 0),
        ("scatter what --timeout 100ms", 1),
        ("timeline nobody-knows", 1),
        ("dlq list", 0),
        ("build no-such-plugin", 64),
        ("new my-agent", 0),
    ] {
        for closed in ["stdout", "stderr", "both"] {
            if line.starts_with("new") {
                let _ = std::fs::remove_dir_all(host.plugins().join("my-agent"));
            }
            let shut = |name: &str| match closed == name || closed == "both" {
                true => Stdio::from(std::io::pipe().unwrap().1),
                false => Stdio::piped(),
            };
            let mut command = Command::new(harness::program("mistersmith"));
            command
                .args(line.split(' '))
                .current_dir(host.folder())
                .env_remove("NATS_URL")
                .env_remove("NATS_CREDS")
                .env_remove("MISTERSMITH_LOG")
                .stdin(Stdio::null())
                .stdout(shut("stdout"))
                .stderr(shut("stderr"));
            let ended = tokio::task::spawn_blocking(move || command.output().unwrap());
            let ended = ended.await.unwrap();
            let errors = String::from_utf8_lossy(&ended.stderr);
            assert_eq!(
                ended.status.code(),
                Some(code),
                "{line}, {closed} closed: {errors}"
            );
            assert!(
                !errors.contains("panicked"),
                "{line}, {closed} closed: {errors}"
            );
        }
    }
}
