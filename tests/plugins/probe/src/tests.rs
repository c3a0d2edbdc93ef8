//! The probe on the mock bus.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod together;

use mistersmith_sdk::mock::{Bus, Delivery, Running};
use mistersmith_sdk::{CallError, Error, Reply, Value, json};
use std::time::Duration;

use super::*;

fn probe(bus: &Bus) -> Running<Probe> {
    bus.start().unwrap()
}

fn told(probe: &mut Running<Probe>, command: Value) -> Value {
    probe.execute(command).unwrap().to_value()
}

#[test]
fn commands_work_alike_whatever_brings_them() {
    let mut probe = probe(&Bus::new());
    let echo = || json!({"do": "echo", "value": [1]});
    assert_eq!(told(&mut probe, echo()), json!([1]));
    let worked = probe.work("work.probe.high.x", echo()).unwrap();
    assert_eq!(worked.to_value(), json!([1]));
    let heard = probe.message("probe.in", echo()).unwrap();
    assert_eq!(heard.to_value(), json!([1]));
    let counted = told(&mut probe, json!({"do": "counter"}));
    assert_eq!(counted["count"], 4);
    assert_eq!(counted["agent"], "mock-001");
}

#[test]
fn what_is_no_command_is_rejected_but_heard() {
    let bus = Bus::new().with_config(json!({"report_to": "report"}));
    let mut probe = probe(&bus);
    for (bad, problem) in [
        ("text", "expected ident"),
        (r#"{"do": "fly"}"#, "no command `fly`"),
        (r#"{"do": "echo"}"#, "missing field `value`"),
        (
            r#"{"do": "header", "name": "x", "much": 1}"#,
            "unknown field",
        ),
        ("{}", "no command: it begins with"),
        (r#"{"do": "spin", "much": 1}"#, "unknown field `much`"),
    ] {
        let error = probe.execute(bad).unwrap_err();
        assert!(
            error.is_reject() && error.message().contains(problem),
            "{error}"
        );
    }
    let heard = probe.message("a.b", "text").unwrap().to_value();
    assert_eq!(heard["payload"], "text");
    assert!(probe.message("a.b", r#"{"do": "fly"}"#).is_err());
    let report: Value = bus.published()[0].json().unwrap();
    assert_eq!(report["subject"], "a.b");
    let remembered = told(&mut probe, json!({"do": "heard"}));
    assert_eq!(remembered.as_array().unwrap().len(), 2);
    assert_eq!(told(&mut probe, json!({"do": "heard"})), json!([]));
}

#[test]
fn messaging() {
    let bus = Bus::new().with_stream("S", "s.>");
    bus.answer("ask", |request| Ok(Reply::from(request.payload.as_slice())));
    bus.deny("secret");
    let mut probe = probe(&bus);
    let results = told(
        &mut probe,
        json!({"do": "sequence", "commands": [
            {"do": "publish", "subject": "a", "payload": {"b": 1}, "headers": [["X-A", "1"]]},
            {"do": "publish", "subject": "a", "payload": "t", "bytes": 3},
            {"do": "publish", "subject": "secret"},
            {"do": "publish_stored", "subject": "s.a"},
            {"do": "publish_stored", "subject": "a"},
            {"do": "request", "subject": "ask", "payload": "hey", "timeout_ms": 5},
            {"do": "request", "subject": "nobody"},
            {"do": "subscribe", "subject": "x.*", "queue": "q"},
            {"do": "unsubscribe", "subscription": 1},
            {"do": "unsubscribe", "subscription": 1},
        ]}),
    );
    let kind = |n: usize| results[n]["error"]["kind"].clone();
    assert_eq!(results[0], json!({"ok": true}));
    assert_eq!(kind(2), "denied");
    assert_eq!(
        results[3],
        json!({"stream": "S", "sequence": 1, "duplicate": false})
    );
    assert_eq!(kind(4), "not-found");
    assert_eq!(results[5]["payload"], "hey");
    assert_eq!(kind(6), "no-responders");
    assert_eq!(results[7], json!({"subscription": 1}));
    assert_eq!(results[8], json!({"ok": true}));
    assert_eq!(kind(9), "not-found");
    let published = bus.published();
    assert_eq!(published[0].payload, b"{\"b\":1}");
    assert_eq!(published[0].header("x-a"), Some("1"));
    assert_eq!(published[1].payload, b"txxx");
}

#[test]
fn kv() {
    let bus = Bus::new();
    let mut probe = probe(&bus);
    let at = |name: &str, more: Value| {
        let mut command = json!({"do": name, "bucket": "B"});
        let fields = command.as_object_mut().unwrap();
        fields.extend(more.as_object().unwrap().clone());
        command
    };
    for (command, expected) in [
        (at("kv_get", json!({"key": "a"})), json!(null)),
        (
            at("kv_put", json!({"key": "a", "value": "1", "bytes": 2})),
            json!({"revision": 1}),
        ),
        (
            at("kv_get", json!({"key": "a"})),
            json!({"value": "1xx", "revision": 1}),
        ),
        (
            at("kv_create", json!({"key": "b", "value": "2"})),
            json!({"revision": 2}),
        ),
        (
            at(
                "kv_update",
                json!({"key": "b", "value": "3", "revision": 1}),
            ),
            json!({"error": {"kind": "conflict", "message": "somebody else wrote first"}}),
        ),
        (
            at(
                "kv_update",
                json!({"key": "b", "value": "3", "revision": 2}),
            ),
            json!({"revision": 3}),
        ),
        (
            at("kv_keys", json!({"pattern": ">"})),
            json!({"keys": ["a", "b"]}),
        ),
        (at("kv_delete", json!({"key": "a"})), json!({"ok": true})),
        (
            at("kv_delete", json!({"key": "b", "revision": 3})),
            json!({"ok": true}),
        ),
        (at("kv_keys", json!({"pattern": ">"})), json!({"keys": []})),
    ] {
        assert_eq!(told(&mut probe, command.clone()), expected, "{command}");
    }
}

#[test]
fn what_it_knows() {
    let bus = Bus::new().with_config(json!({"a": 1}));
    let mut probe = probe(&bus);
    let context = told(&mut probe, json!({"do": "context"}));
    assert_eq!(context["config"], json!({"a": 1}));
    assert_eq!(context["remaining_ms"], 5000);
    let asking = |command: Value| Delivery::execute(command).header("X-A", "1");
    let headers = probe.deliver(asking(json!({"do": "headers"}))).unwrap();
    let all = json!([["Content-Type", "application/json"], ["X-A", "1"]]);
    assert_eq!(headers.to_value(), all);
    let one = probe.deliver(asking(json!({"do": "header", "name": "x-a"})));
    assert_eq!(one.unwrap().to_value(), "1");
}

#[test]
fn logs_prints_and_sleeps() {
    let bus = Bus::new();
    let mut probe = probe(&bus);
    for command in [
        json!({"do": "log", "level": "warn", "message": "m", "bytes": 2, "fields": {"k": "v"}}),
        json!({"do": "print", "text": "t", "to": "stdout"}),
        json!({"do": "print", "text": "t", "to": "stderr"}),
    ] {
        assert_eq!(told(&mut probe, command), json!({"ok": true}));
    }
    assert_eq!(bus.logs()[0].message, "mxx");
    for how in ["busy", "wait"] {
        let slept = told(&mut probe, json!({"do": "sleep", "ms": 2, "how": how}));
        assert!(slept["slept_ms"].as_u64().unwrap() >= 2);
    }
    bus.answer("slow", |_| Err(CallError::Timeout));
    let command = json!({"do": "sleep", "ms": 2, "how": "request", "subject": "slow"});
    assert_eq!(told(&mut probe, command)["error"]["kind"], "timeout");
    assert_eq!(bus.requests()[0].timeout, Some(Duration::from_millis(2)));
}

#[test]
fn failures() {
    let mut probe = probe(&Bus::new());
    let mut fail = |command: Value| probe.execute(command).unwrap_err();
    let retry = fail(json!({"do": "fail_retry", "message": "m", "delay_ms": 5}));
    assert_eq!(retry, Error::retry_after(Duration::from_millis(5), "m"));
    let retry = fail(json!({"do": "fail_retry", "message": "m"}));
    assert_eq!(retry, Error::retry("m"));
    let reject = fail(json!({"do": "fail_reject", "message": "m"}));
    assert_eq!(reject, Error::reject("m"));
    let other = fail(json!({"do": "fail_other", "message": "m"}));
    assert_eq!(other, Error::other("m"));
    for retries in 0..4 {
        let command = json!({"do": "fail_times", "n": 2});
        let item = Delivery::work("work.probe.x", command).retries(retries);
        let result = probe.deliver(item);
        assert_eq!(result.is_ok(), retries >= 2, "{retries}");
    }
}

#[test]
fn replies() {
    let mut probe = probe(&Bus::new());
    let reply = probe.execute(json!({
        "do": "reply", "payload": "p", "content_type": "a/b", "headers": [["X-A", "1"]],
    }));
    let expected = Reply::from("p")
        .with_content_type("a/b")
        .with_header("X-A", "1");
    assert_eq!(reply.unwrap(), expected);
    assert!(probe.execute(json!({"do": "no_reply"})).unwrap().is_none());
    let big = probe
        .execute(json!({"do": "big_reply", "bytes": 10}))
        .unwrap();
    assert_eq!(big.payload().len(), 10);
    let nested = json!({"do": "sequence", "commands": [{"do": "no_reply"}]});
    assert_eq!(told(&mut probe, nested)[0]["error"]["kind"], "invalid");
}

#[test]
fn what_is_hostile_yet_returns() {
    let mut probe = probe(&Bus::new());
    let kept = told(
        &mut probe,
        json!({"do": "alloc", "bytes": 10_000, "keep": true}),
    );
    assert_eq!(kept, json!({"bytes": 10_000, "pages": 3, "kept": 10_000}));
    let more = told(&mut probe, json!({"do": "alloc", "bytes": 1, "keep": true}));
    assert_eq!(more["kept"], 10_001);
    let much = json!({"do": "alloc", "bytes": i64::MAX, "ask": true});
    assert_eq!(told(&mut probe, much)["error"]["kind"], "memory");
    let deep = told(&mut probe, json!({"do": "recurse", "depth": 100}));
    assert_eq!(deep, json!({"depth": 100}));
    let handles = told(&mut probe, json!({"do": "handles", "count": 1}));
    assert_eq!(handles["error"]["kind"], "other");
}

#[test]
#[should_panic(expected = "as asked")]
fn it_panics() {
    let mut probe = probe(&Bus::new());
    let _ = probe.execute(json!({"do": "panic", "message": "as asked"}));
}

#[test]
fn outside_a_sandbox_all_is_allowed() {
    let mut probe = probe(&Bus::new());
    for (command, field) in [
        (json!({"do": "env"}), "env"),
        (json!({"do": "args"}), "args"),
        (json!({"do": "open_file", "path": "Cargo.toml"}), "bytes"),
        (json!({"do": "list_folder", "path": "src"}), "files"),
        (
            json!({"do": "listen", "address": "127.0.0.1:0"}),
            "listening",
        ),
        (json!({"do": "bind_udp", "address": "127.0.0.1:0"}), "bound"),
        (json!({"do": "resolve", "host": "127.0.0.1"}), "addresses"),
        (json!({"do": "random"}), "random"),
        (json!({"do": "clock"}), "ms"),
        (json!({"do": "thread"}), "thread"),
    ] {
        let told = told(&mut probe, command.clone());
        assert!(told.get(field).is_some(), "{command} {told}");
    }
    let refused = told(
        &mut probe,
        json!({"do": "open_file", "path": "/no/such", "write": true}),
    );
    assert_eq!(refused["error"]["kind"], "io");
    let refused = told(
        &mut probe,
        json!({"do": "connect", "address": "127.0.0.1:1"}),
    );
    assert_eq!(refused["error"]["kind"], "io");
}

#[test]
fn floods_are_counted() {
    let bus = Bus::new();
    bus.deny("no.>");
    let mut probe = probe(&bus);
    for (command, expected) in [
        (
            json!({"do": "flood_publish", "subject": "a", "count": 3}),
            json!({"done": 3, "errors": {}}),
        ),
        (
            json!({"do": "flood_publish", "subject": "no.a", "count": 3}),
            json!({"done": 0, "errors": {"denied": 3}}),
        ),
        (
            json!({"do": "flood_log", "count": 3, "bytes": 2}),
            json!({"done": 3, "errors": {}}),
        ),
        (
            json!({"do": "flood_print", "count": 3}),
            json!({"done": 3, "errors": {}}),
        ),
        (
            json!({"do": "many_put", "bucket": "B", "prefix": "k", "count": 2}),
            json!({"done": 2, "errors": {}}),
        ),
        (
            json!({"do": "many_subscribe", "prefix": "s", "count": 1002}),
            json!({"done": 1000, "errors": {"exhausted": 2}}),
        ),
    ] {
        assert_eq!(told(&mut probe, command.clone()), expected, "{command}");
    }
}

#[test]
fn its_life_follows_the_configuration() {
    let bus = Bus::new().with_config(json!({
        "report_to": "report",
        "on_start": {"do": "subscribe", "subject": "news"},
        "on_message": {"do": "counter"},
        "on_stop": {"do": "publish", "subject": "gone"},
    }));
    let mut probe = probe(&bus);
    assert_eq!(bus.subscriptions()[0].subject, "news");
    assert_eq!(probe.message("news", "x").unwrap().to_value()["count"], 1);
    told(
        &mut probe,
        json!({"do": "health", "ok": false, "detail": "ill", "load": 0.5}),
    );
    assert_eq!(probe.health(), Health::failing("ill").with_load(0.5));
    probe.configure(json!({"report_to": "other", "on_stop": {"do": "fail_other", "message": "m"}}));
    assert_eq!(
        told(&mut probe, json!({"do": "notices"}))[0]["notice"],
        "configuration"
    );
    probe.stop("drain");
    let subjects: Vec<String> = bus.published().into_iter().map(|m| m.subject).collect();
    assert_eq!(subjects, ["report", "other", "other"]);
    assert_eq!(
        bus.logs().last().unwrap().message,
        "the agent did not stop cleanly: m"
    );

    let failing =
        Bus::new().with_config(json!({"on_start": {"do": "fail_reject", "message": "m"}}));
    assert_eq!(failing.start::<Probe>().err().unwrap(), Error::reject("m"));
}
