//! Subjects, keys and headers that no server should see.

use serde_json::json;

use harness::{Host, Nats};

/// Subjects that are none.
fn malformed() -> Vec<String> {
    let mut subjects: Vec<String> = [
        "",
        ".",
        "a..b",
        ".a",
        "a.",
        "two words",
        "tab\tbed",
        "a\r\nPUB agent.x.created 0\r\n\r\n",
        "line\nfeed",
        "nul\0l",
        "no\u{a0}break",
    ]
    .map(str::to_owned)
    .into();
    subjects.push(format!("a.{}", "b".repeat(300)));
    subjects.push("a.".repeat(3000) + "b");
    subjects
}

#[tokio::test]
async fn a_plugin_that_names_no_subject_is_told_and_lives_on() {
    let nats = Nats::start().await;
    let all = nats.listen(">").await;
    let _host = Host::new(&nats)
        .plugin("probe", |p| {
            p.grant_publish(">")
                .grant_request(">")
                .grant_subscribe(">")
                .grant_kv("NOTES", "mine.>", "read-write")
        })
        .run()
        .await;
    let before = nats.tell("probe-001", json!({"do": "counter"})).await;
    let mut literal = malformed();
    // On a wildcard nobody can publish; to subscribe is another matter.
    literal.extend(["a.*", "a.>", "*", ">"].map(str::to_owned));
    for subject in literal {
        for call in ["publish", "publish_stored", "request"] {
            let command = json!({"do": call, "subject": subject, "payload": "x"});
            let (kind, message) = nats.refused("probe-001", command).await;
            assert_eq!(kind, "invalid", "{call} {subject:?}: {message}");
            assert!(message.contains("subject"), "{call} {subject:?}: {message}");
            assert!(
                message.len() < 1000,
                "quoted in part: {} bytes",
                message.len()
            );
            assert!(!message.contains(['\r', '\n', '\0']), "{message:?}");
        }
    }
    let mut patterns = malformed();
    patterns.extend(["a.>.b", ">.a"].map(str::to_owned));
    for subject in patterns {
        let command = json!({"do": "subscribe", "subject": subject});
        let (kind, message) = nats.refused("probe-001", command).await;
        assert_eq!(kind, "invalid", "{subject:?}: {message}");
    }
    for queue in ["", "two words", "a\r\nb", "nul\0l"] {
        let command = json!({"do": "subscribe", "subject": "fine", "queue": queue});
        let (kind, message) = nats.refused("probe-001", command).await;
        assert_eq!(kind, "invalid", "{queue:?}: {message}");
    }
    for (name, value) in [
        ("X-Mine", "a\r\nNats-Rollup: all"),
        ("X Mine", "a"),
        ("X-Mi\0ne", "a"),
        ("", "a"),
    ] {
        let command = json!({"do": "publish", "subject": "fine", "headers": [[name, value]]});
        let (kind, message) = nats.refused("probe-001", command).await;
        assert!(
            kind == "invalid" || kind == "denied",
            "{name:?}: {kind}: {message}"
        );
    }
    for (key, expected) in [
        ("", "invalid"),
        ("mine..x", "invalid"),
        ("mine.two words", "invalid"),
        ("mine.a\r\nb", "invalid"),
        ("mine.*", "invalid"),
        ("mine.>", "invalid"),
        ("yours.x", "denied"),
        ("mine", "denied"),
    ] {
        for call in ["kv_put", "kv_get"] {
            let mut command = json!({"do": call, "bucket": "NOTES", "key": key});
            if call == "kv_put" {
                command["value"] = json!("x");
            }
            let (kind, message) = nats.refused("probe-001", command).await;
            assert_eq!(kind, expected, "{call} {key:?}: {message}");
            if expected == "denied" {
                let place = "plugins/probe/plugin.toml";
                assert!(
                    message.contains(key) && message.contains(place),
                    "{message}"
                );
            }
        }
    }
    assert!(nats.keys("NOTES").await.is_empty());
    let odd: Vec<String> = all.subjects();
    assert!(
        !odd.iter()
            .any(|s| s.starts_with("a.") || s == "fine" || s == "agent.x.created"),
        "{odd:?}"
    );
    // The same instance on the same connection.
    let counted = nats.tell("probe-001", json!({"do": "counter"})).await;
    assert_eq!(counted["instance"], before["instance"], "{counted}");
}

#[tokio::test]
async fn a_person_who_names_no_subject_is_told_how_it_must_be() {
    let nats = Nats::start().await;
    let all = nats.listen(">").await;
    let host = Host::new(&nats)
        .plugin("echo", |p| p.subscribe("tools.echo"))
        .run()
        .await;
    for subject in malformed() {
        if subject.contains('\0') {
            // No argument of a process can hold it.
            continue;
        }
        for command in ["publish", "request"] {
            let ran = host.cli(&[command, &subject, "x"]).await;
            assert_eq!(ran.code, Some(64), "{subject:?}: {ran:#?}");
            assert_eq!(ran.stdout, "");
            assert_eq!(ran.stderr.trim_end().lines().count(), 1, "{ran:#?}");
            assert!(ran.stderr.contains("subject"), "{ran:#?}");
        }
    }
    for header in ["X-A: 1\r\nNats-Rollup: all", "no colon", ": x"] {
        let ran = host.cli(&["publish", "fine", "x", "-H", header]).await;
        assert_eq!(ran.code, Some(64), "{header:?}: {ran:#?}");
    }
    assert!(
        !all.subjects()
            .iter()
            .any(|s| s.starts_with("a.") || s == "fine")
    );
    let ran = host.cli(&["request", "tools.echo", "hello"]).await.ok();
    assert_eq!(ran.stdout.trim_end(), "hello");
}
