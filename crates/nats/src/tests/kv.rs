//! Key-value buckets.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use serde_json::json;

use super::{bucket, payload};
use crate::testing::{Cluster, Connect as _, TestServer, until};
use crate::{Connection, Headers, Role, Transport, TransportError};

#[tokio::test]
async fn writes_are_conditional_and_deletions_make_room() {
    let server = TestServer::start().await;
    let transport = server.connect().await;
    let connection = transport.connection(Role::Control);
    bucket(connection, "B", json!({})).await;
    let kv = connection.kv("B").await.unwrap();
    assert_eq!(kv.get("a.b").await, Ok(None));
    let first = kv.create("a.b", payload("1")).await.unwrap();
    let entry = kv.get("a.b").await.unwrap().unwrap();
    assert_eq!((entry.value, entry.revision), (payload("1"), first));
    assert_eq!(
        kv.create("a.b", payload("2")).await,
        Err(TransportError::Conflict)
    );
    let second = kv.update("a.b", payload("2"), first).await.unwrap();
    assert_eq!(
        kv.update("a.b", payload("3"), first).await,
        Err(TransportError::Conflict)
    );
    assert_eq!(
        kv.delete("a.b", Some(first)).await,
        Err(TransportError::Conflict)
    );
    kv.delete("a.b", Some(second)).await.unwrap();
    assert_eq!(kv.get("a.b").await, Ok(None));
    let third = kv.create("a.b", payload("3")).await.unwrap();
    assert!(third > second);
    kv.delete("a.b", None).await.unwrap();
    let put = kv.put("a.b", Bytes::new()).await.unwrap();
    assert_eq!(kv.get("a.b").await.unwrap().unwrap().revision, put);
    assert_eq!(kv.update("new", payload("1"), 0).await, Ok(put + 1));
}

#[tokio::test]
async fn a_write_is_recognised_after_its_answer_was_lost() {
    let server = TestServer::start().await;
    let transport = server.connect().await;
    let connection = transport.connection(Role::Control);
    bucket(connection, "B", json!({})).await;
    let kv = connection.kv("B").await.unwrap();
    // What the second attempt of a write finds when the first one has happened.
    let revision = kv.create("k", payload("same")).await.unwrap();
    let id = kv.newest("k").await.unwrap().unwrap().write_id.unwrap();
    assert_eq!(kv.examine("k", &id, 0).await, Ok(Some(revision)));
    // Another client wrote the very same value on top of it: ours was stored, and cannot be seen.
    let theirs = kv.update("k", payload("same"), revision).await.unwrap();
    assert_eq!(kv.examine("k", &id, 0).await, Ok(None));
    // Theirs was written on the revision that ours asked for: ours cannot be stored.
    let refused = kv.examine("k", "other", revision).await;
    assert_eq!(refused, Err(TransportError::Conflict));
    assert_eq!(
        kv.examine("k", "other", theirs + 9).await,
        Err(TransportError::Conflict)
    );
}

#[tokio::test]
async fn a_conditional_write_outlives_a_restart_of_the_server() {
    let mut server = TestServer::start().await;
    let transport = server.connect().await;
    let connection = transport.connection(Role::Control);
    bucket(connection, "B", json!({})).await;
    let kv = connection.kv("B").await.unwrap();
    let first = kv.create("k", payload("1")).await.unwrap();
    server.stop();
    let writing = {
        let kv = kv.clone();
        tokio::spawn(async move { kv.update("k", payload("2"), first).await })
    };
    server.start_again().await;
    assert_eq!(writing.await.unwrap(), Ok(first + 1));
}

#[tokio::test]
async fn a_value_expires_and_can_be_created_again() {
    let server = TestServer::start().await;
    let transport = server.connect().await;
    let connection = transport.connection(Role::Control);
    bucket(
        connection,
        "LEASES",
        json!({ "max_age": 500_000_000, "duplicate_window": 500_000_000 }),
    )
    .await;
    let kv = connection.kv("LEASES").await.unwrap();
    let first = kv.create("l", payload("me")).await.unwrap();
    assert_eq!(
        kv.create("l", payload("you")).await,
        Err(TransportError::Conflict)
    );
    let start = std::time::Instant::now();
    let second = loop {
        match kv.create("l", payload("you")).await {
            Ok(revision) => break revision,
            Err(TransportError::Conflict) => tokio::time::sleep(Duration::from_millis(20)).await,
            Err(other) => panic!("{other:?}"),
        }
        assert!(start.elapsed() < Duration::from_secs(10));
    };
    assert!(second > first);
    assert_eq!(
        kv.update("l", payload("me"), first).await,
        Err(TransportError::Conflict)
    );
}

#[tokio::test]
async fn keys_are_listed_without_the_deleted_ones_and_within_a_bound() {
    let server = TestServer::start().await;
    let transport = server.connect().await;
    let connection = transport.connection(Role::Control);
    bucket(connection, "B", json!({})).await;
    let kv = connection.kv("B").await.unwrap();
    assert_eq!(kv.keys(">", 10).await, Ok(vec![]));
    for n in 0..620 {
        let group = if n < 20 { "few" } else { "many" };
        kv.put(
            &format!("{group}.{n}"),
            payload("a value that is not fetched"),
        )
        .await
        .unwrap();
    }
    kv.delete("few.3", None).await.unwrap();
    let few = kv.keys("few.*", 19).await.unwrap();
    assert_eq!(few.len(), 19);
    assert!(!few.contains(&"few.3".to_owned()) && few.contains(&"few.4".to_owned()));
    assert_eq!(kv.keys(">", 1000).await.unwrap().len(), 619);
    let bounded = kv.keys("few.*", 18).await;
    assert!(
        matches!(bounded, Err(TransportError::TooLarge(_))),
        "{bounded:?}"
    );
    let info: serde_json::Value = connection
        .call("STREAM.INFO.KV_B", &json!(null))
        .await
        .unwrap();
    assert_eq!(
        info["state"]["consumer_count"], 0,
        "listings leave no consumer behind"
    );
}

/// More keys than one answer of the server, and than one pull, has room for.
async fn many_keys_are_listed(connection: &Connection, replicas: u64) {
    const KEYS: u64 = 12_000;
    bucket(connection, "B", json!({ "num_replicas": replicas })).await;
    let kv = connection.kv("B").await.unwrap();
    for n in 0..KEYS {
        // The answer to one shows that those before it are stored.
        if n % 1_000 == 0 {
            kv.put(&format!("k.{n}"), payload("v")).await.unwrap();
            continue;
        }
        let subject = format!("$KV.B.k.{n}");
        let sent = connection.publish(&subject, None, Headers::new(), payload("v"));
        sent.await.unwrap();
    }
    // Behind all others, so that they are stored when this is.
    kv.delete("k.7", None).await.unwrap();
    let listed = kv.keys(">", 20_000).await.unwrap();
    let different: BTreeSet<&String> = listed.iter().collect();
    assert_eq!((listed.len(), different.len()), (11_999, 11_999));
    assert!(!listed.contains(&"k.7".to_owned()));
    let few = kv.keys("k.11999", 1).await.unwrap();
    assert_eq!(few, ["k.11999"]);
    let bounded = kv.keys(">", 11_998).await;
    assert!(
        matches!(bounded, Err(TransportError::TooLarge(_))),
        "{bounded:?}"
    );
}

#[tokio::test]
async fn more_than_ten_thousand_keys_are_listed_on_one_server() {
    let server = TestServer::start().await;
    let transport = server.connect().await;
    many_keys_are_listed(transport.connection(Role::Control), 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_than_ten_thousand_keys_are_listed_on_three_servers() {
    let cluster = Cluster::start(3).await;
    let transport = Transport::connect(cluster.spec()).await.unwrap();
    let connection = transport.connection(Role::Control);
    many_keys_are_listed(connection, 3).await;
}

#[tokio::test]
async fn changes_are_heard() {
    let mut server = TestServer::start().await;
    let transport = server.connect().await;
    let connection = transport.connection(Role::Control);
    bucket(connection, "B", json!({})).await;
    let kv = connection.kv("B").await.unwrap();
    kv.put("a.1", payload("old")).await.unwrap();
    kv.put("b.1", payload("other")).await.unwrap();
    let mut watch = kv.watch("a.*").await.unwrap();
    let change = watch.next().await.unwrap().unwrap();
    assert_eq!(
        (change.key.as_str(), change.value),
        ("a.1", Some(payload("old")))
    );
    kv.delete("a.1", None).await.unwrap();
    assert_eq!(watch.next().await.unwrap().unwrap().value, None);

    server.stop();
    until("the connection is down", || !connection.is_connected()).await;
    server.start_again().await;
    until("the connection is up", || connection.is_connected()).await;
    let revision = kv.put("a.2", payload("new")).await.unwrap();
    let change = loop {
        match watch.next().await.unwrap() {
            Ok(change) => break change,
            Err(error) => assert!(matches!(error, TransportError::Unavailable(_)), "{error:?}"),
        }
    };
    assert_eq!((change.key.as_str(), change.revision), ("a.2", revision));
}

#[tokio::test]
async fn a_missing_bucket_and_malformed_keys_are_told() {
    let server = TestServer::start().await;
    let transport = server.connect().await;
    let connection = transport.connection(Role::Control);
    let kv = connection.kv("NOT_THERE").await.unwrap();
    let missing = |error: TransportError| {
        assert_eq!(
            error,
            TransportError::NotFound("there is no bucket \"NOT_THERE\"".to_owned())
        );
    };
    missing(kv.get("a").await.unwrap_err());
    missing(kv.put("a", payload("1")).await.unwrap_err());
    missing(kv.create("a", payload("1")).await.unwrap_err());
    missing(kv.keys(">", 1).await.unwrap_err());
    missing(kv.watch(">").await.err().unwrap());
    for bad in [
        "",
        ".",
        "a.",
        ".a",
        "a..b",
        "a b",
        "*",
        "a.>",
        "a\r\n",
        "caf\u{e9}",
        &"x".repeat(201),
    ] {
        let invalid = kv.get(bad).await;
        assert!(
            matches!(invalid, Err(TransportError::Invalid(_))),
            "{bad:?}"
        );
        let invalid = kv.put(bad, payload("1")).await;
        assert!(
            matches!(invalid, Err(TransportError::Invalid(_))),
            "{bad:?}"
        );
        let invalid = kv.delete(bad, Some(1)).await;
        assert!(
            matches!(invalid, Err(TransportError::Invalid(_))),
            "{bad:?}"
        );
    }
    for bad in ["", "A.B", "A B", "A*"] {
        assert!(
            matches!(connection.kv(bad).await, Err(TransportError::Invalid(_))),
            "{bad:?}"
        );
    }
}
