//! Who may do what, and how a refusal is said.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod replies;

use super::*;

fn spec() -> PermissionSpec {
    let list = |patterns: &[&str]| patterns.iter().map(|p| (*p).to_owned()).collect();
    let kv = |bucket: &str, keys: &[&str], access| KvGrant {
        bucket: bucket.parse().unwrap(),
        keys: list(keys),
        access,
    };
    PermissionSpec {
        manifest: "plugins/sentiment/plugin.toml".into(),
        publish: list(&[
            "results.nlp.>",
            "metrics.agent.{agent}.*",
            "log.{plugin}",
            "foo.*",
            "wide.>",
            "agent.*.cmd.*",
        ]),
        subscribe: list(&["foo.*", "agent.{agent}.note", "deep.>", ">"]),
        request: list(&["tools.search", ">"]),
        deny: list(&["results.nlp.secret", "foo.bar", "deep.{agent}.hidden.>"]),
        kv: vec![
            kv("NLP_CACHE", &["{plugin}.>"], KvAccess::ReadWrite),
            kv("DROP", &["in.{agent}"], KvAccess::Write),
            kv("AGENT_STATE", &[">"], KvAccess::ReadWrite),
            kv("AGENT_CLAIMS", &[">"], KvAccess::ReadWrite),
        ],
    }
}

fn agent(id: &str) -> Permissions {
    let id: AgentId = id.parse().unwrap();
    Permissions::compile(&spec(), &id.plugin().parse().unwrap(), &id)
}

fn sentiment() -> Permissions {
    agent("sentiment-001")
}

fn narrow(subscribe: &[&str], deny: &[&str]) -> Permissions {
    let list = |patterns: &[&str]| patterns.iter().map(|p| (*p).to_owned()).collect();
    let spec = PermissionSpec {
        subscribe: list(subscribe),
        deny: list(deny),
        ..PermissionSpec::default()
    };
    Permissions::compile(&spec, &"a".parse().unwrap(), &"a-001".parse().unwrap())
}

#[test]
fn nothing_is_allowed_without_a_grant() {
    let none = narrow(&[], &[]);
    assert!(matches!(none.publish("a"), Err(Refusal::Denied(_))));
    assert!(matches!(none.request("a"), Err(Refusal::Denied(_))));
    assert!(matches!(none.subscribe("a", None), Err(Refusal::Denied(_))));
    assert!(matches!(
        none.kv("B", "k", Access::Read),
        Err(Refusal::Denied(_))
    ));
    assert!(matches!(none.kv_keys("B", ">"), Err(Refusal::Denied(_))));
}

/// After nats-server's `TestUserAuthorizationProto`.
#[test]
fn publishing() {
    let agent = sentiment();
    for subject in [
        "results.nlp.a",
        "results.nlp.a.b",
        "log.sentiment",
        "foo.x",
        "agent.x-001.cmd.execute",
    ] {
        assert_eq!(agent.publish(subject), Ok(()), "{subject}");
    }
    for subject in [
        "results.nlp",
        "results.nlp.secret",
        "log.other",
        "log.{plugin}",
        "foo.bar",
        "foo.x.y",
        "orders.paid",
        "tools.search",
        "agent.x-001.cmd.pause",
    ] {
        assert!(
            matches!(agent.publish(subject), Err(Refusal::Denied(_))),
            "{subject}"
        );
    }
    for subject in [
        "",
        "foo.*",
        "foo.>",
        "wide.>",
        "wide.a b",
        "wide.a\r\nX",
        "wide.\0",
        "wide..x",
        &"wide.x".repeat(50),
    ] {
        assert!(
            matches!(agent.publish(subject), Err(Refusal::Invalid(_))),
            "{subject:?}"
        );
    }
}

/// A manifest is checked before; whatever else makes a spec must not grant by mistake.
#[test]
fn a_grant_that_is_no_pattern_grants_nothing() {
    for pattern in [
        ">.a",
        ">.>",
        "a.>.b",
        "a..b",
        ".a",
        "a.",
        "",
        "a b",
        "a\r\n",
        "a\0",
        "{agent}.>.b",
    ] {
        let patterns = vec![pattern.to_owned()];
        let spec = PermissionSpec {
            publish: patterns.clone(),
            subscribe: patterns.clone(),
            request: patterns.clone(),
            kv: vec![KvGrant {
                bucket: "B".parse().unwrap(),
                keys: patterns,
                access: KvAccess::ReadWrite,
            }],
            ..PermissionSpec::default()
        };
        let agent = Permissions::compile(&spec, &"a".parse().unwrap(), &"a-001".parse().unwrap());
        for subject in ["a", "b", "a.b", "a.x.b", "a-001.b", "a-001.x.b"] {
            let answers = [
                agent.publish(subject),
                agent.request(subject),
                agent.subscribe(subject, None),
                agent.kv("B", subject, Access::Write),
                agent.kv_keys("B", subject),
            ];
            for answer in answers {
                let denied = matches!(answer, Err(Refusal::Denied(_)));
                assert!(denied, "{pattern:?} {subject}: {answer:?}");
            }
        }
    }
    // Of a `deny` the wider reading is the safe one.
    assert!(narrow(&["a.>"], &[">.b"]).subscribe("a.c", None).is_err());
}

#[test]
fn grants_that_name_the_agent_are_its_own() {
    let (one, two) = (sentiment(), agent("sentiment-002"));
    assert_eq!(one.publish("metrics.agent.sentiment-001.mine"), Ok(()));
    assert!(two.publish("metrics.agent.sentiment-001.mine").is_err());
    assert!(
        one.publish("metrics.agent.sentiment-001.cpu_usage")
            .is_err()
    );
    assert_eq!(two.subscribe("agent.sentiment-002.note", None), Ok(()));
    assert_eq!(one.kv("DROP", "in.sentiment-001", Access::Write), Ok(()));
    assert!(two.kv("DROP", "in.sentiment-001", Access::Write).is_err());
}

#[test]
fn requesting() {
    let agent = sentiment();
    for subject in ["tools.search", "anything.else", "agent.x-001.cmd.execute"] {
        assert_eq!(agent.request(subject), Ok(()), "{subject}");
    }
    for subject in [
        "foo.bar",
        "work.nlp.x",
        "agent.x-001.cmd.status",
        "health.check.x-001",
        "$JS.API.INFO",
        "_INBOX.x",
    ] {
        assert!(
            matches!(agent.request(subject), Err(Refusal::Denied(_))),
            "{subject}"
        );
    }
}

#[test]
fn subscribing_needs_a_grant_that_covers_everything() {
    let agent = narrow(&["foo.*", "agent.a1.>", "b.>"], &["b.secret", "b.all.>"]);
    for pattern in ["foo.*", "foo.x", "agent.a1.>", "agent.a1.*", "b.*", "b.>"] {
        assert_eq!(agent.subscribe(pattern, None), Ok(()), "{pattern}");
    }
    for pattern in [
        "foo.>",
        "agent.*.x",
        "*",
        ">",
        "*.x",
        "b.secret",
        "b.all.*",
        "b.all.>",
        "foo",
    ] {
        assert!(
            matches!(agent.subscribe(pattern, None), Err(Refusal::Denied(_))),
            "{pattern}"
        );
    }
    for pattern in ["", "foo.>.x", "foo. ", "foo\r\n"] {
        assert!(
            matches!(agent.subscribe(pattern, None), Err(Refusal::Invalid(_))),
            "{pattern:?}"
        );
    }
}

/// After nats-server's `TestClientSubscribeDenyWildcardOverlapBlocksDelivery` and the leak of
/// 2.9 with a deny that overlaps the subscription only in part.
#[test]
fn denied_messages_are_not_heard_through_a_wider_subscription() {
    let agent = narrow(&["foo.>"], &["foo.*.secret", "foo.bar.baz"]);
    for pattern in ["foo.bar.*", "foo.>", "foo.*.*"] {
        assert_eq!(agent.subscribe(pattern, None), Ok(()), "{pattern}");
    }
    assert!(agent.subscribe("foo.bar.secret", None).is_err());
    assert!(agent.may_receive("foo.bar.open"));
    for subject in [
        "foo.bar.secret",
        "foo.bar.baz",
        "work.nlp.x",
        "$JS.EVENT.x",
        "_INBOX.a",
        "a b",
        "",
    ] {
        assert!(!agent.may_receive(subject), "{subject:?}");
    }
}

/// After nats-server's `TestQueueSubscribePermissions`: a queue group opens nothing.
#[test]
fn queue_groups() {
    let agent = narrow(&["foo.*", "broadcast.>", "agent.>"], &["foo.bar"]);
    assert_eq!(agent.subscribe("foo.*", Some("workers")), Ok(()));
    for pattern in [
        "foo.>",
        "foo.bar",
        "bar.x",
        "broadcast.global.x",
        "agent.*.ready",
        "work.nlp.x",
    ] {
        assert!(
            matches!(
                agent.subscribe(pattern, Some("workers")),
                Err(Refusal::Denied(_))
            ),
            "{pattern}"
        );
    }
    for queue in ["", "a b", "a\r\n", "a\0", &"q".repeat(129)] {
        assert!(
            matches!(
                agent.subscribe("foo.*", Some(queue)),
                Err(Refusal::Invalid(_))
            ),
            "{queue:?}"
        );
    }
}

#[test]
fn a_grant_to_everything_leaves_the_reserved_part_closed() {
    let agent = sentiment();
    for pattern in ["orders.>", "coord.>", "broadcast.emergency.*"] {
        assert_eq!(agent.subscribe(pattern, None), Ok(()), "{pattern}");
    }
    for pattern in [">", "*.x", "work.>", "pipeline.w.*.x", "$JS.>", "_INBOX.>"] {
        assert!(agent.subscribe(pattern, None).is_err(), "{pattern}");
    }
}

#[test]
fn keys_of_buckets() {
    let agent = sentiment();
    for (bucket, key, access, allowed) in [
        ("NLP_CACHE", "sentiment.a", Access::Read, true),
        ("NLP_CACHE", "sentiment.a.b", Access::Write, true),
        ("NLP_CACHE", "sentiment", Access::Read, false),
        ("NLP_CACHE", "other.a", Access::Read, false),
        ("OTHER", "sentiment.a", Access::Read, false),
        ("DROP", "in.sentiment-001", Access::Read, false),
        ("AGENT_STATE", "agent.x-001", Access::Read, true),
        ("AGENT_STATE", "agent.x-001", Access::Write, false),
        ("AGENT_CLAIMS", "x-001", Access::Read, false),
    ] {
        assert_eq!(
            agent.kv(bucket, key, access).is_ok(),
            allowed,
            "{bucket} {key} {access:?}"
        );
    }
    for (bucket, key) in [
        ("", "a"),
        ("a.b", "a"),
        ("B", ""),
        ("B", "a."),
        ("B", ">"),
        ("B", "*"),
        ("B", "a b"),
        ("B", "a\0"),
    ] {
        assert!(
            matches!(
                agent.kv(bucket, key, Access::Read),
                Err(Refusal::Invalid(_))
            ),
            "{bucket} {key:?}"
        );
    }
}

#[test]
fn listing_keys_needs_a_grant_that_covers_the_pattern() {
    let agent = sentiment();
    for pattern in ["sentiment.>", "sentiment.*", "sentiment.a"] {
        assert_eq!(agent.kv_keys("NLP_CACHE", pattern), Ok(()), "{pattern}");
    }
    for (bucket, pattern) in [
        ("NLP_CACHE", ">"),
        ("NLP_CACHE", "*.a"),
        ("DROP", "in.sentiment-001"),
        ("AGENT_CLAIMS", ">"),
    ] {
        assert!(
            matches!(agent.kv_keys(bucket, pattern), Err(Refusal::Denied(_))),
            "{bucket} {pattern}"
        );
    }
    assert!(matches!(
        agent.kv_keys("NLP_CACHE", "a.>.b"),
        Err(Refusal::Invalid(_))
    ));
}

#[test]
fn the_sentences_name_the_line_that_would_allow_it() {
    let agent = sentiment();
    let said = [
        agent.publish("orders.paid"),
        agent.publish("results.nlp.secret"),
        agent.publish("audit.x"),
        agent.publish("a b"),
        narrow(&[], &[]).request("tools.x"),
        narrow(&[], &[]).subscribe("tools.>", None),
        agent.subscribe("work.nlp.>", None),
        agent.subscribe("broadcast.global.x", Some("q")),
        agent.kv("SHOP", "a.b", Access::Write),
        agent.kv("AGENT_STATE", "a.b", Access::Write),
        agent.kv_keys("SHOP", "a.>"),
    ];
    let said: Vec<String> = said
        .into_iter()
        .map(|r| r.unwrap_err().to_string() + "\n")
        .collect();
    mistersmith_testing::golden("permissions/golden/refusals.txt", &said.concat());
}
