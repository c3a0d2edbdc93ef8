//! Publishing into streams.

use serde_json::json;

use super::{SECOND, payload, stream};
use crate::testing::{Connect as _, TestServer};
use crate::{Headers, Role, TransportError};

#[tokio::test]
async fn a_stored_message_has_a_sequence_and_a_repeated_id_is_a_duplicate() {
    let server = TestServer::start().await;
    let transport = server.connect().await;
    let connection = transport.connection(Role::Work);
    stream(connection, json!({ "name": "S", "subjects": ["s.>"] })).await;
    let stored = connection
        .publish_stored("s.a", Headers::new(), payload("x"), SECOND)
        .await
        .unwrap();
    assert_eq!(
        (stored.stream.as_str(), stored.sequence, stored.duplicate),
        ("S", 1, false)
    );
    for duplicate in [false, true] {
        let stored = connection
            .store("s.a", "S:1:2:result", Headers::new(), payload("y"))
            .await
            .unwrap();
        assert_eq!((stored.sequence, stored.duplicate), (2, duplicate));
    }
}

#[tokio::test]
async fn no_stream_a_full_stream_and_a_large_message_are_told_at_once() {
    let server = TestServer::start().await;
    let transport = server.connect().await;
    let connection = transport.connection(Role::Work);
    let nothing = connection
        .publish_stored("s.a", Headers::new(), payload("x"), SECOND)
        .await;
    assert!(
        matches!(nothing, Err(TransportError::NotFound(_))),
        "{nothing:?}"
    );
    let nothing = connection
        .store("s.a", "id", Headers::new(), payload("x"))
        .await;
    assert!(
        matches!(nothing, Err(TransportError::NotFound(_))),
        "{nothing:?}"
    );
    stream(
        connection,
        json!({
            "name": "S", "subjects": ["s.>"], "discard": "new", "max_msgs_per_subject": 1,
            "discard_new_per_subject": true, "max_msgs": 2, "max_msg_size": 100,
        }),
    )
    .await;
    let put = |subject: &'static str, size: usize| {
        let text = "x".repeat(size);
        async move {
            connection
                .publish_stored(subject, Headers::new(), payload(&text), SECOND)
                .await
        }
    };
    put("s.a", 1).await.unwrap();
    let full = put("s.a", 1).await;
    assert!(matches!(full, Err(TransportError::Full(_))), "{full:?}");
    let large = put("s.b", 200).await;
    assert!(
        matches!(large, Err(TransportError::TooLarge(_))),
        "{large:?}"
    );
    put("s.b", 1).await.unwrap();
    let full = put("s.c", 1).await;
    assert!(matches!(full, Err(TransportError::Full(_))), "{full:?}");
    let full = connection
        .store("s.c", "id", Headers::new(), payload("x"))
        .await;
    assert!(matches!(full, Err(TransportError::Full(_))), "{full:?}");
}

#[tokio::test]
async fn storing_outlives_a_restart_of_the_server() {
    let mut server = TestServer::start().await;
    let transport = server.connect().await;
    let connection = transport.connection(Role::Work).clone();
    stream(&connection, json!({ "name": "S", "subjects": ["s"] })).await;
    server.stop();
    let storing = tokio::spawn(async move {
        connection
            .store("s", "id", Headers::new(), payload("x"))
            .await
    });
    server.start_again().await;
    let stored = storing.await.unwrap().unwrap();
    assert_eq!((stored.sequence, stored.duplicate), (1, false));
}

#[tokio::test]
async fn without_jetstream_it_says_so() {
    let server = TestServer::start_with("# no jetstream").await;
    let transport = server.connect().await;
    assert!(!transport.state().jetstream);
    let refused = transport
        .connection(Role::Work)
        .publish_stored("s", Headers::new(), payload("x"), SECOND)
        .await;
    let Err(TransportError::Unavailable(text)) = refused else {
        panic!("{refused:?}");
    };
    assert!(text.contains("JetStream"), "{text}");
}

#[tokio::test]
async fn silence_is_explained_by_what_answers_in_spite_of_it() {
    let server = TestServer::start().await;
    let transport = server.connect().await;
    let connection = transport.connection(Role::Work);
    // A stream that never says that it has stored something, as with a broken disk.
    let silent = json!({ "name": "S", "subjects": ["s.>"], "no_ack": true });
    stream(connection, silent).await;
    let wait = std::time::Duration::from_millis(200);
    let stored = connection
        .publish_stored("s.a", Headers::new(), payload("x"), wait)
        .await;
    assert_eq!(stored, Err(TransportError::Timeout));
    let why = connection.why_silent("s.a").await;
    assert!(why.is_transient());
    let why = why.to_string();
    for words in ["no answer in time", "stream \"S\"", "its disk is full"] {
        assert!(why.contains(words), "{why}");
    }
    let why = connection.why_silent("t.a").await.to_string();
    assert!(why.contains("no stream captures"), "{why}");
    server.pause();
    let why = connection.why_silent("s.a").await.to_string();
    server.resume();
    assert!(why.contains("answers no request at all"), "{why}");
}
