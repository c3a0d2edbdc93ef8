//! Looking into a stream.

use serde_json::json;

use super::{SECOND, payload, stream};
use crate::testing::{Connect as _, TestServer};
use crate::{Connection, Headers, Role, TransportError};

/// A stream of five messages: 1, 3, 5 on `s.odd`, 2, 4 on `s.even`.
async fn five(connection: &Connection) {
    stream(connection, json!({ "name": "S", "subjects": ["s.>"] })).await;
    for number in 1..=5 {
        let subject = if number % 2 == 1 { "s.odd" } else { "s.even" };
        let mut headers = Headers::new();
        headers.insert("X-Number", &number.to_string()).unwrap();
        let data = payload(&number.to_string());
        let stored = connection
            .publish_stored(subject, headers, data, SECOND)
            .await;
        assert_eq!(stored.unwrap().sequence, number);
    }
}

#[tokio::test]
async fn messages_are_read_one_by_one_and_removed() {
    let server = TestServer::start().await;
    let transport = server.connect().await;
    let connection = transport.connection(Role::Control);
    five(connection).await;
    let view = connection.stream("S").unwrap();

    let message = view.message(3).await.unwrap().unwrap();
    assert_eq!((message.subject.as_str(), message.sequence), ("s.odd", 3));
    assert_eq!(message.payload, payload("3"));
    assert_eq!(message.headers.get("x-number"), Some("3"));

    let next = async |from, filter| view.next(from, filter).await.unwrap().map(|m| m.sequence);
    assert_eq!(next(0, "s.>").await, Some(1));
    assert_eq!(next(2, "s.odd").await, Some(3));
    assert_eq!(next(5, "s.even").await, None);
    assert!(view.next(1, "s. x").await.is_err());

    assert_eq!(view.delete(3).await, Ok(true));
    assert_eq!(view.delete(3).await, Ok(false));
    assert_eq!(view.delete(99).await, Ok(false));
    assert_eq!(view.message(3).await, Ok(None));
    assert_eq!(next(2, "s.odd").await, Some(5));
}

#[tokio::test]
async fn a_purge_keeps_to_its_filter_and_its_bound() {
    let server = TestServer::start().await;
    let transport = server.connect().await;
    let connection = transport.connection(Role::Control);
    five(connection).await;
    let view = connection.stream("S").unwrap();
    assert_eq!(view.purge("s.>", 0).await, Ok(0));
    assert_eq!(view.purge("s.>", 1).await, Ok(0));
    assert_eq!(view.purge("s.odd", 4).await, Ok(2));
    assert_eq!(view.purge("s.none", 6).await, Ok(0));
    let facts = view.facts().await.unwrap();
    assert_eq!((facts.messages, facts.first, facts.last), (3, 2, 5));
    assert_eq!(view.purge("s.>", 6).await, Ok(3));
}

#[tokio::test]
async fn subjects_and_consumers_are_listed() {
    let server = TestServer::start().await;
    let transport = server.connect().await;
    let connection = transport.connection(Role::Control);
    five(connection).await;
    let view = connection.stream("S").unwrap();
    let subjects = view.subjects("s.>", 10).await.unwrap();
    assert_eq!(subjects.get("s.odd"), Some(&3));
    assert_eq!(subjects.get("s.even"), Some(&2));
    assert_eq!(view.subjects("s.>", 1).await.unwrap().len(), 1);
    assert!(view.subjects("s.none", 10).await.unwrap().is_empty());

    assert_eq!(view.consumers(10).await, Ok(Vec::new()));
    let config = json!({ "stream_name": "S", "config": {
        "durable_name": "d", "filter_subject": "s.odd", "ack_policy": "explicit",
    }});
    let call = "CONSUMER.DURABLE.CREATE.S.d";
    connection
        .call::<serde_json::Value>(call, &config)
        .await
        .unwrap();
    let consumers = view.consumers(10).await.unwrap();
    assert_eq!(consumers.len(), 1);
    assert_eq!(consumers[0].filters, ["s.odd"]);
    assert_eq!((consumers[0].waiting, consumers[0].in_flight), (3, 0));
}

#[tokio::test]
async fn a_stream_that_is_not_there_is_told_by_name() {
    let server = TestServer::start().await;
    let transport = server.connect().await;
    let connection = transport.connection(Role::Control);
    let view = connection.stream("NONE").unwrap();
    let missing = TransportError::NotFound("there is no stream \"NONE\"".to_owned());
    assert_eq!(view.facts().await, Err(missing.clone()));
    assert_eq!(view.message(1).await, Err(missing.clone()));
    assert_eq!(view.purge(">", 9).await, Err(missing));
    assert!(connection.stream("A.B").is_err());
}
