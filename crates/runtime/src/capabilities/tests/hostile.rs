//! Arguments that nobody honest would give: never a panic, never a message on the wire.

use proptest::prelude::*;

use super::*;
use crate::bindings::mistersmith::agent::{kv, log, messaging};
use kv::Host as _;
use log::Host as _;
use messaging::Host as _;

/// With everything granted, so that only the argument itself can be at fault.
fn everything() -> Built {
    let all = |fixture: &mut Fixture| {
        fixture.grants.publish = vec![">".to_owned()];
        fixture.grants.request = vec![">".to_owned()];
        fixture.grants.subscribe = vec![">".to_owned()];
        fixture.grants.kv[0].keys = vec![">".to_owned()];
    };
    Fixture::granted().with(all).build()
}

const BAD_SUBJECTS: [&str; 16] = [
    "",
    ".",
    "a.",
    ".a",
    "a..b",
    "a b",
    "a\tb",
    "a\r\nPUB b 0\r\n",
    "a\nb",
    "a\0b",
    "a\u{a0}b\u{7f}",
    "a.*",
    "*",
    ">",
    "a.>",
    "a.>.b",
];

#[tokio::test]
async fn malformed_subjects_are_invalid() {
    let built = everything();
    let mut guest = calling(&built);
    let long = "x".repeat(256);
    for subject in BAD_SUBJECTS.iter().copied().chain([long.as_str()]) {
        let results = [
            outcome(
                &guest
                    .publish(subject.to_owned(), Vec::new(), Vec::new())
                    .await,
            ),
            outcome(
                &guest
                    .publish_stored(subject.to_owned(), Vec::new(), Vec::new())
                    .await,
            ),
            outcome(
                &guest
                    .request(subject.to_owned(), Vec::new(), Vec::new(), None)
                    .await,
            ),
        ];
        assert_eq!(results, ["invalid"; 3], "{subject:?}");
    }
}

#[tokio::test]
async fn malformed_patterns_and_queues_are_invalid() {
    let built = everything();
    let mut guest = calling(&built);
    for pattern in ["", "a.", "a..b", "a b", "a\r\nSUB > 1", "a.>.b", "a\0"] {
        assert_eq!(
            outcome(&guest.subscribe(pattern.to_owned(), None).await),
            "invalid",
            "{pattern:?}"
        );
    }
    for queue in ["", "a b", "a\r\n", "q\0", &"q".repeat(4096)] {
        let result = guest
            .subscribe("in.a".to_owned(), Some(queue.to_owned()))
            .await;
        assert_eq!(outcome(&result), "invalid", "{queue:?}");
    }
}

#[tokio::test]
async fn malformed_buckets_and_keys_are_invalid() {
    let built = everything();
    let mut guest = calling(&built);
    for (bucket, key) in [
        ("CACHE", ""),
        ("CACHE", ".a"),
        ("CACHE", "a."),
        ("CACHE", "a b"),
        ("CACHE", "a*"),
        ("CACHE", "a.>"),
        ("CACHE", "a\r\n"),
        ("", "a"),
        ("CACHE.X", "a"),
        ("CACHE ", "a"),
        ("CACHE\0", "a"),
    ] {
        let (b, k) = (|| bucket.to_owned(), || key.to_owned());
        let results = [
            outcome(&guest.get(b(), k()).await),
            outcome(&guest.put(b(), k(), Vec::new()).await),
            outcome(&guest.create(b(), k(), Vec::new()).await),
            outcome(&guest.update(b(), k(), Vec::new(), 0).await),
            outcome(&guest.delete(b(), k(), Some(0)).await),
        ];
        assert_eq!(results, ["invalid"; 5], "{bucket:?} {key:?}");
    }
}

#[tokio::test]
async fn headers_that_the_host_or_the_server_reads_cannot_be_forged() {
    let built = everything();
    let mut guest = calling(&built);
    let forged = [
        ("X-Agent-ID", "other-001"),
        ("x-agent-id", "other-001"),
        ("X_Agent_ID", "other-001"),
        ("X-Request-ID", "r"),
        ("X-Trace-ID", "t"),
        ("X-Span-ID", "s"),
        ("X-Priority", "critical"),
        ("X-Retry-Count", "0"),
        ("X-Claim", "c"),
        ("traceparent", "00-0-0-00"),
        ("tracestate", "a=b"),
        ("Nats-Msg-Id", "1"),
        ("Nats-Rollup", "all"),
        ("nats-expected-stream", "S"),
        ("Nats-Service-Error", "e"),
        ("KV-Operation", "DEL"),
        ("Authorization", "x"),
        ("X-A\r\nNats-Rollup", "all"),
        ("X-A", "v\r\nNats-Rollup: all"),
        ("X-A", "v\nX-Agent-ID: other"),
        ("X-A", "v\0"),
        ("", "v"),
        ("X-", "v"),
        ("X-A:", "v"),
        ("X A", "v"),
    ];
    for (name, value) in forged {
        let headers = || vec![(name.to_owned(), value.to_owned())];
        let result = guest
            .publish("free.a".to_owned(), Vec::new(), headers())
            .await;
        assert_eq!(outcome(&result), "invalid", "{name:?}: {value:?}");
        let result = guest
            .request("free.a".to_owned(), Vec::new(), headers(), None)
            .await;
        assert_eq!(outcome(&result), "invalid", "{name:?}: {value:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Whatever the text, without a connection the answer is an error, and nothing panics.
    #[test]
    fn no_text_gets_through(subject in any::<String>(), name in any::<String>(), value in any::<String>()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let built = everything();
            let mut guest = calling(&built);
            let headers = vec![(name.clone(), value.clone())];
            let _ = guest.publish(subject.clone(), Vec::new(), headers.clone()).await.unwrap_err();
            let _ = guest.publish_stored(subject.clone(), Vec::new(), headers.clone()).await.unwrap_err();
            let _ = guest.request(subject.clone(), Vec::new(), headers.clone(), Some(0)).await.unwrap_err();
            let _ = guest.subscribe(subject.clone(), Some(name.clone())).await.unwrap_err();
            let _ = guest.get(name.clone(), subject.clone()).await.unwrap_err();
            let _ = guest.put(name.clone(), subject.clone(), Vec::new()).await.unwrap_err();
            let _ = guest.keys(name.clone(), subject.clone()).await.unwrap_err();
            guest.log(log::Level::Error, subject, headers);
        });
    }
}
