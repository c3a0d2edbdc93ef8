//! What an honest guest gets, on a real server.

use super::super::fixture::{TestServer, connection, eventually};
use super::super::{RuntimeMessage, Source};
use super::*;
use crate::bindings::mistersmith::agent::{kv, messaging};
use bytes::Bytes;
use kv::Host as _;
use messaging::Host as _;
use mistersmith_core::limits::{RATE_PAUSE, REFUSALS};
use mistersmith_nats::{Connection, Headers, Message, Trace};

pub(super) fn s(text: &str) -> String {
    text.to_owned()
}

/// A guest that handles a message with a trace of its own.
pub(super) fn handling(built: &Built) -> (Guest, Trace) {
    let mut headers = Headers::new();
    headers.insert("X-Request-ID", "req-7").unwrap();
    headers.insert("X-Trace-ID", "trace-9").unwrap();
    headers.insert("X-Free", "yes").unwrap();
    let trace = Trace::received(&headers, || "fallback");
    let mut guest = Guest::new(Arc::clone(&built.context));
    guest.enter(Scope {
        deadline: Instant::now() + Duration::from_secs(5),
        waits_until: None,
        trace: Some(trace.clone()),
        headers: headers.into(),
        more_headers: Vec::new(),
    });
    (guest, trace)
}

async fn next(subscription: &mut mistersmith_nats::Subscription) -> Message {
    tokio::time::timeout(Duration::from_secs(5), subscription.next())
        .await
        .unwrap()
        .unwrap()
}

/// The number of the subscription that brought it.
fn by_number(heard: &RuntimeMessage) -> u64 {
    match heard.source {
        Source::Subscription(id) => id,
        Source::Workflow(_) => 0,
    }
}

pub(super) async fn settled(connection: &Connection) {
    connection.round_trip(Duration::from_secs(5)).await.unwrap();
}

#[tokio::test]
async fn a_published_message_carries_the_agent_and_the_trace() {
    let server = TestServer::start().await;
    let (connection, ear) = (connection(&server).await, connection(&server).await);
    let mut heard = ear.subscribe("out.>", None).await.unwrap();
    settled(&ear).await;
    let built = Fixture::granted().on(&connection).build();
    let (mut guest, trace) = handling(&built);
    let headers = vec![
        (s("Content-Type"), s("text/plain")),
        (s("X-Free"), s("1")),
        (s("X-Free"), s("2")),
    ];
    guest
        .publish(s("out.a"), b"hello".to_vec(), headers)
        .await
        .unwrap();

    let message = next(&mut heard).await;
    assert_eq!(
        (message.subject.as_str(), &message.payload[..]),
        ("out.a", &b"hello"[..])
    );
    assert_eq!(message.reply, None);
    let header = |name: &str| message.headers.get(name).map(str::to_owned);
    assert_eq!(header("X-Agent-ID"), Some(s("probe-001")));
    assert_eq!(header("X-Request-ID"), Some(s("req-7")));
    assert_eq!(header("X-Trace-ID"), Some(s("trace-9")));
    assert_eq!(header("X-Span-ID"), Some(trace.span_id()));
    assert!(header("traceparent").unwrap().contains(&trace.span_id()));
    assert_eq!(header("Content-Type"), Some(s("text/plain")));
    let free = message
        .headers
        .iter()
        .filter(|(name, _)| *name == "X-Free")
        .count();
    assert_eq!(free, 2);
    assert_eq!(built.counts().sent, 1);
}

#[tokio::test]
async fn what_is_sent_outside_of_messages_has_a_trace_too() {
    let server = TestServer::start().await;
    let (connection, ear) = (connection(&server).await, connection(&server).await);
    let mut heard = ear.subscribe("out.>", None).await.unwrap();
    settled(&ear).await;
    let built = Fixture::granted().on(&connection).build();
    let mut guest = calling(&built);
    guest
        .publish(s("out.a"), Vec::new(), Vec::new())
        .await
        .unwrap();
    guest
        .publish(s("out.b"), Vec::new(), Vec::new())
        .await
        .unwrap();
    let (first, second) = (next(&mut heard).await, next(&mut heard).await);
    let request = first.headers.get("X-Request-ID").unwrap();
    assert!(!request.is_empty());
    assert_eq!(second.headers.get("X-Request-ID"), Some(request));
}

#[tokio::test]
async fn the_publish_rate_is_a_limit_of_the_agent_not_of_the_instance() {
    let server = TestServer::start().await;
    let connection = connection(&server).await;
    let slow = |fixture: &mut Fixture| fixture.limits.publish_rate = 10;
    let built = Fixture::granted().with(slow).on(&connection).build();
    let (mut outcomes, begun) = (Vec::new(), Instant::now());
    for _ in 0..3 {
        let mut guest = calling(&built);
        for _ in 0..20 {
            outcomes.push(outcome(
                &guest.publish(s("out.a"), Vec::new(), Vec::new()).await,
            ));
        }
    }
    let sent = outcomes.iter().filter(|o| **o == "ok").count();
    // One more for each tenth of a second that this takes.
    assert!((10..20).contains(&sent), "{outcomes:?}");
    assert!(outcomes.contains(&"rate-limited"));
    let limited = built.counts().limited;
    assert_eq!(limited as usize, outcomes.len() - sent);
    let waited = RATE_PAUSE * u32::try_from(limited / REFUSALS).unwrap();
    assert!(waited > Duration::ZERO && begun.elapsed() >= waited);
}

#[tokio::test]
async fn bytes_beyond_the_rate_wait_for_all_agents_of_a_plugin() {
    let server = TestServer::start().await;
    let connection = connection(&server).await;
    let narrow = |fixture: &mut Fixture| {
        fixture.limits.publish_bytes = 1_000_000;
        fixture.limits.payload = 3_000_000;
    };
    let built = Fixture::granted().with(narrow).on(&connection).build();
    let (mut one, mut another) = (calling(&built), calling(&built));
    let begun = Instant::now();
    let sent = one.publish(s("out.a"), vec![0; 500_000], Vec::new()).await;
    assert_eq!(outcome(&sent), "ok");
    let at_once = begun.elapsed();
    let sent = another
        .publish(s("out.a"), vec![0; 900_000], Vec::new())
        .await;
    assert_eq!(outcome(&sent), "ok");
    assert!(begun.elapsed() - at_once >= Duration::from_millis(400));
    // A message that would wait for more than a second is refused.
    let (sent, refused) = tokio::join!(
        one.publish(s("out.a"), vec![0; 900_000], Vec::new()),
        another.publish(s("out.a"), vec![0], Vec::new()),
    );
    assert_eq!((outcome(&sent), outcome(&refused)), ("ok", "rate-limited"));
    assert_eq!(built.counts().limited, 1);
}

#[tokio::test]
async fn whoever_floods_waits_whatever_else_is_refused_between() {
    let server = TestServer::start().await;
    let connection = connection(&server).await;
    let small = |fixture: &mut Fixture| {
        fixture.limits.publish_rate = 1;
        fixture.limits.payload = 8;
    };
    let built = Fixture::granted().with(small).on(&connection).build();
    let mut guest = calling(&built);
    let (begun, mut limited) = (Instant::now(), 0);
    for number in 1..=160 * REFUSALS {
        // Where every kind of refusal counted, the wait would fall on those that have none.
        let payload = vec![
            0;
            if number.is_multiple_of(REFUSALS) {
                9
            } else {
                0
            }
        ];
        let told = guest.publish(s("out.a"), payload, Vec::new()).await;
        limited += u32::from(outcome(&told) == "rate-limited");
    }
    let waits = u64::from(limited) / REFUSALS;
    assert!(waits > 100, "{limited} were over the rate");
    assert!(begun.elapsed() >= RATE_PAUSE * u32::try_from(waits).unwrap());
}

#[tokio::test]
async fn a_request_has_an_answer_or_a_reason() {
    let server = TestServer::start().await;
    let (connection, other) = (connection(&server).await, connection(&server).await);
    let mut asked = other.subscribe("tools.>", None).await.unwrap();
    settled(&other).await;
    let answers = tokio::spawn(async move {
        while let Some(message) = asked.next().await {
            let payload = match message.subject.as_str() {
                "tools.large" => Bytes::from(vec![0; 2000]),
                "tools.silent" => continue,
                _ => message.payload,
            };
            let reply = message.reply.unwrap();
            assert!(reply.starts_with("_INBOX"), "{reply}");
            other
                .publish(&reply, None, Headers::new(), payload)
                .await
                .unwrap();
        }
    });
    let small = |fixture: &mut Fixture| fixture.limits.payload = 1000;
    let built = Fixture::granted().with(small).on(&connection).build();
    let mut guest = calling(&built);
    let answer = guest
        .request(s("tools.echo"), b"x".to_vec(), Vec::new(), None)
        .await
        .unwrap();
    assert_eq!(answer.payload, b"x");
    assert_eq!(
        outcome(
            &guest
                .request(s("tools.large"), Vec::new(), Vec::new(), None)
                .await
        ),
        "too-large"
    );
    let silent = guest
        .request(s("tools.silent"), Vec::new(), Vec::new(), Some(50))
        .await;
    assert_eq!(outcome(&silent), "timeout");
    answers.abort();
    let _ = answers.await;
    settled(&connection).await;
    let nobody = wait_for_no_responders(&mut guest).await;
    assert_eq!(nobody, "no-responders");
}

/// The subscription of a task that was aborted takes a moment to end on the server.
async fn wait_for_no_responders(guest: &mut Guest) -> &'static str {
    for _ in 0..50 {
        let result = guest
            .request(s("tools.echo"), Vec::new(), Vec::new(), Some(50))
            .await;
        if outcome(&result) != "timeout" {
            return outcome(&result);
        }
    }
    "timeout"
}

#[tokio::test]
async fn a_request_ends_before_its_call_does() {
    let server = TestServer::start().await;
    let (connection, other) = (connection(&server).await, connection(&server).await);
    let _silent = other.subscribe("tools.silent", None).await.unwrap();
    settled(&other).await;
    let built = Fixture::granted().on(&connection).build();
    let mut guest = guest(&built, Duration::from_millis(300));
    let result = guest
        .request(s("tools.silent"), Vec::new(), Vec::new(), Some(60_000))
        .await;
    assert_eq!(outcome(&result), "timeout");
    assert!(
        guest.remaining() > Duration::ZERO,
        "nothing is left to handle the error"
    );
}

#[tokio::test]
async fn requests_in_flight_are_bounded_for_the_plugin() {
    let server = TestServer::start().await;
    let connection = connection(&server).await;
    let built = Fixture::granted().on(&connection).build();
    let all = built.context.limits.requests;
    let _others = Arc::clone(&built.context.requests)
        .try_acquire_many_owned(all)
        .unwrap();
    let mut guest = calling(&built);
    let result = guest
        .request(s("tools.echo"), Vec::new(), Vec::new(), None)
        .await;
    assert_eq!(outcome(&result), "exhausted");
}

#[tokio::test]
async fn subscriptions_hear_what_they_may_until_they_end() {
    let server = TestServer::start().await;
    let (connection, other) = (connection(&server).await, connection(&server).await);
    let mut built = Fixture::granted().on(&connection).build();
    let mut guest = calling(&built);
    let id = guest.subscribe(s("in.>"), None).await.unwrap();
    assert!(guest.wants(&Source::Subscription(id)));
    assert!(!guest.wants(&Source::Subscription(id + 1)));
    settled(&connection).await;
    let send = async |subject: &str| {
        other
            .publish(subject, None, Headers::new(), Bytes::from_static(b"x"))
            .await
            .unwrap();
        settled(&other).await;
    };
    send("in.a.secret").await;
    send("in.a.public").await;
    let heard = tokio::time::timeout(Duration::from_secs(5), built.inbox.recv())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (by_number(&heard), heard.message.subject.as_str()),
        (id, "in.a.public")
    );

    messaging::Host::unsubscribe(&mut guest, id).unwrap();
    assert_eq!(
        outcome(&messaging::Host::unsubscribe(&mut guest, id)),
        "not-found"
    );
    let again = guest.subscribe(s("in.b"), Some(s("group"))).await.unwrap();
    assert_ne!(again, id);
    settled(&connection).await;
    send("in.a.public").await;
    send("in.b").await;
    let heard = tokio::time::timeout(Duration::from_secs(5), built.inbox.recv())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (by_number(&heard), heard.message.subject.as_str()),
        (again, "in.b")
    );
    assert_eq!(built.counts().received, 2);
}

#[tokio::test]
async fn subscriptions_are_bounded_and_end_with_the_instance() {
    let server = TestServer::start().await;
    let connection = connection(&server).await;
    let few = |fixture: &mut Fixture| fixture.limits.subscriptions = 3;
    let mut built = Fixture::granted().with(few).on(&connection).build();
    let mut guest = calling(&built);
    for n in 0..3 {
        guest.subscribe(format!("in.{n}"), None).await.unwrap();
    }
    assert_eq!(
        outcome(&guest.subscribe(s("in.4"), None).await),
        "exhausted"
    );
    drop(guest);
    // Only the agent itself holds the sending end now.
    let context = Arc::clone(&built.context);
    eventually(|| context.inbox.strong_count() == 1).await;
    connection
        .publish("in.0", None, Headers::new(), Bytes::new())
        .await
        .unwrap();
    settled(&connection).await;
    assert!(built.inbox.try_recv().is_err());
}

#[tokio::test]
async fn a_lost_server_is_unavailable_not_a_hang() {
    let server = TestServer::start().await;
    let connection = connection(&server).await;
    let built = Fixture::granted().on(&connection).build();
    drop(server);
    eventually(|| !connection.is_connected()).await;
    let mut guest = calling(&built);
    let begun = Instant::now();
    assert_eq!(
        outcome(&guest.publish(s("out.a"), Vec::new(), Vec::new()).await),
        "unavailable"
    );
    assert_eq!(
        outcome(&guest.get(s("CACHE"), s("probe.a")).await),
        "unavailable"
    );
    assert!(begun.elapsed() < Duration::from_secs(1));
}
