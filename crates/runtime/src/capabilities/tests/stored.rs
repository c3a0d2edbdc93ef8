//! What an honest guest stores, on a real server.

use super::super::fixture::{TestServer, connection};
use super::served::s;
use super::*;
use crate::bindings::mistersmith::agent::{kv, messaging};
use bytes::Bytes;
use kv::Host as _;
use messaging::Host as _;
use mistersmith_core::limits::KEYS_PER_MESSAGE;
use mistersmith_nats::{Connection, Headers};

#[tokio::test]
async fn stored_messages_say_where_they_are() {
    let server = TestServer::start().await;
    let connection = connection(&server).await;
    make_stream(&connection, "OUT", "out.stored").await;
    let built = Fixture::granted().on(&connection).build();
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
    let server = TestServer::start().await;
    let connection = connection(&server).await;
    make_stream(&connection, "KV_CACHE", "$KV.CACHE.>").await;
    let built = Fixture::granted().on(&connection).build();
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

#[tokio::test]
async fn a_listing_of_keys_costs_what_it_walks() {
    let server = TestServer::start().await;
    let connection = connection(&server).await;
    make_stream(&connection, "KV_CACHE", "$KV.CACHE.>").await;
    let bucket = connection.kv("CACHE").await.unwrap();
    for number in 0..15 * KEYS_PER_MESSAGE {
        let key = format!("probe.{number}");
        bucket.put(&key, Bytes::new()).await.unwrap();
    }
    let slow = |fixture: &mut Fixture| fixture.limits.publish_rate = 10;
    let built = Fixture::granted().with(slow).on(&connection).build();
    let mut guest = calling(&built);
    let list = guest.keys(s("CACHE"), s("probe.>")).await;
    assert_eq!(list.unwrap().len(), 15 * KEYS_PER_MESSAGE);
    // One and fifteen, where ten are there: six are owed.
    let next = guest.put(s("CACHE"), s("probe.more"), Vec::new()).await;
    assert_eq!(outcome(&next), "rate-limited");
    tokio::time::sleep(Duration::from_millis(900)).await;
    let next = guest.put(s("CACHE"), s("probe.more"), Vec::new()).await;
    assert_eq!(outcome(&next), "ok");
}

/// Makes a stream in memory, by the plain API: nothing here is about provisioning.
async fn make_stream(connection: &Connection, name: &str, subject: &str) {
    let body = serde_json::json!({
        "name": name, "subjects": [subject], "storage": "memory",
        "max_msgs_per_subject": if name.starts_with("KV_") { 1 } else { -1 },
    });
    let api = format!("$JS.API.STREAM.CREATE.{name}");
    let payload = Bytes::from(body.to_string());
    let answer = connection
        .request(&api, Headers::new(), payload, Duration::from_secs(5))
        .await
        .unwrap();
    assert!(
        !String::from_utf8_lossy(&answer.payload).contains("\"error\""),
        "{answer:?}"
    );
}

#[tokio::test]
async fn an_agent_whose_id_another_host_may_have_does_nothing_under_it() {
    use crate::{Fence, LeaseTerm};
    let server = TestServer::start().await;
    let connection = connection(&server).await;
    make_stream(&connection, "OUT", "out.>").await;
    make_stream(&connection, "KV_CACHE", "$KV.CACHE.>").await;
    let lease = LeaseTerm::unlimited();
    let mut fixture = Fixture::granted().on(&connection);
    fixture.fence = Fence::new(lease.clone(), "probe-001".parse().unwrap());
    let built = fixture.build();
    let mut guest = calling(&built);
    let (subject, key) = (|| s("out.stored"), || s("probe.total"));
    let put = guest.put(s("CACHE"), key(), b"1".to_vec()).await;
    assert!(put.is_ok(), "{put:?}");
    // In the middle of the call.
    lease.end();
    let published = guest.publish(subject(), Vec::new(), Vec::new()).await;
    assert_eq!(outcome(&published), "unavailable");
    let stored = guest
        .publish_stored(subject(), Vec::new(), Vec::new())
        .await;
    assert_eq!(outcome(&stored), "unavailable");
    let put = guest.put(s("CACHE"), key(), b"2".to_vec()).await;
    assert_eq!(outcome(&put), "unavailable");
    let stream = connection.stream("OUT").unwrap();
    assert_eq!(stream.facts().await.unwrap().messages, 0);
}
