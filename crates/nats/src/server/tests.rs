//! The host's own server, started and ended for real.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use mistersmith_core::config::Auth;
use tempfile::TempDir;

use super::{Files, OwnServer, ServerConnection, ServerError, process};
use crate::testing::{nats_server, places, until};
use crate::{Headers, Role, Transport, TransportError};

/// Set in a test that runs itself again as a host of its own.
const CHILD: &str = "MISTERSMITH_TEST_OWN_SERVER";

fn runs(pid: u32) -> bool {
    // A process that nobody has waited for yet has no command line any more.
    std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|words| !words.is_empty())
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

async fn keep_something(server: &OwnServer) -> u64 {
    let transport = Transport::connect(server.connection().connect_spec("t"))
        .await
        .unwrap();
    let connection = transport.connection(Role::Control);
    let config = serde_json::json!({ "name": "KEPT", "subjects": ["kept"] });
    let _ = connection
        .call::<serde_json::Value>("STREAM.CREATE.KEPT", &config)
        .await
        .unwrap();
    let timeout = Duration::from_secs(5);
    let stored = connection.publish_stored("kept", Headers::new(), Bytes::from("x"), timeout);
    stored.await.unwrap().sequence
}

#[tokio::test]
async fn it_starts_is_found_lets_in_only_its_user_and_keeps_its_data() {
    let data = TempDir::new().unwrap();
    let server = OwnServer::start(data.path(), &places()).await.unwrap();
    let found = ServerConnection::read(data.path()).unwrap().unwrap();
    assert_eq!(&found, server.connection());
    assert!(found.url.starts_with("nats://127.0.0.1:"), "{}", found.url);
    assert!(!format!("{found:?}").contains(&found.password));
    for file in ["nats.json", "nats-server.conf", "nats-server.log"] {
        assert_eq!(mode(&data.path().join(file)), 0o600, "{file}");
    }
    assert_eq!(keep_something(&server).await, 1);
    assert!(data.path().join("jetstream").is_dir());

    let mut stranger = found.connect_spec("stranger");
    stranger.auth = Auth::None;
    let refused = Transport::connect(stranger).await.err();
    assert!(
        matches!(refused, Some(TransportError::Denied(_))),
        "{refused:?}"
    );

    server.stop().await;
    assert!(!runs(found.pid));
    assert_eq!(ServerConnection::read(data.path()).unwrap(), None);

    let again = OwnServer::start(data.path(), &places()).await.unwrap();
    assert_ne!(again.connection().password, found.password);
    assert_eq!(keep_something(&again).await, 2);
    let pid = again.connection().pid;
    // Forgotten instead of stopped.
    drop(again);
    until("a dropped server ends", || !runs(pid)).await;
}

#[tokio::test]
async fn it_ends_with_a_host_that_is_killed() {
    if let Ok(data) = std::env::var(CHILD) {
        let _server = OwnServer::start(Path::new(&data), &places()).await.unwrap();
        return std::future::pending().await;
    }
    let data = TempDir::new().unwrap();
    let mut host = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "server::tests::it_ends_with_a_host_that_is_killed",
        ])
        .env(CHILD, data.path())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    until("the other host has its server", || {
        ServerConnection::read(data.path()).is_ok_and(|found| found.is_some())
    })
    .await;
    let pid = ServerConnection::read(data.path()).unwrap().unwrap().pid;
    assert!(runs(pid));
    host.kill().unwrap();
    host.wait().unwrap();
    until("the server ends with its host", || !runs(pid)).await;
}

#[tokio::test]
async fn an_orphan_of_its_own_is_ended_and_a_stranger_is_not() {
    let data = TempDir::new().unwrap();
    let files = Files::new(data.path()).unwrap();
    files.write_config("secret").unwrap();
    let mut orphan = process::spawn(&nats_server(), &files).unwrap();
    let pid = orphan.id().unwrap();
    files.write_pid(pid).unwrap();
    until("the orphan listens", || files.listening(pid).is_some()).await;
    let server = OwnServer::start(data.path(), &places()).await.unwrap();
    assert!(!runs(pid));
    orphan.wait().await.unwrap();
    server.stop().await;

    let mut stranger = Command::new("sleep").arg("60").spawn().unwrap();
    files.write_pid(stranger.id()).unwrap();
    OwnServer::start(data.path(), &places())
        .await
        .unwrap()
        .stop()
        .await;
    assert!(runs(stranger.id()));
    stranger.kill().unwrap();
    stranger.wait().unwrap();
}

#[tokio::test]
async fn its_death_is_told() {
    let data = TempDir::new().unwrap();
    let server = OwnServer::start(data.path(), &places()).await.unwrap();
    let pid = server.connection().pid.to_string();
    Command::new("kill").args(["-KILL", &pid]).status().unwrap();
    let told = server.died().await;
    assert!(told.contains("ended unexpectedly"), "{told}");
    assert!(told.contains("Server is ready"), "{told}");
}

#[tokio::test]
async fn a_start_that_fails_quotes_the_log() {
    let data = TempDir::new().unwrap();
    std::fs::write(data.path().join("jetstream"), "in the way").unwrap();
    let error = OwnServer::start(data.path(), &places())
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("ended while starting"), "{error}");
    assert!(error.contains("not a directory"), "{error}");
    assert_eq!(ServerConnection::read(data.path()).unwrap(), None);

    let missing = OwnServer::start(&data.path().join("nowhere"), &places()).await;
    assert!(
        matches!(missing, Err(ServerError::File { .. })),
        "{missing:?}"
    );
}

#[tokio::test]
async fn data_of_a_newer_server_is_left_alone() {
    let data = TempDir::new().unwrap();
    OwnServer::start(data.path(), &places())
        .await
        .unwrap()
        .stop()
        .await;
    let file = data.path().join("nats-server.version");
    let version = std::fs::read_to_string(&file).unwrap();
    let (major, minor, _) = crate::version::numbers(&version).unwrap();

    let newer = format!("{major}.{}.0", minor + 1);
    std::fs::write(&file, &newer).unwrap();
    let error = OwnServer::start(data.path(), &places()).await.unwrap_err();
    let text = error.to_string();
    let named = [version.as_str(), newer.as_str(), "MISTERSMITH_NATS_SERVER"];
    assert!(named.iter().all(|part| text.contains(part)), "{text}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), newer);
    let log = data.path().join("nats-server.log.old");
    assert!(!log.exists(), "it was not even started");

    // Data of an older one is taken, and so is that of another release of the same kind.
    for last in [
        format!("{major}.{}.0", minor - 1),
        format!("{major}.{minor}.999"),
    ] {
        std::fs::write(&file, last).unwrap();
        let server = OwnServer::start(data.path(), &places()).await.unwrap();
        server.stop().await;
        assert_eq!(std::fs::read_to_string(&file).unwrap(), version);
    }
}
