//! Writes of which a cluster does not know yet whether they will be stored: its answers differ from
//! version to version, and none of them says that something is stored, or that it never will be.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::fake_server::FakeServer;
use super::{SECOND, bucket, payload};
use crate::testing::{Cluster, Connect as _, by};
use crate::{Connection, Headers, Role, Stored, Transport, TransportError};

fn refused(code: u16, err_code: u32, description: &str) -> Value {
    let error = json!({ "code": code, "err_code": err_code, "description": description });
    json!({ "error": error, "stream": "S", "seq": 0 })
}

#[tokio::test]
async fn what_is_not_stored_yet_is_sent_again_until_it_is() {
    let (server, transport) = FakeServer::start().await;
    let connection = transport.connection(Role::Work);
    let script = async {
        for answer in [
            // 2.10, and newer ones.
            json!({ "stream": "S", "seq": 0, "duplicate": true }),
            refused(409, 10158, "duplicate message id is in process"),
            refused(429, 10167, "too many requests"),
            json!({ "stream": "S", "seq": 7, "duplicate": true }),
        ] {
            let asked = server.asked().await;
            assert!(
                asked.headers.contains("Nats-Msg-Id: id"),
                "{}",
                asked.headers
            );
            asked.answer(answer).await;
        }
    };
    let stored = by("it is stored", async {
        connection
            .store("s.a", "id", Headers::new(), payload("x"))
            .await
    });
    let ((), stored) = tokio::join!(script, stored);
    let stored = stored.unwrap();
    assert_eq!((stored.sequence, stored.duplicate), (7, true));
}

#[tokio::test]
async fn one_attempt_does_not_take_an_earlier_one_for_stored() {
    let (server, transport) = FakeServer::start().await;
    let connection = transport.connection(Role::Work);
    let script = async {
        let answer = json!({ "stream": "S", "seq": 0, "duplicate": true });
        server.asked().await.answer(answer).await;
    };
    let stored = connection.publish_stored("s.a", Headers::new(), payload("x"), 5 * SECOND);
    let ((), stored) = tokio::join!(script, stored);
    assert!(
        matches!(stored, Err(TransportError::Unavailable(_))),
        "{stored:?}"
    );
}

#[tokio::test]
async fn our_own_write_that_is_on_its_way_is_no_conflict() {
    let (server, transport) = FakeServer::start().await;
    let kv = transport.connection(Role::Control).kv("B").await.unwrap();
    let script = async {
        // It is taken, and the word of it is lost.
        let first = server.asked().await;
        let mark = first.headers.lines().find(|l| l.starts_with("X-Write-ID"));
        let headers = format!("NATS/1.0\r\n{}\r\n\r\n", mark.unwrap());
        let lost = refused(503, 10008, "JetStream system temporarily unavailable");
        first.answer(lost).await;
        let undecided = refused(400, 10164, "wrong last sequence");
        server.asked().await.answer(undecided).await;
        let decided = refused(400, 10071, "wrong last sequence: 8");
        server.asked().await.answer(decided).await;
        let look = server.asked().await;
        assert_eq!(look.subject, "$JS.API.STREAM.MSG.GET.KV_B");
        let found = json!({
            "subject": "$KV.B.k", "seq": 8, "time": "2026-01-02T03:04:05Z",
            "hdrs": STANDARD.encode(headers), "data": STANDARD.encode("mine"),
        });
        look.answer(json!({ "message": found })).await;
    };
    let written = by("it is written", kv.update("k", payload("mine"), 7));
    let ((), written) = tokio::join!(script, written);
    assert_eq!(written, Ok(8));
}

/// Answers to an update on revision 7 whose first answer is lost, and whose second attempt meets a
/// conflict with a write of another client at revision 9, conditional on this one.
async fn update_met_by(written_on: u64) -> Result<u64, TransportError> {
    let (server, transport) = FakeServer::start().await;
    let kv = transport.connection(Role::Control).kv("B").await.unwrap();
    let script = async {
        let lost = refused(503, 10008, "JetStream system temporarily unavailable");
        server.asked().await.answer(lost).await;
        let decided = refused(400, 10071, "wrong last sequence: 9");
        server.asked().await.answer(decided).await;
        let headers = format!(
            "NATS/1.0\r\nX-Write-ID: theirs\r\nNats-Expected-Last-Subject-Sequence: {written_on}\r\n\r\n"
        );
        let found = json!({
            "subject": "$KV.B.k", "seq": 9, "time": "2026-01-02T03:04:05Z",
            "hdrs": STANDARD.encode(headers), "data": STANDARD.encode("theirs"),
        });
        let look = server.asked().await;
        look.answer(json!({ "message": found })).await;
    };
    let written = by("it is decided", kv.update("k", payload("mine"), 7));
    tokio::join!(script, written).1
}

#[tokio::test]
async fn a_write_that_may_be_stored_below_another_is_no_conflict() {
    assert_eq!(update_met_by(7).await, Err(TransportError::Conflict));
    assert_eq!(update_met_by(8).await, Err(TransportError::Timeout));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_majority_nothing_is_stored_and_nothing_is_a_conflict() {
    let cluster = Cluster::start(3).await;
    let transport = Transport::connect(cluster.spec()).await.unwrap();
    let connection = transport.connection(Role::Work).clone();
    // Both in one stream, which has one leader.
    let both = json!({ "num_replicas": 3, "subjects": ["$KV.B.>", "s.>"] });
    bucket(&connection, "B", both).await;
    let kv = connection.kv("B").await.unwrap();
    let first = kv.create("k", payload("first")).await.unwrap();
    let leader = super::cluster::leader(&connection, "KV_B").await;
    let near = Transport::connect(cluster.server(&leader).spec())
        .await
        .unwrap();
    let near = near.connection(Role::Work).clone();
    cluster.pause_but(&leader);

    // What was under way when the others stopped may still be stored.
    let mut number = 0;
    let id = loop {
        let id = format!("id-{number}");
        if attempt(&near, "s.a", "Nats-Msg-Id", &id).await.is_err() {
            break id;
        }
        number += 1;
    };
    let again = attempt(&near, "s.a", "Nats-Msg-Id", &id).await;
    let unknown = again.as_ref().is_err_and(TransportError::is_transient);
    assert!(unknown, "{again:?}");
    let expected = "Nats-Expected-Last-Subject-Sequence";
    let written = attempt(&near, "$KV.B.k", expected, &first.to_string()).await;
    let unknown = written.as_ref().is_err_and(TransportError::is_transient);
    assert!(unknown, "{written:?}");
    let kv = near.kv("B").await.unwrap();
    let mut writing = tokio::spawn(async move { kv.update("k", payload("third"), first).await });
    let early = tokio::time::timeout(SECOND, &mut writing).await;
    assert!(
        early.is_err(),
        "nobody knows whether it is a conflict: {early:?}"
    );

    cluster.resume();
    let stored = near.store("s.a", &id, Headers::new(), payload("x")).await;
    let sequence = stored.unwrap().sequence;
    let kept = near.stream("KV_B").unwrap().message(sequence).await;
    assert_eq!(kept.unwrap().unwrap().subject, "s.a");
    match writing.await.unwrap() {
        Ok(_) | Err(TransportError::Conflict) => {}
        // The election took longer than a writer waits.
        Err(error) => assert!(error.is_transient(), "{error:?}"),
    }
}

/// Publishes once, with one header.
async fn attempt(
    connection: &Connection,
    subject: &str,
    name: &str,
    value: &str,
) -> Result<Stored, TransportError> {
    let mut headers = Headers::new();
    headers.insert(name, value).unwrap();
    connection
        .publish_stored(subject, headers, payload("x"), SECOND)
        .await
}
