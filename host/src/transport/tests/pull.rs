//! Pulling from consumers, and deciding the fate of what came.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::cluster::ready;
use super::{SECOND, payload, stream};
use crate::transport::testing::{Cluster, TestServer, until};
use crate::transport::{Delivered, Headers, Link, Pull, Role, Transport, TransportError};

/// A work queue `W` on `w.>` with a consumer `c`, and so many messages in it.
async fn work(link: &Link, messages: usize, ack_wait: Duration) {
    stream(
        link,
        json!({ "name": "W", "subjects": ["w.>"], "retention": "workqueue" }),
    )
    .await;
    let config = json!({ "stream_name": "W", "config": {
        "durable_name": "c", "ack_policy": "explicit", "ack_wait": ack_wait.as_nanos() as u64, "max_deliver": -1,
    }});
    link.call::<Value>("CONSUMER.DURABLE.CREATE.W.c", &config)
        .await
        .unwrap();
    for n in 0..messages {
        let stored = link.publish_stored("w.a", Headers::new(), payload(&n.to_string()), SECOND);
        stored.await.unwrap();
    }
}

/// Stores, pulls in batches of many sizes and acknowledges; each message comes once, and each pull
/// ends. What is lost or sent to nobody would come after the ack wait, a second time.
async fn every_message_comes_once(link: &Link, replicas: u64) {
    let config = json!({
        "name": "W", "subjects": ["w.>"], "retention": "workqueue", "num_replicas": replicas,
    });
    stream(link, config).await;
    let config = json!({ "stream_name": "W", "config": {
        "durable_name": "c", "ack_policy": "explicit", "ack_wait": 30_000_000_000_u64, "max_deliver": -1,
    }});
    let made = link.call::<Value>("CONSUMER.DURABLE.CREATE.W.c", &config);
    made.await.unwrap();
    let puller = link.puller("W", "c");
    for round in 0..40 {
        let batch = [1, 2, 3, 7, 50][round % 5];
        let expires = [Duration::ZERO, 20 * SECOND][round % 2];
        for _ in 0..batch {
            link.store("w.a", &nuid::next(), Headers::new(), payload("x"))
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
                assert_eq!(delivered.meta.deliveries, 1, "round {round}");
                delivered.fate.ack_confirmed().await.unwrap();
                came += 1;
            }
        }
    }
    let start = Instant::now();
    while left_in(link, "W").await > 0 {
        assert!(
            start.elapsed() < 10 * SECOND,
            "an acknowledged message stays"
        );
    }
    assert_eq!(puller.idle_inboxes(), 1);
}

#[tokio::test]
async fn every_message_comes_once_on_one_server() {
    let server = TestServer::start().await;
    let transport = server.connect().await;
    every_message_comes_once(transport.link(Role::Work), 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_message_comes_once_on_three_servers() {
    let cluster = Cluster::start(3).await;
    let transport = Transport::connect(cluster.spec()).await.unwrap();
    let link = transport.link(Role::Work);
    ready(link).await;
    every_message_comes_once(link, 3).await;
}

async fn left_in(link: &Link, stream: &str) -> u64 {
    let info: Value = link
        .call(&format!("STREAM.INFO.{stream}"), &json!(null))
        .await
        .unwrap();
    info["state"]["messages"].as_u64().unwrap()
}

async fn take(pull: &mut Pull) -> Delivered {
    pull.next().await.unwrap().unwrap()
}

#[tokio::test]
async fn a_pull_brings_what_is_there_and_ends() {
    let server = TestServer::start().await;
    let transport = server.connect().await;
    let link = transport.link(Role::Work);
    work(link, 5, 30 * SECOND).await;
    let puller = link.puller("W", "c");
    let mut pull = puller.pull(3, 20 * SECOND).await.unwrap();
    for n in 0..3_u64 {
        let delivered = take(&mut pull).await;
        assert_eq!(delivered.message.payload, payload(&n.to_string()));
        assert_eq!(delivered.message.subject, "w.a");
        assert_eq!(delivered.message.reply, None);
        let meta = &delivered.meta;
        assert_eq!((meta.stream.as_str(), meta.consumer.as_str()), ("W", "c"));
        assert_eq!(
            (meta.stream_sequence, meta.deliveries, meta.pending),
            (n + 1, 1, 4 - n)
        );
        delivered.fate.ack_confirmed().await.unwrap();
    }
    assert!(pull.next().await.is_none());
    assert!(pull.next().await.is_none());
    assert_eq!(left_in(link, "W").await, 2);

    // What is there now, at once.
    let start = Instant::now();
    let mut pull = puller.pull(10, Duration::ZERO).await.unwrap();
    take(&mut pull).await.fate.ack_confirmed().await.unwrap();
    take(&mut pull).await.fate.ack_confirmed().await.unwrap();
    assert!(pull.next().await.is_none());
    let mut pull = puller.pull(10, Duration::ZERO).await.unwrap();
    assert!(pull.next().await.is_none());
    assert!(start.elapsed() < 2 * SECOND);
    assert_eq!(left_in(link, "W").await, 0);
}

#[tokio::test]
async fn a_standing_pull_waits_and_its_inbox_is_used_again() {
    let server = TestServer::start().await;
    let transport = server.connect().await;
    let link = transport.link(Role::Work);
    work(link, 0, 30 * SECOND).await;
    let puller = link.puller("W", "c");
    let mut pull = puller.pull(1, Duration::from_millis(200)).await.unwrap();
    assert!(pull.next().await.is_none());
    for n in 0..50 {
        let mut pull = puller.pull(1, 20 * SECOND).await.unwrap();
        let publish = link.publish_stored("w.a", Headers::new(), payload("x"), SECOND);
        let (delivered, stored) = tokio::join!(pull.next(), publish);
        stored.unwrap();
        let delivered = delivered.unwrap().unwrap();
        assert_eq!(delivered.meta.stream_sequence, n + 1);
        delivered.fate.ack_confirmed().await.unwrap();
        assert!(pull.next().await.is_none());
    }
    assert_eq!(puller.idle_inboxes(), 1);
}

#[tokio::test]
async fn a_nak_waits_a_progress_holds_and_a_term_ends() {
    let server = TestServer::start().await;
    let transport = server.connect().await;
    let link = transport.link(Role::Work);
    work(link, 1, SECOND).await;
    let puller = link.puller("W", "c");
    let first = take(&mut puller.pull(1, 5 * SECOND).await.unwrap()).await;
    let start = Instant::now();
    first.fate.nak(Duration::from_millis(400)).await.unwrap();
    let second = take(&mut puller.pull(1, 5 * SECOND).await.unwrap()).await;
    assert!(
        start.elapsed() >= Duration::from_millis(390),
        "{:?}",
        start.elapsed()
    );
    assert_eq!(second.meta.deliveries, 2);
    assert_eq!(
        second.meta.output_id("result"),
        first.meta.output_id("result")
    );
    // Longer than the ack wait.
    for _ in 0..6 {
        tokio::time::sleep(Duration::from_millis(300)).await;
        second.fate.progress().await.unwrap();
    }
    let mut other = puller.pull(1, Duration::ZERO).await.unwrap();
    assert!(
        other.next().await.is_none(),
        "it was delivered twice at once"
    );
    second.fate.term_confirmed().await.unwrap();
    assert_eq!(left_in(link, "W").await, 0);
}

#[tokio::test]
async fn a_confirmed_ack_is_an_error_when_nobody_confirms() {
    let server = TestServer::start().await;
    let transport = server.connect().await;
    let link = transport.link(Role::Work);
    work(link, 1, 30 * SECOND).await;
    let delivered = take(&mut link.puller("W", "c").pull(1, SECOND).await.unwrap()).await;
    link.call::<Value>("STREAM.DELETE.W", &json!(null))
        .await
        .unwrap();
    let confirmed = delivered.fate.ack_confirmed().await;
    assert!(
        matches!(confirmed, Err(TransportError::Unavailable(_))),
        "{confirmed:?}"
    );
}

#[tokio::test]
async fn a_dropped_pull_gives_back_what_it_did_not_hand_out() {
    let server = TestServer::start().await;
    let transport = server.connect().await;
    let link = transport.link(Role::Work);
    work(link, 10, 60 * SECOND).await;
    let puller = link.puller("W", "c");
    let mut pull = puller.pull(10, 20 * SECOND).await.unwrap();
    take(&mut pull).await.fate.ack_confirmed().await.unwrap();
    drop(pull);
    let start = Instant::now();
    let mut again = 0;
    while again < 9 {
        let mut pull = puller.pull(9 - again, 20 * SECOND).await.unwrap();
        while let Some(delivered) = pull.next().await {
            delivered.unwrap().fate.ack_confirmed().await.unwrap();
            again += 1;
        }
    }
    assert!(start.elapsed() < 10 * SECOND, "only after the ack wait");
    assert_eq!(left_in(link, "W").await, 0);
}

#[tokio::test]
async fn a_pull_from_a_consumer_that_is_not_there_or_goes_away_says_so() {
    let server = TestServer::start().await;
    let transport = server.connect().await;
    let link = transport.link(Role::Work);
    work(link, 0, 30 * SECOND).await;
    for (stream, consumer) in [("W", "nobody"), ("NOTHING", "c")] {
        let pull = link.puller(stream, consumer).pull(1, 20 * SECOND).await;
        assert!(matches!(pull, Err(TransportError::NotFound(_))), "{pull:?}");
    }
    let puller = link.puller("W", "c");
    let mut pull = puller.pull(1, 60 * SECOND).await.unwrap();
    let start = Instant::now();
    let (ended, deleted) = tokio::join!(pull.next(), async {
        link.round_trip(SECOND).await.unwrap();
        link.call::<Value>("CONSUMER.DELETE.W.c", &json!(null))
            .await
    });
    deleted.unwrap();
    let error = ended.unwrap().unwrap_err();
    assert!(matches!(error, TransportError::NotFound(_)), "{error:?}");
    assert!(start.elapsed() < 5 * SECOND);
    assert!(pull.next().await.is_none());
    let again = puller.pull(1, SECOND).await;
    assert!(
        matches!(again, Err(TransportError::NotFound(_))),
        "{again:?}"
    );
    let invalid = link.puller("W.>", "c").pull(1, SECOND).await;
    assert!(matches!(invalid, Err(TransportError::Invalid(_))));
}

#[tokio::test]
async fn a_pull_ends_with_the_connection_and_the_next_one_goes_on() {
    let mut server = TestServer::start().await;
    let transport = server.connect().await;
    let link = transport.link(Role::Work);
    work(link, 1, SECOND).await;
    let puller = link.puller("W", "c");
    let lost = take(&mut puller.pull(1, 20 * SECOND).await.unwrap()).await;
    let mut pull = puller.pull(1, 60 * SECOND).await.unwrap();
    let start = Instant::now();
    server.stop();
    let error = pull.next().await.unwrap().unwrap_err();
    assert!(matches!(error, TransportError::Unavailable(_)), "{error:?}");
    assert!(start.elapsed() < 5 * SECOND);
    let refused = puller.pull(1, SECOND).await;
    assert!(
        matches!(refused, Err(TransportError::Unavailable(_))),
        "{refused:?}"
    );
    server.start_again().await;
    until("the link is up", || link.is_connected()).await;
    let again = take(&mut puller.pull(1, 20 * SECOND).await.unwrap()).await;
    assert_eq!(again.meta.stream_sequence, lost.meta.stream_sequence);
    // How often it was delivered may be forgotten: the server was killed.
    again.fate.ack_confirmed().await.unwrap();
}

#[tokio::test]
async fn a_consumer_at_its_limit_of_unacknowledged_messages_is_no_failure() {
    let server = TestServer::start().await;
    let transport = server.connect().await;
    let link = transport.link(Role::Work);
    work(link, 5, 60 * SECOND).await;
    let config = json!({ "stream_name": "W", "config": {
        "durable_name": "c", "ack_policy": "explicit", "ack_wait": 60_000_000_000_u64,
        "max_deliver": -1, "max_ack_pending": 3,
    }});
    let made = link.call::<Value>("CONSUMER.DURABLE.CREATE.W.c", &config);
    made.await.unwrap();
    let puller = link.puller("W", "c");
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
        delivered.fate.ack_confirmed().await.unwrap();
    }
    // The pulls that were not answered have not taken the rest with them.
    for _ in 0..2 {
        let again = take(&mut puller.pull(1, 5 * SECOND).await.unwrap()).await;
        again.fate.ack_confirmed().await.unwrap();
    }
    assert_eq!(left_in(link, "W").await, 0);
}

#[tokio::test]
async fn a_pull_is_bounded_in_bytes() {
    let server = TestServer::start().await;
    let transport = server.connect().await;
    let link = transport.link(Role::Work);
    work(link, 0, 30 * SECOND).await;
    let large = "x".repeat(1024 * 1024 - 4096);
    for _ in 0..40 {
        link.publish_stored("w.a", Headers::new(), payload(&large), 5 * SECOND)
            .await
            .unwrap();
    }
    let puller = link.puller("W", "c");
    let mut pull = puller.pull(100, 20 * SECOND).await.unwrap();
    let mut came = 0;
    while let Some(delivered) = pull.next().await {
        delivered.unwrap().fate.ack().await.unwrap();
        came += 1;
    }
    assert!((20..40).contains(&came), "{came}");
}

#[tokio::test]
async fn what_is_on_its_way_to_a_pull_that_is_taken_back_is_not_lost() {
    let server = TestServer::start().await;
    let (ours, others) = (server.connect().await, server.connect().await);
    let link = ours.link(Role::Work);
    work(link, 0, 30 * SECOND).await;
    let puller = link.puller("W", "c");
    for n in 0..300_u64 {
        let mut pull = puller.pull(1, 20 * SECOND).await.unwrap();
        let publish = async {
            let link = others.link(Role::Work);
            let stored = link.publish_stored("w.a", Headers::new(), payload("x"), SECOND);
            stored.await.unwrap();
        };
        let taken_back = async {
            // Earlier and later than the message, which takes about as long.
            tokio::time::sleep(Duration::from_micros(n % 30 * 50)).await;
            pull.stop().await;
            pull.next().await
        };
        let (came, ()) = tokio::join!(taken_back, publish);
        let delivered = match came {
            Some(delivered) => delivered.unwrap(),
            None => take(&mut puller.pull(1, 5 * SECOND).await.unwrap()).await,
        };
        assert_eq!(delivered.meta.stream_sequence, n + 1);
        // A busy server may have sent it while the pull still waited and find nobody when it arrives. It
        // sees that, and delivers again at once; what is lost here comes after the ack wait of 30 s.
        assert!(delivered.meta.deliveries <= 2, "number {n}");
        delivered.fate.ack_confirmed().await.unwrap();
    }
}

#[tokio::test]
async fn a_pull_that_was_taken_back_does_not_swallow_what_is_delivered_again() {
    let server = TestServer::start().await;
    let transport = server.connect().await;
    let link = transport.link(Role::Work);
    work(link, 1, 30 * SECOND).await;
    let puller = link.puller("W", "c");
    let first = take(&mut puller.pull(1, 5 * SECOND).await.unwrap()).await;
    let mut standing = puller.pull(1, 20 * SECOND).await.unwrap();
    standing.stop().await;
    assert!(standing.next().await.is_none());
    first.fate.nak(Duration::from_millis(50)).await.unwrap();
    // The server finds nobody who wants the message at that moment.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let again = take(&mut puller.pull(1, 5 * SECOND).await.unwrap()).await;
    assert_eq!(again.meta.deliveries, 2);
    again.fate.ack_confirmed().await.unwrap();
}
