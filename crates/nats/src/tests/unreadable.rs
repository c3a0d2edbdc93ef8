//! What other clients may publish, and the library stumbles over.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{SECOND, payload, stream};
use crate::testing::{Connect as _, TestServer, until};
use crate::unreadable::tests::CASES;
use crate::{Connection, Headers, Role, TransportError};

#[tokio::test]
async fn the_library_reads_what_we_say_it_reads() {
    let server = TestServer::start().await;
    for (subject, headers, readable) in CASES {
        // A fresh client each time: this one is only for watching.
        let transport = server.connect().await;
        let connection = transport.connection(Role::Bulk);
        let mut subscription = connection.subscribe("w.>", None).await.unwrap();
        connection.round_trip(SECOND).await.unwrap();
        server.publish_raw(subject, headers, b"x").await;
        if *readable {
            assert_eq!(subscription.next().await.unwrap().payload, payload("x"));
            assert_eq!(connection.reconnects(), 0, "{subject:?} {headers:?}");
        } else {
            let ends = || connection.reconnects() > 0 || !connection.is_connected();
            until("the connection breaks, or ends", ends).await;
        }
    }
}

async fn work(connection: &Connection) {
    stream(
        connection,
        json!({ "name": "W", "subjects": ["w.>"], "retention": "workqueue" }),
    )
    .await;
    let config = json!({ "stream_name": "W", "config": {
        "durable_name": "c", "ack_policy": "explicit", "ack_wait": 1_000_000_000, "max_deliver": -1,
        "filter_subject": "w.*",
    }});
    connection
        .call::<Value>("CONSUMER.DURABLE.CREATE.W.c", &config)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_poisoned_item_is_found_and_the_others_go_on() {
    let server = TestServer::start().await;
    let transport = server.connect().await;
    let connection = transport.connection(Role::Work);
    work(connection).await;
    let puller = connection.puller("W", "c");
    assert_eq!(puller.unreadable(10).await, Ok(vec![]));
    for text in ["a", "b"] {
        connection
            .publish_stored("w.a", Headers::new(), payload(text), SECOND)
            .await
            .unwrap();
    }
    server
        .publish_raw("w.bad", b"NATS/1.0\r\nno colon\r\n\r\n", b"poison")
        .await;
    let broken = loop {
        let pulled = match puller.pull(10, 20 * SECOND).await {
            Ok(mut pull) => pull.next().await,
            Err(error) => Some(Err(error)),
        };
        if let Some(Err(error)) = pulled {
            break error;
        }
    };
    assert!(
        matches!(broken, TransportError::Unavailable(_)),
        "{broken:?}"
    );
    connection.connected().await;
    let found = puller.unreadable(10).await.unwrap();
    let [found] = found.as_slice() else {
        panic!("{found:?}")
    };
    assert_eq!(
        (found.subject.as_str(), &found.payload),
        ("w.bad", &payload("poison"))
    );
    assert_eq!(
        (found.info.stream.as_str(), found.info.stream_sequence),
        ("W", 3)
    );
    assert_eq!(found.problem, "a header is malformed");
    assert!(found.info.output_id("dlq").ends_with(":dlq") && found.info.stored_at_ns > 0);
    assert!(connection.stream("W").unwrap().delete(3).await.unwrap());

    let reconnects = connection.reconnects();
    let mut left = 2;
    let start = Instant::now();
    while left > 0 {
        let mut pull = puller.pull(10, Duration::from_millis(500)).await.unwrap();
        while let Some(delivered) = pull.next().await {
            delivered.unwrap().acker.ack_confirmed().await.unwrap();
            left -= 1;
        }
        assert!(start.elapsed() < 20 * SECOND);
    }
    assert_eq!(connection.reconnects(), reconnects);
    assert_eq!(puller.unreadable(10).await, Ok(vec![]));
}

#[tokio::test]
async fn a_status_in_a_stored_message_is_not_the_server_s_word() {
    let server = TestServer::start().await;
    let transport = server.connect().await;
    let connection = transport.connection(Role::Work);
    work(connection).await;
    let statuses = [
        "100 Idle",
        "404 No Messages",
        "408 Request Timeout",
        "409 Consumer Deleted",
        "503",
    ];
    for status in statuses {
        server
            .publish_raw("w.a", format!("NATS/1.0 {status}\r\n\r\n").as_bytes(), b"x")
            .await;
    }
    let mut pull = connection
        .puller("W", "c")
        .pull(statuses.len(), 10 * SECOND)
        .await
        .unwrap();
    for status in statuses {
        println!("{status}");
        let delivered = pull.next().await.unwrap().unwrap();
        assert_eq!(delivered.message.payload, payload("x"));
        delivered.acker.ack_confirmed().await.unwrap();
    }
    assert!(pull.next().await.is_none());
}
