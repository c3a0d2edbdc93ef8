//! Honest agents: what goes in and what comes out.

use super::*;
use mistersmith_core::names::Priority;

#[tokio::test]
async fn an_echo_answers_what_it_was_given() {
    let built = Fixture::new().build();
    let mut echo = instance(&Module::echo(), &built).await;
    assert_eq!(echo.start().await, Outcome::Done(()));
    for payload in [&b""[..], b"hello", &[7; 100_000]] {
        let reply = reply(echo.handle(&call(payload)).await);
        assert_eq!(reply.payload, payload);
        assert_eq!((reply.content_type, reply.headers), (None, Vec::new()));
    }
    assert!(echo.memory() >= 2 * 65536, "{}", echo.memory());
    assert!(echo.is_alive());
    assert_eq!(echo.notify(Notice::Configuration).await, Outcome::Done(()));
    let health = Health {
        ok: false,
        detail: None,
        load: None,
    };
    assert_eq!(echo.health().await, Outcome::Done(health));
    assert_eq!(echo.stop("drain").await, Outcome::Done(()));
}

#[tokio::test]
async fn every_kind_arrives_as_it_was_sent() {
    // Answers the discriminant and the three joined values of the kind.
    let module = Module::handle(
        "(i32.store (i32.const 4096) (local.get $kind))
         (i32.store (i32.const 4100) (local.get $a))
         (i64.store (i32.const 4104) (local.get $b))
         (i32.store (i32.const 4112) (local.get $c))
         (local.set $payload (i32.const 4096)) (local.set $payload_len (i32.const 20))",
    );
    let built = Fixture::new().build();
    let mut agent = instance(&module, &built).await;
    let mut seen = async |kind: Kind| {
        let reply = reply(agent.handle(&Call { kind, ..call("") }).await);
        reply
            .payload
            .chunks(4)
            .map(|c| u32::from_le_bytes(c.try_into().unwrap()))
            .collect::<Vec<_>>()
    };
    assert_eq!(seen(Kind::Execute).await[0], 0);
    let work = Kind::Work {
        priority: Priority::High,
        retries: 3,
    };
    assert_eq!(seen(work).await[..4], [1, 1, 3, 0]);
    let work = Kind::Work {
        priority: Priority::Low,
        retries: 0,
    };
    assert_eq!(seen(work).await[..4], [1, 3, 0, 0]);
    let own = Kind::Subscription {
        id: Some(77),
        wants_reply: true,
    };
    assert_eq!(seen(own).await, [4, 1, 77, 0, 1]);
    let manifest = Kind::Subscription {
        id: None,
        wants_reply: false,
    };
    assert_eq!(seen(manifest).await, [4, 0, 0, 0, 0]);
}

/// A failure of `case` whose text is "sorry" and whose delay is `delay` milliseconds.
fn failing(case: u8, delay: u32) -> Module {
    Module::handle(&format!(
        "(i32.store8 (i32.const 3072) (i32.const 1))
         (i32.store8 (i32.const 3076) (i32.const {case}))
         (i32.store (i32.const 3080) (i32.const 4096))
         (i32.store (i32.const 3084) (i32.const 5))
         (i32.store8 (i32.const 3088) (i32.const 1))
         (i32.store (i32.const 3092) (i32.const {delay}))
         (return (i32.const 3072))"
    ))
    .item("(data (i32.const 4096) \"sorry\")")
}

#[tokio::test]
async fn failures_say_what_would_help() {
    let sorry = || "sorry".to_owned();
    let retry = |seconds| Failure::Retry {
        message: sorry(),
        delay: Some(Duration::from_secs(seconds)),
    };
    let cases = [
        (failing(0, 2000), retry(2)),
        (failing(0, u32::MAX), retry(24 * 60 * 60)),
        (failing(1, 0), Failure::Reject(sorry())),
        (failing(2, 0), Failure::Other(sorry())),
    ];
    for (module, failure) in cases {
        let built = Fixture::new().build();
        let mut agent = instance(&module, &built).await;
        assert_eq!(agent.handle(&call("")).await, Outcome::Failed(failure));
        assert!(agent.is_alive(), "a failure is not an exit");
    }
}

#[tokio::test]
async fn a_reply_that_breaks_a_rule_is_rejected() {
    // One header, and the text of its name and value.
    let header = |name: &str, value: &str| {
        let values = 4096 + name.len();
        let (names, lengths) = (name.len(), value.len());
        Module::handle(&format!(
            "(i32.store (i32.const 5000) (i32.const 4096)) (i32.store (i32.const 5004) (i32.const \
             {names}))
             (i32.store (i32.const 5008) (i32.const {values})) (i32.store (i32.const 5012) (i32.const {lengths}))
             (i32.store (i32.const 1052) (i32.const 5000)) (i32.store (i32.const 1056) (i32.const 1))"
        ))
        .item(&format!("(data (i32.const 4096) \"{name}{value}\")"))
    };
    let built = Fixture::new().build();
    let mut good = instance(&header("X-Free", "yes"), &built).await;
    assert_eq!(
        reply(good.handle(&call("a")).await).headers,
        [("X-Free".to_owned(), "yes".to_owned())]
    );
    for (name, value) in [
        ("Nats-Rollup", "all"),
        ("X-Agent-ID", "other-001"),
        ("X-A", "v\\0d\\0aY: z"),
    ] {
        let mut agent = instance(&header(name, value), &built).await;
        let outcome = agent.handle(&call("a")).await;
        let Outcome::Failed(Failure::Reject(reason)) = outcome else {
            panic!("{name}: {outcome:?}");
        };
        assert!(
            reason.starts_with("the reply of the agent cannot be sent: "),
            "{reason}"
        );
        assert!(agent.is_alive());
    }
    assert_eq!(built.counts().refused, 3);
    assert_eq!(built.last_refusal().action, "reply");
}

#[tokio::test]
async fn a_reply_over_the_payload_limit_is_rejected() {
    let built = Fixture::new()
        .with(|fixture| fixture.limits.payload = 1000)
        .build();
    let mut echo = instance(&Module::echo(), &built).await;
    assert_eq!(
        reply(echo.handle(&call(vec![1; 1000])).await).payload.len(),
        1000
    );
    let outcome = echo.handle(&call(vec![1; 1001])).await;
    assert!(
        matches!(&outcome, Outcome::Failed(Failure::Reject(why)) if why.contains("1001 bytes")),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn a_batch_is_answered_item_by_item() {
    // As many answers as items, all "nothing": zeros in fresh memory. An answer has 48 bytes at
    // most.
    let all = Module::echo().batch(
        "(i32.store (i32.const 2048) (i32.const 8192)) (i32.store (i32.const 2052) (local.get \
         $count)) (i32.const 2048)",
    );
    let built = Fixture::new().build();
    let mut agent = instance(&all, &built).await;
    let batch = || ["a", "b", "c"].map(|payload| Box::new(call(payload)));
    let mut calls = batch();
    let Outcome::Done(answers) = agent.handle_batch(&mut calls).await else {
        panic!("the batch failed");
    };
    assert_eq!(answers, vec![Ok(None), Ok(None), Ok(None)]);
    let lent = calls.map(|call| (call.subject, call.payload));
    let given = batch().map(|call| (call.subject, call.payload));
    assert_eq!(lent, given, "they come back");

    let mut silent = instance(&Module::echo(), &built).await;
    let outcome = silent.handle_batch(&mut batch()).await;
    assert!(
        matches!(&outcome, Outcome::Failed(Failure::Other(why)) if why.contains("0 answers to 3")),
        "{outcome:?}"
    );
    assert!(silent.is_alive());
}

#[tokio::test]
async fn a_guest_may_ask_for_headers_ids_and_the_time_left() {
    let context = "mistersmith:agent/context@0.1.0";
    // Answers the request id, whose text the host puts where realloc says.
    let module = Module::handle(
        "(call $request-id (i32.const 4096))
         (local.set $payload (i32.load (i32.const 4096))) (local.set $payload_len (i32.load (i32.const 4100)))",
    )
    .import(context, "request-id", "(param i32)");
    let built = Fixture::new()
        .with(|fixture| fixture.limits.timeout = Duration::from_millis(900))
        .build();
    let mut agent = instance(&module, &built).await;
    let trace = Trace::begin("req-42");
    assert_eq!(
        reply(agent.handle(&Call { trace, ..call("") }).await).payload,
        "req-42"
    );

    let module = Module::handle(
        "(i32.store (i32.const 4096) (call $remaining-ms))
         (local.set $payload (i32.const 4096)) (local.set $payload_len (i32.const 4))",
    )
    .import(context, "remaining-ms", "(result i32)");
    let mut agent = instance(&module, &built).await;
    let left = reply(agent.handle(&call("")).await).payload;
    let left = u32::from_le_bytes(left[..].try_into().unwrap());
    assert!((1..=900).contains(&left), "{left}");
}
