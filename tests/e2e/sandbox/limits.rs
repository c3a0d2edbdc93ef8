//! Each limit exceeded: the call fails or ends, and everything else goes on.

use bytes::Bytes;
use serde_json::{Value, json};

use harness::{Host, Nats, header, until};

#[tokio::test]
async fn what_an_instance_uses_up_ends_its_call() {
    let nats = Nats::start().await;
    let errors = nats.listen("agent.probe-001.error").await;
    let _host = Host::new(&nats)
        .plugin("probe", |p| {
            p.limit("memory = \"8MiB\"")
                .limit("timeout = \"4s\"")
                .limit("cpu = \"200ms\"")
                .limit("handles = 64")
        })
        .run()
        .await;
    let kept = json!({"do": "alloc", "bytes": 3 << 20, "keep": true});
    let cases = [
        (json!({"do": "alloc", "bytes": 16 << 20}), "memory"),
        // The sum counts: three times three is too much.
        (
            json!({"do": "sequence", "commands": [kept, kept, kept]}),
            "memory",
        ),
        (json!({"do": "spin"}), "cpu"),
        (json!({"do": "sleep", "ms": 60_000, "how": "busy"}), "cpu"),
        (
            json!({"do": "sleep", "ms": 60_000, "how": "wait"}),
            "timeout",
        ),
        (json!({"do": "handles", "count": 1000}), "handles"),
        (json!({"do": "recurse", "depth": null}), "trap"),
        (json!({"do": "panic", "message": "as asked"}), "trap"),
        (json!({"do": "trap"}), "trap"),
        (json!({"do": "exit", "code": 0}), "exit"),
        (json!({"do": "exit", "code": 3}), "exit"),
    ];
    for (number, (command, kind)) in cases.iter().enumerate() {
        let begun = std::time::Instant::now();
        let answer = nats
            .request("agent.probe-001.cmd.execute", command.to_string())
            .await;
        let told: Value = serde_json::from_slice(&answer.payload).unwrap();
        assert_eq!(told["kind"], *kind, "{command}: {told}");
        assert!(!header(answer.headers.as_ref().unwrap(), "Nats-Service-Error").is_empty());
        // The wait before the next instance grows with each death in a row.
        assert!(
            begun.elapsed().as_secs() < 32,
            "{command} took {:?}",
            begun.elapsed()
        );
        let error = errors.number(number + 1).await.pop().unwrap();
        let error: Value = serde_json::from_slice(&error.payload).unwrap();
        assert_eq!(error["kind"], *kind, "{command}: {error}");
        // A call that succeeds makes the next death the first again.
        let count = nats.tell("probe-001", json!({"do": "counter"})).await["count"].clone();
        assert_eq!(count, 1, "a new instance after {command}");
    }
    // An allocation that can fail does, and nobody dies.
    let asked = nats
        .refused(
            "probe-001",
            json!({"do": "alloc", "bytes": 16 << 20, "ask": true}),
        )
        .await;
    assert_eq!(asked.0, "memory");
    assert_eq!(errors.all().len(), cases.len());
}

#[tokio::test]
async fn payloads_have_a_limit_in_and_out() {
    let nats = Nats::start().await;
    let _host = Host::new(&nats)
        .plugin("probe", |p| {
            p.limit("payload = \"1KiB\"")
                .limit("memory = \"256MiB\"")
                .grant_publish("out")
                .grant_publish("work.lab.x")
                .grant_request("large")
                .grant_kv("B", ">", "read-write")
                .subscribe_queue("in", "q")
        })
        .run()
        .await;
    let out = nats.listen("out").await;
    for (command, expected) in [
        (
            json!({"do": "publish", "subject": "out", "bytes": 1024}),
            "ok",
        ),
        (
            json!({"do": "publish", "subject": "out", "bytes": 1025}),
            "too-large",
        ),
        (
            json!({"do": "publish_stored", "subject": "work.lab.x", "bytes": 1025}),
            "too-large",
        ),
        (
            json!({"do": "request", "subject": "large", "bytes": 1025}),
            "too-large",
        ),
        (
            json!({"do": "kv_put", "bucket": "B", "key": "k", "value": "", "bytes": 1024}),
            "ok",
        ),
        (
            json!({"do": "kv_put", "bucket": "B", "key": "k", "value": "", "bytes": 1025}),
            "too-large",
        ),
    ] {
        let told = nats.tell("probe-001", command.clone()).await;
        assert_eq!(
            told["error"]["kind"].as_str().unwrap_or("ok"),
            expected,
            "{command}: {told}"
        );
    }
    // An answer or a value of others that is larger is not let in either.
    nats.kv("B")
        .await
        .put("large", vec![b'x'; 2000].into())
        .await
        .unwrap();
    let (kind, _) = nats
        .refused(
            "probe-001",
            json!({"do": "kv_get", "bucket": "B", "key": "large"}),
        )
        .await;
    assert_eq!(kind, "too-large");
    let mut large = nats.client.subscribe("large").await.unwrap();
    let client = nats.client.clone();
    tokio::spawn(async move {
        use futures_util::StreamExt;
        let asked = large.next().await.unwrap();
        client
            .publish(asked.reply.unwrap(), vec![b'x'; 2000].into())
            .await
            .unwrap();
    });
    nats.answers().await;
    let (kind, _) = nats
        .refused("probe-001", json!({"do": "request", "subject": "large"}))
        .await;
    assert_eq!(kind, "too-large");
    // Neither is what comes uncalled, nor does what goes back pass.
    let padded = format!("{{\"do\": \"counter\"{}}}", " ".repeat(1024));
    for subject in ["agent.probe-001.cmd.execute", "in"] {
        let told = nats.request(subject, padded.clone()).await;
        let said = told.headers.unwrap();
        assert_eq!(
            header(&said, "Nats-Service-Error-Code"),
            "413",
            "{subject}: {:?}",
            told.payload
        );
    }
    let told = nats
        .request(
            "agent.probe-001.cmd.execute",
            r#"{"do": "big_reply", "bytes": 2000}"#,
        )
        .await;
    let error = header(&told.headers.unwrap(), "Nats-Service-Error");
    assert!(
        error.contains("2000 bytes") && error.contains("payload"),
        "{error}"
    );
    assert_eq!(out.all().len(), 1);
    // A call of the host that carries a hundred times the limit ends the instance, not the host.
    let huge = json!({"do": "publish", "subject": "out", "bytes": 100 << 20});
    let told = nats
        .request_json("agent.probe-001.cmd.execute", huge.to_string())
        .await;
    let fate = [&told["kind"], &told["error"]["kind"]];
    assert!(
        fate.iter().any(|f| **f == "data" || **f == "too-large"),
        "{told}"
    );
    assert_eq!(
        nats.tell("probe-001", json!({"do": "echo", "value": 1}))
            .await,
        1
    );
}

#[tokio::test]
async fn rates_and_numbers_have_limits() {
    let nats = Nats::start().await;
    let out = nats.listen("out").await;
    // Somebody who listens and never answers.
    let silent = nats.listen("slow").await;
    let host = Host::new(&nats)
        .plugin("probe", |p| {
            p.instances(2)
                .limit("publish_rate = \"50/s\"")
                .limit("requests = 1")
                .limit("subscriptions = 3")
                .limit("log_rate = \"10/s\"")
                .grant_publish("out")
                .grant_request("slow")
                .grant_subscribe("s.>")
                .grant_kv("B", ">", "read-write")
        })
        .run()
        .await;
    let many = nats
        .tell(
            "probe-001",
            json!({"do": "many_subscribe", "prefix": "s", "count": 10}),
        )
        .await;
    assert_eq!(many, json!({"done": 3, "errors": {"exhausted": 7}}));
    nats.tell("probe-001", json!({"do": "unsubscribe", "subscription": 1}))
        .await;
    let again = nats
        .tell(
            "probe-001",
            json!({"do": "many_subscribe", "prefix": "s", "count": 2}),
        )
        .await;
    assert_eq!(
        again,
        json!({"done": 1, "errors": {"exhausted": 1}}),
        "a place was free again"
    );

    // One request of the plugin may wait; the other agent's is one too many.
    let slow = json!({"do": "request", "subject": "slow", "timeout_ms": 3000}).to_string();
    nats.publish("agent.probe-001.cmd.execute", slow.clone())
        .await;
    silent.number(1).await;
    let told = nats.request_json("agent.probe-002.cmd.execute", slow).await;
    assert_eq!(told["error"]["kind"], "exhausted", "{told}");

    let flood = nats
        .tell(
            "probe-001",
            json!({"do": "flood_publish", "subject": "out", "count": 1000}),
        )
        .await;
    let (done, limited) = (
        flood["done"].as_u64().unwrap(),
        flood["errors"]["rate-limited"].as_u64().unwrap(),
    );
    assert!((1..=200).contains(&done), "{flood}");
    assert_eq!(done + limited, 1000, "{flood}");
    until("what was taken is published", async || {
        (out.all().len() as u64 == done).then_some(())
    })
    .await;
    let flood = nats
        .tell(
            "probe-001",
            json!({"do": "many_put", "bucket": "B", "prefix": "k", "count": 500}),
        )
        .await;
    assert!(
        flood["errors"]["rate-limited"].as_u64().unwrap() > 0,
        "writes count as well: {flood}"
    );

    for command in ["flood_log", "flood_print"] {
        let told = nats
            .tell("probe-002", json!({"do": command, "count": 2000}))
            .await;
        assert_eq!(told["done"], 2000, "the agent is not held up: {told}");
        // The next line that passes says how many did not.
        let dropped = until("dropped lines are counted", async || {
            nats.tell(
                "probe-002",
                json!({"do": "log", "level": "info", "message": "after"}),
            )
            .await;
            let lines = host
                .logs
                .find(|line| line.message().contains("log lines were dropped"));
            lines
                .last()
                .map(|line| line.field("dropped").parse::<u64>().unwrap())
                .filter(|n| *n > 1000)
        })
        .await;
        assert!(dropped < 2100, "{command}: {dropped}");
    }
    let lines = host.logs.find(|line| line.message().starts_with("line "));
    assert!(lines.len() < 200, "{} lines of 4000", lines.len());
}

#[tokio::test]
async fn what_waits_for_an_agent_is_bounded_and_the_rest_is_told() {
    // More bytes than may wait for the agents of a plugin, and for one agent from commands.
    const MANY: usize = 4000;
    let nats = Nats::start().await;
    let replies = nats.listen("replies.>").await;
    let host = Host::new(&nats)
        .plugin("probe", |p| {
            p.limit("timeout = \"20s\"")
                .subscribe("all.in")
                .subscribe_queue("queue.in", "q")
        })
        .run()
        .await;
    let slow = r#"{"do": "sleep", "ms": 8000, "how": "wait"}"#;
    nats.publish("agent.probe-001.cmd.execute", slow).await;
    nats.state_is("probe-001", "busy").await;
    let echo = r#"{"do": "echo", "value": 1}"#;
    let large = Bytes::from(format!("{echo}{}", " ".repeat(20 * 1024)));
    for subject in ["agent.probe-001.cmd.execute", "all.in", "queue.in"] {
        for number in 0..MANY {
            let reply = format!("replies.{number}");
            let sent = nats
                .client
                .publish_with_reply(subject, reply, large.clone());
            sent.await.unwrap();
        }
        // Those that find no room are told at once, while the agent is still busy.
        let busy = until("those without room are told", async || {
            let busy: Vec<_> = replies
                .all()
                .into_iter()
                .filter_map(|reply| reply.headers)
                .filter(|said| header(said, "Nats-Service-Error-Code") == "429")
                .collect();
            (busy.len() >= MANY / 10).then_some(busy)
        })
        .await;
        assert!(
            header(&busy[0], "Nats-Service-Error").contains("as it may have wait"),
            "{:?}",
            busy[0]
        );
        replies.forget();
    }
    let dropped = host.logs.saying("messages dropped").await;
    assert_eq!(dropped.field("plugin"), "probe");
    // And everybody who did find room is answered in the end.
    let answer = until("the agent is free again", async || {
        let answer = nats.request("agent.probe-001.cmd.execute", echo).await;
        (answer.payload == "1").then_some(answer)
    });
    answer.await;
    assert_eq!(nats.request("queue.in", echo).await.payload, "1");
}
