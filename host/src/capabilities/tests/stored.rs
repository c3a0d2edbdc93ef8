//! What an honest guest stores, on a real server.

use super::super::fixture::Server;
use super::served::s;
use super::*;
use crate::bindings::mistersmith::agent::{kv, messaging};
use crate::transport::{Headers, Link};
use bytes::Bytes;
use kv::Host as _;
use messaging::Host as _;

#[tokio::test]
async fn stored_messages_say_where_they_are() {
    let server = Server::start();
    let link = server.link().await;
    make_stream(&link, "OUT", "out.stored").await;
    let built = Fixture::granted().on(&link).build();
    let mut guest = calling(&built);
    let stored = guest
        .publish_stored(s("out.stored"), b"x".to_vec(), Vec::new())
        .await
        .unwrap();
    assert_eq!(
        (stored.stream.as_str(), stored.sequence, stored.duplicate),
        ("OUT", 1, false)
    );
    assert_eq!(
        outcome(
            &guest
                .publish_stored(s("out.free"), Vec::new(), Vec::new())
                .await
        ),
        "not-found"
    );
}

#[tokio::test]
async fn keys_are_written_by_revision() {
    let server = Server::start();
    let link = server.link().await;
    make_stream(&link, "KV_CACHE", "$KV.CACHE.>").await;
    let built = Fixture::granted().on(&link).build();
    let mut guest = calling(&built);
    let (bucket, key) = (|| s("CACHE"), || s("probe.total"));
    assert!(guest.get(bucket(), key()).await.unwrap().is_none());
    let first = guest.create(bucket(), key(), b"1".to_vec()).await.unwrap();
    assert_eq!(
        outcome(&guest.create(bucket(), key(), Vec::new()).await),
        "conflict"
    );
    let second = guest
        .update(bucket(), key(), b"2".to_vec(), first)
        .await
        .unwrap();
    assert_eq!(
        outcome(&guest.update(bucket(), key(), Vec::new(), first).await),
        "conflict"
    );
    let entry = guest.get(bucket(), key()).await.unwrap().unwrap();
    assert_eq!((entry.value, entry.revision), (b"2".to_vec(), second));
    let third = guest.put(bucket(), key(), b"3".to_vec()).await.unwrap();
    assert_eq!(
        guest.keys(bucket(), s("probe.>")).await.unwrap(),
        ["probe.total"]
    );
    assert_eq!(
        outcome(&guest.delete(bucket(), key(), Some(first)).await),
        "conflict"
    );
    guest.delete(bucket(), key(), Some(third)).await.unwrap();
    assert!(guest.get(bucket(), key()).await.unwrap().is_none());
    assert_eq!(outcome(&guest.get(s("OTHER"), key()).await), "denied");
}

/// Makes a stream in memory, by the plain API: nothing here is about provisioning.
async fn make_stream(link: &Link, name: &str, subject: &str) {
    let body = serde_json::json!({
        "name": name, "subjects": [subject], "storage": "memory",
        "max_msgs_per_subject": if name.starts_with("KV_") { 1 } else { -1 },
    });
    let api = format!("$JS.API.STREAM.CREATE.{name}");
    let payload = Bytes::from(body.to_string());
    let answer = link
        .request(&api, Headers::new(), payload, Duration::from_secs(5))
        .await
        .unwrap();
    assert!(
        !String::from_utf8_lossy(&answer.payload).contains("\"error\""),
        "{answer:?}"
    );
}
