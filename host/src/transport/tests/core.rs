//! Publish, request, subscribe, reconnect, drain.

use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::transport::testing::{TestServer, until};
use crate::transport::{Headers, Role, TransportError};

use super::{SECOND, payload};

#[tokio::test]
async fn a_message_arrives_with_its_headers_and_reply() {
    let server = TestServer::start().await;
    let transport = server.connect().await;
    let link = transport.link(Role::Bulk);
    let mut subscription = link.subscribe("a.*", None).await.unwrap();
    let mut headers = Headers::new();
    headers.insert("X-A", "1").unwrap();
    headers.insert("X-B", "b: 2").unwrap();
    headers.append("X-C", "3").unwrap();
    headers.append("X-C", "").unwrap();
    link.publish(
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
    let link = transport.link(Role::Bulk);
    let mut first = link.subscribe("q", Some("g")).await.unwrap();
    let mut second = link.subscribe("q", Some("g")).await.unwrap();
    for _ in 0..20 {
        link.publish("q", None, Headers::new(), Bytes::new())
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
    link.round_trip(SECOND).await.unwrap();
    let more = tokio::time::timeout(Duration::from_millis(50), first.next()).await;
    assert!(more.is_err(), "a message was delivered twice");
}

#[tokio::test]
async fn requests_tell_no_responders_from_a_timeout_and_leave_nothing_behind() {
    let server = TestServer::start().await;
    let transport = server.connect().await;
    let link = transport.link(Role::Control);
    let ask = |subject: &'static str, wait| async move {
        link.request(subject, Headers::new(), payload("?"), wait)
            .await
            .map(|m| m.payload)
    };
    let start = Instant::now();
    assert_eq!(
        ask("nobody", 5 * SECOND).await,
        Err(TransportError::NoResponders)
    );
    assert!(start.elapsed() < SECOND);

    let mut deaf = link.subscribe("deaf", None).await.unwrap();
    link.round_trip(SECOND).await.unwrap();
    assert_eq!(
        ask("deaf", Duration::from_millis(100)).await,
        Err(TransportError::Timeout)
    );
    assert_eq!(link.waiting_requests(), 0);

    // The late answer is nobody's.
    let late = deaf.next().await.unwrap().reply.unwrap();
    link.publish(&late, None, Headers::new(), payload("late"))
        .await
        .unwrap();
    let mut echo = link.subscribe("echo", None).await.unwrap();
    let answer = async {
        let question = echo.next().await.unwrap();
        let reply = question.reply.unwrap();
        link.publish(&reply, None, Headers::new(), question.payload)
            .await
            .unwrap();
    };
    let (answer, ()) = tokio::join!(ask("echo", 5 * SECOND), answer);
    assert_eq!(answer, Ok(payload("?")));
    assert_eq!(link.waiting_requests(), 0);
}

#[tokio::test]
async fn what_would_break_the_connection_is_refused_before_it_is_sent() {
    let server = TestServer::start().await;
    let transport = server.connect().await;
    let link = transport.link(Role::Bulk);
    let long = "x".repeat(5000);
    for bad in ["", "a b", "a\r\nPUB b 0\r\n", "a..b", "a\0", &long] {
        let published = link.publish(bad, None, Headers::new(), Bytes::new()).await;
        assert!(
            matches!(published, Err(TransportError::Invalid(_))),
            "{bad:?}"
        );
        let replied = link
            .publish("a", Some(bad), Headers::new(), Bytes::new())
            .await;
        assert!(
            matches!(replied, Err(TransportError::Invalid(_))),
            "{bad:?}"
        );
        let subscribed = link.subscribe(bad, None).await;
        assert!(
            matches!(subscribed, Err(TransportError::Invalid(_))),
            "{bad:?}"
        );
        let queue = link.subscribe("a", Some(bad)).await;
        if bad != "a..b" {
            assert!(matches!(queue, Err(TransportError::Invalid(_))), "{bad:?}");
        }
        let asked = link
            .request(bad, Headers::new(), Bytes::new(), SECOND)
            .await;
        assert!(matches!(asked, Err(TransportError::Invalid(_))), "{bad:?}");
    }
    let large = Bytes::from(vec![0; link.max_payload() + 1]);
    let published = link.publish("a", None, Headers::new(), large.clone()).await;
    assert!(
        matches!(published, Err(TransportError::TooLarge(_))),
        "{published:?}"
    );
    let asked = link.request("a", Headers::new(), large, SECOND).await;
    assert!(
        matches!(asked, Err(TransportError::TooLarge(_))),
        "{asked:?}"
    );
    link.round_trip(SECOND).await.unwrap();
    assert_eq!(transport.state().reconnects, 0);
}

#[tokio::test]
async fn a_slow_reader_loses_messages_and_is_told_how_many() {
    let server = TestServer::start().await;
    let transport = server.connect().await;
    let link = transport.link(Role::Bulk);
    let mut slow = link.subscribe("flood", None).await.unwrap();
    // The last message comes over another connection: it must not be there before the subscription.
    link.round_trip(SECOND).await.unwrap();
    let sent = 40_u64;
    for _ in 0..sent {
        let payload = Bytes::from(vec![0; 1024 * 1024 - 1024]);
        link.publish("flood", None, Headers::new(), payload)
            .await
            .unwrap();
    }
    let sender = transport.link(Role::Control);
    sender
        .publish("flood", None, Headers::new(), payload("end"))
        .await
        .unwrap();
    // The server has the last message before it answers the sender, and has sent it on before it
    // answers the reader.
    sender.round_trip(10 * SECOND).await.unwrap();
    link.round_trip(10 * SECOND).await.unwrap();
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
    let link = transport.link(Role::Bulk);
    let mut changes = transport.changes();
    let mut subscription = link.subscribe("a", None).await.unwrap();
    link.round_trip(SECOND).await.unwrap();
    let waiting = {
        let link = link.clone();
        let _deaf = link.subscribe("deaf", None).await.unwrap();
        link.round_trip(SECOND).await.unwrap();
        tokio::spawn(async move {
            let _deaf = _deaf;
            link.request("deaf", Headers::new(), Bytes::new(), 60 * SECOND)
                .await
                .map(|m| m.payload)
        })
    };
    until("the request is under way", || link.waiting_requests() == 1).await;

    server.stop();
    assert!(!*changes.wait_for(|up| !up).await.unwrap());
    until("the link is down", || !link.is_connected()).await;
    let broken = waiting.await.unwrap();
    assert!(
        matches!(broken, Err(TransportError::Unavailable(_))),
        "{broken:?}"
    );
    let start = Instant::now();
    let published = link.publish("a", None, Headers::new(), Bytes::new()).await;
    assert!(
        matches!(published, Err(TransportError::Unavailable(_))),
        "{published:?}"
    );
    let asked = link
        .request("a", Headers::new(), Bytes::new(), 60 * SECOND)
        .await;
    assert!(matches!(asked, Err(TransportError::Unavailable(_))));
    assert!(start.elapsed() < SECOND);
    assert!(!transport.state().connected);

    server.start_again().await;
    assert!(*changes.wait_for(|up| *up).await.unwrap());
    link.round_trip(5 * SECOND).await.unwrap();
    link.publish("a", None, Headers::new(), payload("again"))
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
        .link(Role::Bulk)
        .subscribe("last", None)
        .await
        .unwrap();
    theirs.link(Role::Bulk).round_trip(SECOND).await.unwrap();
    let link = ours.link(Role::Bulk).clone();
    let mut open = link.subscribe("open", None).await.unwrap();
    for _ in 0..1000 {
        link.publish("last", None, Headers::new(), payload("words"))
            .await
            .unwrap();
    }
    assert!(ours.drain(10 * SECOND).await);
    for _ in 0..1000 {
        assert!(heard.next().await.is_some());
    }
    assert!(open.next().await.is_none());
    assert!(!link.is_connected());
    let published = link
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
        .link(Role::Bulk)
        .subscribe("gone", None)
        .await
        .unwrap();
    transport.link(Role::Bulk).round_trip(SECOND).await.unwrap();
    drop(transport);
    // The subscription keeps its connection; without it there is nobody.
    let link = watcher.link(Role::Control);
    link.publish("gone", None, Headers::new(), Bytes::new())
        .await
        .unwrap();
    assert!(subscription.next().await.is_some());
    drop(subscription);
    let start = Instant::now();
    loop {
        let asked = link
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
    let link = transport.link(Role::Bulk);
    server.pause();
    let start = Instant::now();
    let large = Bytes::from(vec![0; 512 * 1024]);
    let error = loop {
        match link.publish("a", None, Headers::new(), large.clone()).await {
            Ok(()) => assert!(start.elapsed() < 20 * SECOND),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, TransportError::Unavailable(_)), "{error:?}");
    assert!(start.elapsed() < 10 * SECOND);
    server.resume();
    link.round_trip(20 * SECOND).await.unwrap();
}
