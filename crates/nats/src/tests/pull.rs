//! Pulling from consumers.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{SECOND, payload, stream};
use crate::testing::{Cluster, Connect as _, DEADLINE, TestServer, by, until};
use crate::{Connection, Headers, JetStreamMessage, Pull, Role, Transport, TransportError};

/// A work queue `W` on `w.>` with a consumer `c`, and so many messages in it.
pub(super) async fn work(connection: &Connection, messages: usize, ack_wait: Duration) {
    let config = json!({ "name": "W", "subjects": ["w.>"], "retention": "workqueue" });
    stream(connection, config).await;
    consumer(connection, "c", "", ack_wait).await;
    for n in 0..messages {
        let stored =
            connection.publish_stored("w.a", Headers::new(), payload(&n.to_string()), SECOND);
        stored.await.unwrap();
    }
}

/// The same with a consumer of each subject, `c0`, `c1` and so on, and a message on each.
pub(super) async fn work_on(connection: &Connection, subjects: &[&str], ack_wait: Duration) {
    let config = json!({ "name": "W", "subjects": ["w.>"], "retention": "workqueue" });
    stream(connection, config).await;
    for (number, subject) in subjects.iter().enumerate() {
        consumer(connection, &format!("c{number}"), subject, ack_wait).await;
        let stored = connection.publish_stored(subject, Headers::new(), payload("x"), SECOND);
        stored.await.unwrap();
    }
}

async fn consumer(connection: &Connection, name: &str, filter: &str, ack_wait: Duration) {
    let config = json!({ "stream_name": "W", "config": {
        "durable_name": name, "filter_subject": filter, "ack_policy": "explicit",
        "ack_wait": ack_wait.as_nanos() as u64, "max_deliver": -1,
    }});
    let call = format!("CONSUMER.DURABLE.CREATE.W.{name}");
    connection.call::<Value>(&call, &config).await.unwrap();
}

/// Stores, pulls in batches of many sizes and acknowledges; each message comes once, and each pull
/// ends. What is lost or sent to nobody would come after the ack wait, a second time.
async fn every_message_comes_once(connection: &Connection, replicas: u64) {
    let config = json!({
        "name": "W", "subjects": ["w.>"], "retention": "workqueue", "num_replicas": replicas,
    });
    stream(connection, config).await;
    let config = json!({ "stream_name": "W", "config": {
        "durable_name": "c", "ack_policy": "explicit", "ack_wait": 30_000_000_000_u64, "max_deliver": -1,
    }});
    let made = connection.call::<Value>("CONSUMER.DURABLE.CREATE.W.c", &config);
    made.await.unwrap();
    let puller = connection.puller("W", "c");
    for round in 0..40 {
        let batch = [1, 2, 3, 7, 50][round % 5];
        let expires = [Duration::ZERO, 20 * SECOND][round % 2];
        for _ in 0..batch {
            connection
                .store("w.a", &nuid::next(), Headers::new(), payload("x"))
                .await
                .unwrap();
        }
        let mut came = 0;
        let start = Instant::now();
        while came < batch {
            assert!(
                start.elapsed() < 10 * SECOND,
                "round {round}: {came} of {batch}"
            );
            // Also more than there is.
            let most = if expires.is_zero() {
                2 * batch
            } else {
                batch - came
            };
            let mut pull = puller.pull(most, expires).await.unwrap();
            while let Some(delivered) = pull.next().await {
                let delivered = delivered.unwrap();
                assert_eq!(delivered.info.deliveries, 1, "round {round}");
                delivered.acker.ack_confirmed().await.unwrap();
                came += 1;
            }
        }
    }
    let start = Instant::now();
    while left_in(connection, "W").await > 0 {
        assert!(
            start.elapsed() < 10 * SECOND,
            "an acknowledged message stays"
        );
    }
    assert_eq!(puller.idle_inboxes(), 1);
}

pub(super) async fn left_in(connection: &Connection, stream: &str) -> u64 {
    let info: Value = connection
        .call(&format!("STREAM.INFO.{stream}"), &json!(null))
        .await
        .unwrap();
    info["state"]["messages"].as_u64().unwrap()
}

pub(super) async fn take(pull: &mut Pull) -> JetStreamMessage {
    pull.next().await.unwrap().unwrap()
}

#[tokio::test]
async fn every_message_comes_once_on_one_server() {
    let server = TestServer::start().await;
    let transport = server.connect().await;
    every_message_comes_once(transport.connection(Role::Work), 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_message_comes_once_on_three_servers() {
    let cluster = Cluster::start(3).await;
    let transport = Transport::connect(cluster.spec()).await.unwrap();
    let connection = transport.connection(Role::Work);
    every_message_comes_once(connection, 3).await;
}

#[tokio::test]
async fn a_pull_brings_what_is_there_and_ends() {
    let server = TestServer::start().await;
    let transport = server.connect().await;
    let connection = transport.connection(Role::Work);
    work(connection, 5, 30 * SECOND).await;
    let puller = connection.puller("W", "c");
    let mut pull = puller.pull(3, 20 * SECOND).await.unwrap();
    for n in 0..3_u64 {
        let delivered = take(&mut pull).await;
        assert_eq!(delivered.message.payload, payload(&n.to_string()));
        assert_eq!(delivered.message.subject, "w.a");
        assert_eq!(delivered.message.reply, None);
        let info = &delivered.info;
        assert_eq!((info.stream.as_str(), info.consumer.as_str()), ("W", "c"));
        assert_eq!(
            (info.stream_sequence, info.deliveries, info.pending),
            (n + 1, 1, 4 - n)
        );
        delivered.acker.ack_confirmed().await.unwrap();
    }
    assert!(pull.next().await.is_none());
    assert!(pull.next().await.is_none());
    assert_eq!(left_in(connection, "W").await, 2);

    // What is there now, at once.
    let mut pull = puller.pull(10, Duration::ZERO).await.unwrap();
    take(&mut pull).await.acker.ack_confirmed().await.unwrap();
    take(&mut pull).await.acker.ack_confirmed().await.unwrap();
    assert!(pull.next().await.is_none());
    let mut pull = puller.pull(10, Duration::ZERO).await.unwrap();
    assert!(pull.next().await.is_none());
    // The server's word has ended them: after a silence the inbox would not be kept.
    assert_eq!(puller.idle_inboxes(), 1);
    assert_eq!(left_in(connection, "W").await, 0);
}

#[tokio::test]
async fn a_standing_pull_waits_and_its_inbox_is_used_again() {
    let server = TestServer::start().await;
    let transport = server.connect().await;
    let connection = transport.connection(Role::Work);
    work(connection, 0, 30 * SECOND).await;
    let puller = connection.puller("W", "c");
    let mut pull = puller.pull(1, Duration::from_millis(200)).await.unwrap();
    assert!(pull.next().await.is_none());
    for n in 0..50 {
        let mut pull = puller.pull(1, 20 * SECOND).await.unwrap();
        let publish = connection.publish_stored("w.a", Headers::new(), payload("x"), SECOND);
        let (delivered, stored) = tokio::join!(pull.next(), publish);
        stored.unwrap();
        let delivered = delivered.unwrap().unwrap();
        assert_eq!(delivered.info.stream_sequence, n + 1);
        delivered.acker.ack_confirmed().await.unwrap();
        assert!(pull.next().await.is_none());
    }
    assert_eq!(puller.idle_inboxes(), 1);
}

#[tokio::test]
async fn a_pull_from_a_consumer_that_is_not_there_or_goes_away_says_so() {
    let server = TestServer::start().await;
    let transport = server.connect().await;
    let connection = transport.connection(Role::Work);
    work(connection, 0, 30 * SECOND).await;
    for (stream, consumer) in [("W", "nobody"), ("NOTHING", "c")] {
        let pull = connection
            .puller(stream, consumer)
            .pull(1, 20 * SECOND)
            .await;
        assert!(matches!(pull, Err(TransportError::NotFound(_))), "{pull:?}");
    }
    let puller = connection.puller("W", "c");
    let mut pull = puller.pull(1, 2 * DEADLINE).await.unwrap();
    let (ended, deleted) = tokio::join!(by("the end of the pull", pull.next()), async {
        connection.round_trip(SECOND).await.unwrap();
        connection
            .call::<Value>("CONSUMER.DELETE.W.c", &json!(null))
            .await
    });
    deleted.unwrap();
    let error = ended.unwrap().unwrap_err();
    assert!(matches!(error, TransportError::NotFound(_)), "{error:?}");
    assert!(pull.next().await.is_none());
    let again = puller.pull(1, SECOND).await;
    assert!(
        matches!(again, Err(TransportError::NotFound(_))),
        "{again:?}"
    );
    let invalid = connection.puller("W.>", "c").pull(1, SECOND).await;
    assert!(matches!(invalid, Err(TransportError::Invalid(_))));
}

#[tokio::test]
async fn a_pull_ends_with_the_connection_and_the_next_one_goes_on() {
    let mut server = TestServer::start().await;
    let transport = server.connect().await;
    let connection = transport.connection(Role::Work);
    work(connection, 1, SECOND).await;
    let puller = connection.puller("W", "c");
    let lost = take(&mut puller.pull(1, 20 * SECOND).await.unwrap()).await;
    let mut pull = puller.pull(1, 2 * DEADLINE).await.unwrap();
    server.stop();
    let ended = by("the end of the pull", pull.next()).await;
    let error = ended.unwrap().unwrap_err();
    assert!(matches!(error, TransportError::Unavailable(_)), "{error:?}");
    let refused = puller.pull(1, SECOND).await;
    assert!(
        matches!(refused, Err(TransportError::Unavailable(_))),
        "{refused:?}"
    );
    server.start_again().await;
    until("the connection is up", || connection.is_connected()).await;
    let again = take(&mut puller.pull(1, 20 * SECOND).await.unwrap()).await;
    assert_eq!(again.info.stream_sequence, lost.info.stream_sequence);
    // How often it was delivered may be forgotten: the server was killed.
    again.acker.ack_confirmed().await.unwrap();
}

#[tokio::test]
async fn a_consumer_at_its_limit_of_unacknowledged_messages_is_no_failure() {
    let server = TestServer::start().await;
    let transport = server.connect().await;
    let connection = transport.connection(Role::Work);
    work(connection, 5, 60 * SECOND).await;
    let config = json!({ "stream_name": "W", "config": {
        "durable_name": "c", "ack_policy": "explicit", "ack_wait": 60_000_000_000_u64,
        "max_deliver": -1, "max_ack_pending": 3,
    }});
    let made = connection.call::<Value>("CONSUMER.DURABLE.CREATE.W.c", &config);
    made.await.unwrap();
    let puller = connection.puller("W", "c");
    let mut pull = puller.pull(5, Duration::ZERO).await.unwrap();
    let mut held = Vec::new();
    while let Some(delivered) = pull.next().await {
        held.push(delivered.unwrap());
    }
    assert_eq!(held.len(), 3);
    let mut full = puller.pull(5, Duration::ZERO).await.unwrap();
    assert!(full.next().await.is_none());
    let mut standing = puller.pull(1, SECOND).await.unwrap();
    assert!(standing.next().await.is_none());
    for delivered in held {
        delivered.acker.ack_confirmed().await.unwrap();
    }
    // The pulls that were not answered have not taken the rest with them.
    for _ in 0..2 {
        let again = take(&mut puller.pull(1, 5 * SECOND).await.unwrap()).await;
        again.acker.ack_confirmed().await.unwrap();
    }
    assert_eq!(left_in(connection, "W").await, 0);
}

#[tokio::test]
async fn a_pull_is_bounded_in_bytes() {
    let server = TestServer::start().await;
    let transport = server.connect().await;
    let connection = transport.connection(Role::Work);
    work(connection, 0, 30 * SECOND).await;
    let large = "x".repeat(1024 * 1024 - 4096);
    for _ in 0..40 {
        connection
            .publish_stored("w.a", Headers::new(), payload(&large), 5 * SECOND)
            .await
            .unwrap();
    }
    let puller = connection.puller("W", "c");
    let mut pull = puller.pull(100, 20 * SECOND).await.unwrap();
    let mut came = 0;
    while let Some(delivered) = pull.next().await {
        delivered.unwrap().acker.ack().await.unwrap();
        came += 1;
    }
    assert!((20..40).contains(&came), "{came}");
}
