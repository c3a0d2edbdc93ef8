//! Items that no NATS client should be able to publish, and some can.

use std::io::{Read as _, Write as _};

use serde_json::json;

use crate::harness::{Host, Nats};

/// Publishes bytes as they are, over a plain socket; returns when the server has taken them.
fn publish_raw(nats: &Nats, subject: &str, headers: &[u8], payload: &[u8]) {
    let mut socket = std::net::TcpStream::connect(("127.0.0.1", nats.port())).unwrap();
    let (length, size) = (headers.len(), headers.len() + payload.len());
    let line = format!(
        "CONNECT {{\"headers\":true,\"verbose\":false}}\r\nHPUB {subject} {length} {size}\r\n"
    );
    for part in [line.as_bytes(), headers, payload, b"\r\nPING\r\n"] {
        socket.write_all(part).unwrap();
    }
    let mut read = Vec::new();
    while !read.ends_with(b"PONG\r\n") {
        let mut part = [0; 4096];
        let length = socket.read(&mut part).unwrap();
        assert!(length > 0, "{}", String::from_utf8_lossy(&read));
        read.extend_from_slice(&part[..length]);
    }
}

#[tokio::test]
async fn an_item_that_breaks_the_connection_becomes_a_dead_letter_and_the_work_goes_on() {
    let nats = Nats::start().await;
    let _host = Host::new(&nats)
        .plugin("probe", |p| p.work("lab", "*"))
        .run()
        .await;
    // Each delivery of one of these ends the connection of the client library.
    for (subject, headers) in [
        ("work.lab.high.one", &b"NATS/1.0\r\nno colon\r\n\r\n"[..]),
        ("work.lab.high.two", b"NATS/1.0\r\nX-A: \xff\r\n\r\n"),
    ] {
        publish_raw(&nats, subject, headers, b"poison");
    }
    for subject in ["work.lab.high.one", "work.lab.high.two"] {
        let letter = nats.dead_letters(subject, 1).await.remove(0);
        assert_eq!(letter.text(), "poison");
        assert_eq!(letter.header("X-DLQ-Error-Kind"), "unreadable");
        assert_eq!(letter.header("X-DLQ-Subject"), subject);
    }
    nats.audited("dead-letter", |entry| entry["error_kind"] == "unreadable")
        .await;
    nats.work_as(
        "good",
        "work.lab.high.x",
        json!({"do": "echo", "value": 1}).to_string(),
    )
    .await;
    nats.result_of("good").await;
    nats.work_is_done().await;
}

/// The client library panics when it reads this one, and what serves its connection is gone.
const DEADLY: &[u8] = b"NATS/1.0\r\nX-A: a\rb\r\n\r\n";

#[tokio::test]
async fn an_item_that_ends_a_host_is_a_dead_letter_of_the_next() {
    let nats = Nats::start().await;
    let mut host = Host::new(&nats)
        .plugin("probe", |p| p.work("lab", "*"))
        .run()
        .await;
    publish_raw(&nats, "work.lab.high.one", DEADLY, b"poison");
    assert_eq!(host.ended().await, Some(1), "not deaf for ever");
    host.start();
    host.wait_ready().await;
    let letter = nats.dead_letters("work.lab.high.one", 1).await.remove(0);
    assert_eq!(letter.text(), "poison");
    assert_eq!(letter.header("X-DLQ-Error-Kind"), "unreadable");
    let echo = json!({"do": "echo", "value": 1}).to_string();
    nats.work_as("good", "work.lab.high.x", echo).await;
    nats.result_of("good").await;
    nats.work_is_done().await;
}

#[tokio::test]
async fn a_message_that_ends_a_connection_ends_the_host() {
    let nats = Nats::start().await;
    let mut host = Host::new(&nats)
        .plugin("probe", |p| p.subscribe("probe.in"))
        .run()
        .await;
    publish_raw(&nats, "probe.in", DEADLY, b"x");
    assert_eq!(host.ended().await, Some(1), "not deaf for ever");
}
