//! `coordination` with what a hostile guest would give it, and with what an honest one does.

use super::served::{handling, s, settled};
use super::*;
use crate::bindings::mistersmith::agent::coordination;
use crate::capabilities::fixture::{TestServer, connection};
use bytes::Bytes;
use coordination::Host as _;
use mistersmith_nats::{Connection, Headers};

fn none_headers() -> Vec<(String, String)> {
    Vec::new()
}

/// Each function that needs a grant, called as an honest guest would.
async fn coordinate(guest: &mut Guest) -> [&'static str; 6] {
    let none = Vec::new;
    let pipeline = Some(s("w1"));
    [
        outcome(&guest.scatter(none(), none_headers(), anybody()).await),
        outcome(
            &guest
                .start_pipeline(s("extract"), None, none(), none_headers())
                .await,
        ),
        outcome(
            &guest
                .start_pipeline(s("extract"), pipeline, none(), none_headers())
                .await,
        ),
        outcome(&guest.signal(s("w1"), s("go"), none()).await),
        outcome(&guest.await_event(s("w1"), s("go"), Some(1)).await),
        outcome(&guest.watch(s("w1")).await),
    ]
}

fn anybody() -> coordination::Gathering {
    coordination::Gathering {
        timeout_ms: Some(1),
        min: None,
        expected: Vec::new(),
    }
}

#[tokio::test]
async fn nothing_is_coordinated_without_a_grant() {
    let built = Fixture::new().build();
    let mut guest = calling(&built);
    assert_eq!(coordinate(&mut guest).await, ["denied"; 6]);
    assert_eq!(outcome(&guest.circuit(s("nlp")).await), "denied");
    assert_eq!(built.counts().refused, 7);
    let other = guest.pipeline_result(s("w1"), None).await;
    assert_eq!(outcome(&other), "not-found");
    assert_eq!(outcome(&guest.unwatch(s("w1"))), "not-found");
    assert!(guest.leadership().is_none());
    assert!(matches!(
        guest.circuit(s("own")).await,
        Ok(coordination::CircuitState::Open)
    ));
}

#[tokio::test]
async fn a_refusal_names_no_id_that_the_host_made_up() {
    let built = Fixture::new().build();
    let mut guest = calling(&built);
    let refused = guest.scatter(Vec::new(), Vec::new(), anybody()).await;
    let sentence = "agent `probe-001` cannot publish to `scatter.*.task`: no grant matches; \
                    add \"scatter.*.task\" to [permissions] publish in plugins/probe/plugin.toml";
    assert!(matches!(refused, Err(Error::Denied(text)) if text == sentence));
    let started = guest.start_pipeline(s("extract"), None, Vec::new(), Vec::new());
    let Err(Error::Denied(text)) = started.await else {
        panic!("started")
    };
    assert!(text.contains("add \"pipeline.*.01.extract\" to"), "{text}");
}

fn coordinating(fixture: &mut Fixture) {
    fixture.grants.publish = ["scatter.*.task", "pipeline.>", "coord.>"].map(s).into();
    fixture.grants.subscribe = vec![s("coord.>")];
    fixture.grants.deny = vec![s("coord.*.secret")];
}

#[tokio::test]
async fn without_a_connection_nothing_is_coordinated() {
    let built = Fixture::new().with(coordinating).build();
    let mut guest = calling(&built);
    assert_eq!(coordinate(&mut guest).await, ["unavailable"; 6]);
    assert_eq!(built.counts().sent, 0);
}

#[tokio::test]
async fn a_grant_for_one_workflow_is_none_for_another_and_cancel_is_a_grant_like_any() {
    let one = |fixture: &mut Fixture| {
        fixture.grants.publish = ["coord.w1.*", "pipeline.w1.01.extract"].map(s).into();
        fixture.grants.subscribe = vec![s("coord.w1.go")];
        fixture.grants.deny = vec![s("coord.*.cancel")];
    };
    let built = Fixture::new().with(one).build();
    let mut guest = calling(&built);
    let none = Vec::new;
    let start = async |guest: &mut Guest, stage: &str, workflow: Option<String>| {
        outcome(
            &guest
                .start_pipeline(s(stage), workflow, none(), Vec::new())
                .await,
        )
    };
    assert_eq!(
        start(&mut guest, "extract", Some(s("w1"))).await,
        "unavailable"
    );
    assert_eq!(start(&mut guest, "extract", Some(s("w2"))).await, "denied");
    assert_eq!(start(&mut guest, "extract", None).await, "denied");
    assert_eq!(start(&mut guest, "sum", Some(s("w1"))).await, "denied");
    let outcomes = [
        outcome(&guest.signal(s("w1"), s("go"), none()).await),
        outcome(&guest.signal(s("w2"), s("go"), none()).await),
        outcome(&guest.signal(s("w1"), s("cancel"), none()).await),
        outcome(&guest.await_event(s("w1"), s("go"), None).await),
        outcome(&guest.await_event(s("w1"), s("stop"), None).await),
        outcome(&guest.watch(s("w1")).await),
    ];
    let expected = [
        "unavailable",
        "denied",
        "denied",
        "unavailable",
        "denied",
        "denied",
    ];
    assert_eq!(outcomes, expected);
}

#[tokio::test]
async fn names_that_would_become_other_subjects_are_invalid() {
    let built = Fixture::new().with(coordinating).build();
    let mut guest = calling(&built);
    let long = "x".repeat(97);
    let none = Vec::new;
    for bad in [
        "",
        "*",
        ">",
        "a.b",
        "a b",
        "a\r\nPUB",
        "\0",
        "caf\u{e9}",
        "$JS",
        &long,
    ] {
        let outcomes = [
            outcome(&guest.start_pipeline(s(bad), None, none(), Vec::new()).await),
            outcome(
                &guest
                    .start_pipeline(s("extract"), Some(s(bad)), none(), Vec::new())
                    .await,
            ),
            outcome(&guest.pipeline_result(s(bad), None).await),
            outcome(&guest.signal(s(bad), s("go"), none()).await),
            outcome(&guest.signal(s("w1"), s(bad), none()).await),
            outcome(&guest.await_event(s(bad), s("go"), None).await),
            outcome(&guest.await_event(s("w1"), s(bad), None).await),
            outcome(&guest.watch(s(bad)).await),
        ];
        assert_eq!(outcomes, ["invalid"; 8], "{bad:?}");
    }
}

#[tokio::test]
async fn coordination_has_the_limits_of_messages() {
    let limits = |fixture: &mut Fixture| {
        coordinating(fixture);
        fixture.limits.payload = 1000;
    };
    let built = Fixture::new().with(limits).build();
    let mut guest = calling(&built);
    let large = || vec![0; 1001];
    let outcomes = [
        outcome(&guest.scatter(large(), Vec::new(), anybody()).await),
        outcome(
            &guest
                .start_pipeline(s("extract"), None, large(), Vec::new())
                .await,
        ),
        outcome(&guest.signal(s("w1"), s("go"), large()).await),
    ];
    assert_eq!(outcomes, ["too-large"; 3]);
    for forbidden in ["X-Agent-ID", "Nats-Msg-Id", "X-Request-ID"] {
        let header = || vec![(s(forbidden), s("v"))];
        let outcomes = [
            outcome(&guest.scatter(Vec::new(), header(), anybody()).await),
            outcome(
                &guest
                    .start_pipeline(s("extract"), None, Vec::new(), header())
                    .await,
            ),
        ];
        assert_eq!(outcomes, ["invalid"; 2], "{forbidden}");
    }
}

/// Asks the server for a stream.
async fn create(connection: &Connection, call: &str, config: &serde_json::Value) {
    let call = format!("$JS.API.{call}");
    let body = Bytes::from(config.to_string());
    let asked = connection.request(&call, Headers::new(), body, Duration::from_secs(5));
    let answer: serde_json::Value = serde_json::from_slice(&asked.await.unwrap().payload).unwrap();
    assert_eq!(answer["error"], serde_json::Value::Null);
}

/// The stream that the host provisions.
async fn with_stream(connection: &Connection) {
    let config = serde_json::json!({
        "name": "COORDINATION", "subjects": ["coord.>", "pipeline.>", "scatter.>", "gather.>"],
        "retention": "limits", "storage": "memory", "num_replicas": 1, "max_age": 0,
        "max_msgs": -1, "max_bytes": -1, "discard": "old",
    });
    create(connection, "STREAM.CREATE.COORDINATION", &config).await;
}

#[tokio::test]
async fn an_event_is_found_before_and_while_it_is_awaited() {
    let server = TestServer::start().await;
    let (connection, other) = (connection(&server).await, connection(&server).await);
    with_stream(&connection).await;
    let built = Fixture::new().with(coordinating).on(&connection).build();
    let mut guest = calling(&built);
    let await_event = async |guest: &mut Guest, event: &str, ms: u32| {
        let awaited = guest.await_event(s("w1"), s(event), Some(ms));
        awaited.await.unwrap()
    };
    assert_eq!(await_event(&mut guest, "past", 0).await, None);
    for payload in [b"1".to_vec(), b"2".to_vec()] {
        guest.signal(s("w1"), s("past"), payload).await.unwrap();
    }
    let past = await_event(&mut guest, "past", 0).await;
    assert_eq!(past, Some(b"2".to_vec()));

    let later = async {
        let payload = Bytes::from_static(b"3");
        let sent = other.publish("coord.w1.future", None, Headers::new(), payload);
        sent.await.unwrap();
    };
    let (found, ()) = tokio::join!(await_event(&mut guest, "future", 4000), later);
    assert_eq!(found, Some(b"3".to_vec()));
    let secret = guest.await_event(s("w1"), s("secret"), None).await;
    assert_eq!(outcome(&secret), "denied");
}

#[tokio::test]
async fn what_a_pipeline_brings_is_told_to_whoever_started_it() {
    let server = TestServer::start().await;
    let connection = connection(&server).await;
    with_stream(&connection).await;
    let built = Fixture::new().with(coordinating).on(&connection).build();
    let (mut guest, _) = handling(&built);
    let mut start = async |workflow: Option<&str>| {
        let input = b"in".to_vec();
        let started = guest.start_pipeline(s("extract"), workflow.map(s), input, Vec::new());
        started.await.unwrap()
    };
    assert_eq!(start(Some("w1")).await, "w1");
    let made = start(None).await;
    let stream = connection.stream("COORDINATION").unwrap();
    let input = format!("pipeline.{made}.01.extract");
    let input = stream.newest(&input).await.unwrap().unwrap();
    assert_eq!(&input.payload[..], b"in");
    assert_eq!(input.headers.get("X-Agent-ID"), Some("probe-001"));
    assert_eq!(input.headers.get("X-Request-ID"), Some("req-7"));

    let nothing = guest.pipeline_result(made.clone(), Some(0)).await.unwrap();
    assert!(nothing.is_none());
    let subject = format!("pipeline.{made}.complete");
    let payload = Bytes::from_static(b"out");
    let wait = Duration::from_secs(5);
    let out = connection.publish_stored(&subject, Headers::new(), payload, wait);
    out.await.unwrap();
    let result = guest.pipeline_result(made, None).await.unwrap().unwrap();
    assert_eq!((result.subject, result.payload), (subject, b"out".to_vec()));
    let other = guest.pipeline_result(s("w2"), None).await;
    assert_eq!(outcome(&other), "not-found");
    let mut another = calling(&built);
    let other = another.pipeline_result(s("w1"), None).await;
    assert_eq!(outcome(&other), "not-found");
}

#[tokio::test]
async fn a_watched_workflow_brings_its_events_until_it_is_unwatched() {
    let server = TestServer::start().await;
    let (connection, other) = (connection(&server).await, connection(&server).await);
    let one = |fixture: &mut Fixture| {
        coordinating(fixture);
        fixture.limits.subscriptions = 1;
    };
    let mut built = Fixture::new().with(one).on(&connection).build();
    let mut guest = calling(&built);
    guest.watch(s("w1")).await.unwrap();
    guest.watch(s("w1")).await.unwrap();
    assert_eq!(outcome(&guest.watch(s("w2")).await), "exhausted");
    settled(&connection).await;
    for subject in ["coord.w2.go", "coord.w1.secret", "coord.w1.go"] {
        let payload = Bytes::from_static(b"x");
        let sent = other.publish(subject, None, Headers::new(), payload);
        sent.await.unwrap();
    }
    let heard = tokio::time::timeout(Duration::from_secs(5), built.inbox.recv());
    let heard = heard.await.unwrap().unwrap();
    assert_eq!(heard.message.subject, "coord.w1.go");
    assert!(guest.wants(&heard.source));
    guest.unwatch(s("w1")).unwrap();
    assert!(!guest.wants(&heard.source));
}

#[tokio::test]
async fn the_state_of_a_circuit_is_read_with_a_grant() {
    let server = TestServer::start().await;
    let connection = connection(&server).await;
    let config = serde_json::json!({
        "name": "KV_CIRCUITS", "subjects": ["$KV.CIRCUITS.>"], "max_msgs_per_subject": 1,
        "retention": "limits", "storage": "memory", "num_replicas": 1, "max_age": 0,
        "max_msgs": -1, "max_bytes": -1, "discard": "new", "allow_rollup_hdrs": true,
        "allow_direct": true, "deny_delete": true,
    });
    create(&connection, "STREAM.CREATE.KV_CIRCUITS", &config).await;
    let granted = |fixture: &mut Fixture| {
        fixture.grants.kv = vec![mistersmith_core::permissions::KvGrant {
            bucket: "CIRCUITS".parse().unwrap(),
            keys: vec![s("nlp"), s("odd")],
            access: mistersmith_core::permissions::KvAccess::Read,
        }];
    };
    let built = Fixture::new().with(granted).on(&connection).build();
    let mut guest = calling(&built);
    use coordination::CircuitState::{Closed, HalfOpen};
    let kv = connection.kv("CIRCUITS").await.unwrap();
    assert!(matches!(guest.circuit(s("nlp")).await, Ok(Closed)));
    let half = Bytes::from_static(b"{\"state\":\"half-open\"}");
    kv.put("nlp", half).await.unwrap();
    assert!(matches!(guest.circuit(s("nlp")).await, Ok(HalfOpen)));
    kv.put("odd", Bytes::from_static(b"?")).await.unwrap();
    assert_eq!(outcome(&guest.circuit(s("odd")).await), "other");
    assert_eq!(outcome(&guest.circuit(s("another")).await), "denied");
}
