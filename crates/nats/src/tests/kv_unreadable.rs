//! Buckets in which strangers have put what the library cannot read.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::revival::DEADLY;
use super::{SECOND, bucket, payload};
use crate::testing::{Connect as _, TestServer, until};
use crate::{Change, Connection, Headers, Quarantine, Role, TransportError, Unreadable, Watch};

/// For the library a broken connection, and no panic.
const MALFORMED: &[u8] = b"NATS/1.0\r\nno colon\r\n\r\n";

/// Removes what it is given, and remembers it.
#[derive(Debug)]
struct Graves {
    connection: Connection,
    buried: Mutex<Vec<Unreadable>>,
}

impl Graves {
    fn of(connection: &Connection) -> Arc<Self> {
        let graves = Arc::new(Self {
            connection: connection.clone(),
            buried: Mutex::default(),
        });
        connection.set_quarantine(graves.clone());
        graves
    }

    fn subjects(&self) -> Vec<String> {
        let buried = self.buried.lock().unwrap();
        buried.iter().map(|found| found.subject.clone()).collect()
    }
}

impl Quarantine for Graves {
    fn bury<'a>(
        &'a self,
        found: &'a Unreadable,
    ) -> Pin<Box<dyn Future<Output = bool> + Send + 'a>> {
        Box::pin(async move {
            self.buried.lock().unwrap().push(found.clone());
            self.connection.remove(found).await.is_ok()
        })
    }
}

/// Writes many keys at once, and waits until there are `count`.
async fn fill(connection: &Connection, count: usize, keys: impl Iterator<Item = String>) {
    for key in keys {
        let subject = format!("$KV.B.{key}");
        connection
            .publish(&subject, None, Headers::new(), payload("v"))
            .await
            .unwrap();
    }
    // A round trip is not enough: the server stores what it has received when it gets to it.
    let stored = async || {
        let info = connection
            .call::<Value>("STREAM.INFO.KV_B", &Value::Null)
            .await;
        info.unwrap()["state"]["num_subjects"].as_u64().unwrap_or(0) as usize
    };
    while stored().await < count {
        tokio::time::sleep(SECOND / 100).await;
    }
}

#[tokio::test]
async fn a_listing_survives_it_and_takes_it_out_of_the_way() {
    let server = TestServer::start().await;
    for headers in [DEADLY, MALFORMED] {
        let transport = server.connect().await;
        let connection = transport.connection(Role::Control);
        let _ = connection
            .call::<Value>("STREAM.DELETE.KV_B", &Value::Null)
            .await;
        bucket(connection, "B", json!({})).await;
        let graves = Graves::of(connection);
        let kv = connection.kv("B").await.unwrap();
        fill(connection, 700, (0..700).map(|n| format!("k.{n}"))).await;
        kv.delete("k.3", None).await.unwrap();
        server.publish_raw("$KV.B.k.5", headers, b"poison").await;
        server.publish_raw("$KV.B.new", headers, b"poison").await;

        let keys = kv.keys(">", 1000).await.unwrap();
        let keys: BTreeSet<String> = keys.into_iter().collect();
        assert_eq!(keys.len(), 698);
        for gone in ["k.3", "k.5", "new"] {
            assert!(!keys.contains(gone), "{gone}");
        }
        let mut buried = graves.subjects();
        buried.sort();
        assert_eq!(buried, ["$KV.B.k.5", "$KV.B.new"]);
        assert_eq!(kv.get("k.5").await, Ok(None));
        // Now nothing stands in the way.
        let reconnects = connection.reconnects();
        assert!(reconnects > 0, "the library has met it");
        assert_eq!(kv.keys(">", 1000).await.unwrap().len(), 698);
        assert_eq!(kv.create("k.5", payload("mine")).await.map(drop), Ok(()));
        assert_eq!(connection.reconnects(), reconnects);
        assert!(connection.is_connected());
    }
}

#[tokio::test]
async fn what_nobody_removes_costs_one_connection_and_not_one_for_each_listing() {
    let server = TestServer::start().await;
    let transport = server.connect().await;
    let connection = transport.connection(Role::Bulk);
    bucket(connection, "B", json!({})).await;
    let kv = connection.kv("B").await.unwrap();
    fill(connection, 2, ["a", "b"].map(str::to_owned).into_iter()).await;
    server.publish_raw("$KV.B.c", DEADLY, b"value").await;
    for _ in 0..5 {
        let mut keys = kv.keys("*", 10).await.unwrap();
        keys.sort();
        // It has a value for who asks for it.
        assert_eq!(keys, ["a", "b", "c"]);
    }
    assert_eq!(kv.get("c").await.unwrap().unwrap().value, payload("value"));
    assert_eq!(connection.revivals(), 1);
    let bounded = kv.keys("*", 2).await;
    assert!(
        matches!(bounded, Err(TransportError::TooLarge(_))),
        "{bounded:?}"
    );
    assert_eq!(kv.keys("x.*", 2).await, Ok(vec![]));
}

#[tokio::test]
async fn a_listing_is_whole_beyond_every_page() {
    let server = TestServer::start().await;
    let transport = server.connect().await;
    let connection = transport.connection(Role::Bulk);
    bucket(connection, "B", json!({ "storage": "memory" })).await;
    let graves = Graves::of(connection);
    let kv = connection.kv("B").await.unwrap();
    let all = |n: usize| {
        (0..n)
            .map(|n| format!("k.{n}"))
            .collect::<BTreeSet<String>>()
    };
    let mut count = 0;
    for size in [499, 501, 10_001] {
        fill(connection, size, (count..size).map(|n| format!("k.{n}"))).await;
        count = size;
        let keys: BTreeSet<String> = kv.keys(">", size).await.unwrap().into_iter().collect();
        assert_eq!(keys, all(size), "{size}");
        let bounded = kv.keys(">", size - 1).await;
        assert!(
            matches!(bounded, Err(TransportError::TooLarge(_))),
            "{bounded:?}"
        );
    }
    // The slow way brings the same.
    server.publish_raw("$KV.B.poison", DEADLY, b"x").await;
    let keys: BTreeSet<String> = kv.keys(">", count).await.unwrap().into_iter().collect();
    assert_eq!(keys, all(count));
    assert_eq!(graves.subjects(), ["$KV.B.poison"]);
}

async fn next(watch: &mut Watch) -> Change {
    let next = tokio::time::timeout(20 * SECOND, watch.next()).await;
    next.expect("nothing is heard").unwrap().unwrap()
}

#[tokio::test]
async fn a_watch_goes_on_behind_it() {
    let server = TestServer::start().await;
    let transport = server.connect().await;
    let connection = transport.connection(Role::Control);
    bucket(connection, "B", json!({})).await;
    let graves = Graves::of(connection);
    let kv = connection.kv("B").await.unwrap();
    for n in 0..40 {
        kv.put(&format!("a.{n}"), payload("old")).await.unwrap();
    }
    server.publish_raw("$KV.B.a.bad", DEADLY, b"poison").await;
    kv.put("a.last", payload("old")).await.unwrap();
    let mut watch = kv.watch("a.*").await.unwrap();
    let mut seen = BTreeSet::new();
    while !seen.contains("a.last") {
        let change = next(&mut watch).await;
        assert_eq!(change.value, Some(payload("old")), "{}", change.key);
        assert!(seen.insert(change.key.clone()), "{} twice", change.key);
    }
    assert_eq!(seen.len(), 41);
    // Its removal is a change like any other.
    let change = next(&mut watch).await;
    assert_eq!((change.key.as_str(), change.value), ("a.bad", None));

    // While it is watched, of both kinds, and between others.
    for (n, headers) in [DEADLY, MALFORMED, DEADLY].into_iter().enumerate() {
        let before = kv.put("a.before", payload("1")).await.unwrap();
        server.publish_raw("$KV.B.a.bad", headers, b"poison").await;
        let after = kv.put("a.after", payload("2")).await.unwrap();
        assert_eq!(next(&mut watch).await.revision, before);
        assert_eq!(next(&mut watch).await.revision, after);
        let removed = next(&mut watch).await;
        assert_eq!((removed.key.as_str(), removed.value), ("a.bad", None));
        assert_eq!(graves.subjects().len(), n + 2);
    }
    // A connection that ends for another reason.
    let _poisoned = connection.subscribe("poison", None).await.unwrap();
    connection.round_trip(SECOND).await.unwrap();
    let revivals = connection.revivals();
    server.publish_raw("poison", DEADLY, b"x").await;
    until("another client", || {
        connection.revivals() > revivals && connection.is_connected()
    })
    .await;
    let revision = kv.put("a.1", payload("new")).await.unwrap();
    assert_eq!(next(&mut watch).await.revision, revision);
}

#[tokio::test]
async fn a_watch_begins_anew_with_a_bucket_that_was_made_anew() {
    let server = TestServer::start().await;
    let transport = server.connect().await;
    let connection = transport.connection(Role::Control);
    bucket(connection, "B", json!({})).await;
    let kv = connection.kv("B").await.unwrap();
    for _ in 0..5 {
        kv.put("k", payload("old")).await.unwrap();
    }
    let mut watch = kv.watch(">").await.unwrap();
    assert_eq!(next(&mut watch).await.revision, 5);
    connection
        .call::<Value>("STREAM.DELETE.KV_B", &Value::Null)
        .await
        .unwrap();
    let gone = tokio::time::timeout(30 * SECOND, watch.next())
        .await
        .unwrap();
    assert!(
        matches!(gone, Some(Err(TransportError::NotFound(_)))),
        "{gone:?}"
    );
    bucket(connection, "B", json!({})).await;
    kv.put("k", payload("new")).await.unwrap();
    let change = loop {
        match watch.next().await.unwrap() {
            Ok(change) => break change,
            Err(error) => assert!(matches!(error, TransportError::NotFound(_)), "{error:?}"),
        }
    };
    assert_eq!((change.revision, change.value), (1, Some(payload("new"))));
}
