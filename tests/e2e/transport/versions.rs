//! Which nats-server a host meets or starts: of what version it is, and where its program is.

use std::process::Command;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use harness::{Host, Nats, Running, nats_server};

/// The version that the program of these tests says.
fn version() -> String {
    let said = Command::new(nats_server()).arg("--version").output();
    let said = String::from_utf8(said.unwrap().stdout).unwrap();
    let version = said.trim().strip_prefix("nats-server: v");
    version.expect("it says its version").to_owned()
}

/// The version of the server that this host is connected to, as a command shows it.
async fn met(host: &Running) -> String {
    let shown = host.cli(&["agents", "--json"]).await.ok().json();
    shown["server"]["version"].as_str().unwrap().to_owned()
}

/// Lets the server be of another version, as far as its clients see: an address in front of it.
async fn posing_as(version: &'static str, port: u16) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(between(client, version, port));
        }
    });
    address.port()
}

async fn between(mut client: TcpStream, version: &str, port: u16) {
    let server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let mut server = BufReader::new(server);
    let mut first = String::new();
    server.read_line(&mut first).await.unwrap();
    let told = first.strip_prefix("INFO ").expect("a server says INFO");
    let mut info: serde_json::Value = serde_json::from_str(told).unwrap();
    info["version"] = version.into();
    client
        .write_all(format!("INFO {info}\r\n").as_bytes())
        .await
        .unwrap();
    // It ends with either of them.
    let _ = tokio::io::copy_bidirectional(&mut server, &mut client).await;
}

/// What the host says of the server's version.
async fn remarks_on(version: &'static str) -> Vec<String> {
    let nats = Nats::start().await;
    let port = posing_as(version, nats.port()).await;
    let host = Host::new(&nats)
        .nats(&format!("servers = [\"nats://127.0.0.1:{port}\"]"))
        .run()
        .await;
    let connected = host.logs.saying("connected").await;
    assert_eq!(connected.field("version"), version);
    let of_version =
        |line: &harness::Line| line.level() == "WARN" && line.message().contains(version);
    let lines = host.logs.find(of_version);
    lines.iter().map(harness::Line::message).collect()
}

#[tokio::test]
async fn the_server_of_these_tests_is_the_one_that_was_named() {
    let nats = Nats::start().await;
    assert_eq!(met(&Host::new(&nats).written()).await, version());
    assert_eq!(met(&Host::alone().run().await).await, version());
}

#[tokio::test]
async fn a_host_says_which_program_it_starts() {
    let host = Host::alone()
        .variable("MISTERSMITH_NATS_SERVER", "")
        .nats(&format!("program = {:?}", nats_server()))
        .run()
        .await;
    let line = host.logs.saying("starting a nats-server").await;
    assert_eq!(line.field("version"), version());
    assert_eq!(line.field("program"), nats_server().display().to_string());
    let kept = std::fs::read_to_string(host.data().join("nats-server.version"));
    assert_eq!(kept.unwrap(), version());
}

#[tokio::test]
async fn a_program_that_is_not_there_is_a_mistake_of_the_configuration() {
    let file = Host::alone().nats("program = \"nowhere\"").written();
    let ran = file.cli(&["run"]).await;
    assert_eq!(ran.code, Some(64), "{ran:#?}");
    assert!(ran.stderr.contains("program: there is no file"), "{ran:#?}");
    let variable = Host::alone()
        .variable("MISTERSMITH_NATS_SERVER", "/nowhere")
        .written();
    let ran = variable.cli(&["run"]).await;
    assert_eq!(ran.code, Some(64), "{ran:#?}");
    let sentence = "MISTERSMITH_NATS_SERVER: there is no file /nowhere";
    assert!(ran.stderr.contains(sentence), "{ran:#?}");
}

#[tokio::test]
async fn a_server_that_no_test_has_met_is_warned_of_once() {
    let old = remarks_on("2.8.4").await;
    assert_eq!(old.len(), 1, "{old:?}");
    assert!(
        old[0].contains("older than all that are tested: 2.9.10, "),
        "{old:?}"
    );
    let strange = remarks_on("9.0.0").await;
    assert_eq!(strange.len(), 1, "{strange:?}");
    assert!(strange[0].contains("not tested: 2.9.10, "), "{strange:?}");
    let another = remarks_on("2.12.99").await;
    assert!(another.is_empty(), "{another:?}");
}
