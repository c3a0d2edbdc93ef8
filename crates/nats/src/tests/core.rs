//! Publish, request, subscribe, reconnect, drain.

use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::testing::{Connect as _, TestServer, until};
use crate::{Headers, Role, TransportError};

use super::{SECOND, payload};

#[tokio::test]
async fn a_message_arrives_with_its_headers_and_reply() {
    let server = TestServer::start().await;
    let transport = server.connect().await;
    let connection = transport.connection(Role::Bulk);
    let mut subscription = connection.subscribe("a.*", None).await.unwrap();
    let mut headers = Headers::new();
    headers.insert("X-A", "1").unwrap();
    headers.insert("X-B", "b: 2").unwrap();
    headers.append("X-C", "3").unwrap();
    headers.append("X-C", "").unwrap();
    connection
        .publish(
            "a.b",
            Some("answers.here"),
            headers.clone(),
            payload("hello"),
        )
        .await
        .unwrap();
    let message = subscription.next().await.unwrap();
    let pairs = |headers: &Headers| -> Vec<(String, String)> {
        let pairs = headers.iter();
        let mut pairs: Vec<_> = pairs.map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
        // The client library keeps the values of a name in order, and the names in none.
        pairs.sort_by(|a, b| a.0.cmp(&b.0));
        pairs
    };
    assert_eq!(pairs(&message.headers), pairs(&headers));
    assert_eq!(message.subject, "a.b");
    assert_eq!(message.reply.as_deref(), Some("answers.here"));
    assert_eq!(message.headers.get("x-a"), Some("1"));
    assert_eq!(message.payload, payload("hello"));
}

#[tokio::test]
async fn a_queue_group_shares_messages() {
    let server = TestServer::start().await;
    let transport = server.connect().await;
    let connection = transport.connection(Role::Bulk);
    let mut first = connection.subscribe("q", Some("g")).await.unwrap();
    let mut second = connection.subscribe("q", Some("g")).await.unwrap();
    for _ in 0..20 {
        connection
            .publish("q", None, Headers::new(), Bytes::new())
            .await
            .unwrap();
    }
    let mut got = 0;
    while got < 20 {
        tokio::select! {
            message = first.next() => assert!(message.is_some()),
            message = second.next() => assert!(message.is_some()),
        }
        got += 1;
    }
    connection.round_trip(SECOND).await.unwrap();
    let more = tokio::time::timeout(Duration::from_millis(50), first.next()).await;
    assert!(more.is_err(), "a message was delivered twice");
}

#[tokio::test]
async fn requests_tell_no_responders_from_a_timeout_and_leave_nothing_behind() {
    let server = TestServer::start().await;
    let transport = server.connect().await;
    let connection = transport.connection(Role::Control);
    let ask = |subject: &'static str, wait| async move {
        connection
            .request(subject, Headers::new(), payload("?"), wait)
            .await
            .map(|m| m.payload)
    };
    let start = Instant::now();
    assert_eq!(
        ask("nobody", 5 * SECOND).await,
        Err(TransportError::NoResponders)
    );
    assert!(start.elapsed() < SECOND);

    let mut deaf = connection.subscribe("deaf", None).await.unwrap();
    connection.round_trip(SECOND).await.unwrap();
    assert_eq!(
        ask("deaf", Duration::from_millis(100)).await,
        Err(TransportError::Timeout)
    );
    assert_eq!(connection.waiting_requests(), 0);

    // The late answer is nobody's.
    let late = deaf.next().await.unwrap().reply.unwrap();
    connection
        .publish(&late, None, Headers::new(), payload("late"))
        .await
        .unwrap();
    let mut echo = connection.subscribe("echo", None).await.unwrap();
    let answer = async {
        let question = echo.next().await.unwrap();
        let reply = question.reply.unwrap();
        connection
            .publish(&reply, None, Headers::new(), question.payload)
            .await
            .unwrap();
    };
    let (answer, ()) = tokio::join!(ask("echo", 5 * SECOND), answer);
    assert_eq!(answer, Ok(payload("?")));
    assert_eq!(connection.waiting_requests(), 0);
}

#[tokio::test]
async fn what_would_break_the_connection_is_refused_before_it_is_sent() {
    let server = TestServer::start().await;
    let transport = server.connect().await;
    let connection = transport.connection(Role::Bulk);
    let long = "x".repeat(5000);
    for bad in ["", "a b", "a\r\nPUB b 0\r\n", "a..b", "a\0", &long] {
        let published = connection
            .publish(bad, None, Headers::new(), Bytes::new())
            .await;
        assert!(
            matches!(published, Err(TransportError::Invalid(_))),
            "{bad:?}"
        );
        let replied = connection
            .publish("a", Some(bad), Headers::new(), Bytes::new())
            .await;
        assert!(
            matches!(replied, Err(TransportError::Invalid(_))),
            "{bad:?}"
        );
        let subscribed = connection.subscribe(bad, None).await;
        assert!(
            matches!(subscribed, Err(TransportError::Invalid(_))),
            "{bad:?}"
        );
        let queue = connection.subscribe("a", Some(bad)).await;
        if bad != "a..b" {
            assert!(matches!(queue, Err(TransportError::Invalid(_))), "{bad:?}");
        }
        let asked = connection
            .request(bad, Headers::new(), Bytes::new(), SECOND)
            .await;
        assert!(matches!(asked, Err(TransportError::Invalid(_))), "{bad:?}");
    }
    let large = Bytes::from(vec![0; connection.max_payload() + 1]);
    let published = connection
        .publish("a", None, Headers::new(), large.clone())
        .await;
    assert!(
        matches!(published, Err(TransportError::TooLarge(_))),
        "{published:?}"
    );
    let asked = connection.request("a", Headers::new(), large, SECOND).await;
    assert!(
        matches!(asked, Err(TransportError::TooLarge(_))),
        "{asked:?}"
    );
    connection.round_trip(SECOND).await.unwrap();
    assert_eq!(transport.state().reconnects, 0);
}

#[tokio::test]
async fn a_slow_reader_loses_messages_and_is_told_how_many() {
    let server = TestServer::start().await;
    let transport = server.connect().await;
    let connection = transport.connection(Role::Bulk);
    let mut slow = connection.subscribe("flood", None).await.unwrap();
    // The last message comes over another connection: it must not be there before the subscription.
    connection.round_trip(SECOND).await.unwrap();
    let sent = 40_u64;
    for _ in 0..sent {
        let payload = Bytes::from(vec![0; 1024 * 1024 - 1024]);
        connection
            .publish("flood", None, Headers::new(), payload)
            .await
            .unwrap();
    }
    let sender = transport.connection(Role::Control);
    sender
        .publish("flood", None, Headers::new(), payload("end"))
        .await
        .unwrap();
    // The server has the last message before it answers the sender, and has sent it on before it
    // answers the reader.
    sender.round_trip(10 * SECOND).await.unwrap();
    connection.round_trip(10 * SECOND).await.unwrap();
    until("messages were dropped", || slow.dropped() > 0).await;
    let mut got = 0;
    while got + slow.dropped() < sent + 1 {
        let next = tokio::time::timeout(10 * SECOND, slow.next()).await;
        next.expect("each is handed over or counted").unwrap();
        got += 1;
    }
    assert_eq!(got + slow.dropped(), sent + 1);
    assert!(got >= 16, "{got}");
}

#[tokio::test]
async fn while_disconnected_it_says_so_at_once_and_comes_back_by_itself() {
    let mut server = TestServer::start().await;
    let transport = server.connect().await;
    let connection = transport.connection(Role::Bulk);
    let mut changes = transport.changes();
    let mut subscription = connection.subscribe("a", None).await.unwrap();
    connection.round_trip(SECOND).await.unwrap();
    let waiting = {
        let connection = connection.clone();
        let _deaf = connection.subscribe("deaf", None).await.unwrap();
        connection.round_trip(SECOND).await.unwrap();
        tokio::spawn(async move {
            let _deaf = _deaf;
            connection
                .request("deaf", Headers::new(), Bytes::new(), 60 * SECOND)
                .await
                .map(|m| m.payload)
        })
    };
    until("the request is under way", || {
        connection.waiting_requests() == 1
    })
    .await;

    server.stop();
    assert!(!*changes.wait_for(|up| !up).await.unwrap());
    until("the connection is down", || !connection.is_connected()).await;
    let broken = waiting.await.unwrap();
    assert!(
        matches!(broken, Err(TransportError::Unavailable(_))),
        "{broken:?}"
    );
    let start = Instant::now();
    let published = connection
        .publish("a", None, Headers::new(), Bytes::new())
        .await;
    assert!(
        matches!(published, Err(TransportError::Unavailable(_))),
        "{published:?}"
    );
    let asked = connection
        .request("a", Headers::new(), Bytes::new(), 60 * SECOND)
        .await;
    assert!(matches!(asked, Err(TransportError::Unavailable(_))));
    assert!(start.elapsed() < SECOND);
    assert!(!transport.state().connected);

    server.start_again().await;
    assert!(*changes.wait_for(|up| *up).await.unwrap());
    connection.round_trip(5 * SECOND).await.unwrap();
    connection
        .publish("a", None, Headers::new(), payload("again"))
        .await
        .unwrap();
    assert_eq!(subscription.next().await.unwrap().payload, payload("again"));
    assert_eq!(transport.state().reconnects, 3);
}

#[tokio::test]
async fn the_state_names_the_server() {
    let server = TestServer::start().await;
    let transport = server.connect().await;
    let state = transport.state();
    assert!(state.connected && state.jetstream);
    assert!(state.version.starts_with("2."), "{}", state.version);
    assert_eq!(state.url, server.url());
    assert!(transport.rtt().await.unwrap() < SECOND);
}

#[tokio::test]
async fn draining_hands_over_what_was_published_and_ends_subscriptions() {
    let server = TestServer::start().await;
    let (ours, theirs) = (server.connect().await, server.connect().await);
    let mut heard = theirs
        .connection(Role::Bulk)
        .subscribe("last", None)
        .await
        .unwrap();
    theirs
        .connection(Role::Bulk)
        .round_trip(SECOND)
        .await
        .unwrap();
    let connection = ours.connection(Role::Bulk).clone();
    let mut open = connection.subscribe("open", None).await.unwrap();
    for _ in 0..1000 {
        connection
            .publish("last", None, Headers::new(), payload("words"))
            .await
            .unwrap();
    }
    assert!(ours.drain(10 * SECOND).await);
    for _ in 0..1000 {
        assert!(heard.next().await.is_some());
    }
    assert!(open.next().await.is_none());
    assert!(!connection.is_connected());
    let published = connection
        .publish("late", None, Headers::new(), Bytes::new())
        .await;
    assert!(matches!(published, Err(TransportError::Unavailable(_))));
}

#[tokio::test]
async fn a_dropped_connection_closes() {
    let server = TestServer::start().await;
    let watcher = server.connect().await;
    let transport = server.connect().await;
    let mut subscription = transport
        .connection(Role::Bulk)
        .subscribe("gone", None)
        .await
        .unwrap();
    transport
        .connection(Role::Bulk)
        .round_trip(SECOND)
        .await
        .unwrap();
    drop(transport);
    // The subscription keeps its connection; without it there is nobody.
    let connection = watcher.connection(Role::Control);
    connection
        .publish("gone", None, Headers::new(), Bytes::new())
        .await
        .unwrap();
    assert!(subscription.next().await.is_some());
    drop(subscription);
    let start = Instant::now();
    loop {
        let asked = connection
            .request("gone", Headers::new(), Bytes::new(), SECOND)
            .await;
        if asked.map(|m| m.payload) == Err(TransportError::NoResponders) {
            break;
        }
        assert!(start.elapsed() < 10 * SECOND);
    }
}

#[tokio::test]
async fn a_server_that_does_not_read_does_not_hold_a_publisher_for_ever() {
    let server = TestServer::start().await;
    let transport = server.connect().await;
    let connection = transport.connection(Role::Bulk);
    server.pause();
    let start = Instant::now();
    let large = Bytes::from(vec![0; 512 * 1024]);
    let error = loop {
        match connection
            .publish("a", None, Headers::new(), large.clone())
            .await
        {
            Ok(()) => assert!(start.elapsed() < 20 * SECOND),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, TransportError::Unavailable(_)), "{error:?}");
    assert!(start.elapsed() < 10 * SECOND);
    server.resume();
    connection.round_trip(20 * SECOND).await.unwrap();
}
