//! The end of a host: orderly at the first signal, at once at the second.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use harness::{Host, Nats, Plugin, signal, until, until_in};

fn slow(ms: u64) -> String {
    json!({"do": "sequence", "commands": [
        {"do": "publish", "subject": "ran"}, {"do": "sleep", "ms": ms, "how": "wait"}, {"do": "echo", "value": "done"},
    ]})
    .to_string()
}

#[tokio::test]
async fn a_signal_lets_the_host_finish_what_is_in_hand() {
    let nats = Nats::start().await;
    for name in ["TERM", "INT", "HUP"] {
        let ran = nats.listen("ran").await;
        let ear = nats.listen("agent.>").await;
        let mut host = Host::new(&nats)
            .named(&name.to_lowercase())
            .line("grace = \"15s\"")
            .plugin("probe", |p| {
                p.instances(2)
                    .work("lab", "*")
                    .grant_publish("ran")
                    .grant_publish("last.words")
                    .config("report_to = \"last.words\"")
            })
            .run()
            .await;
        let last = nats.listen("last.words").await;
        let id = |text: &str| format!("{text}-{name}");
        nats.work_as(&id("held"), "work.lab.high.x", slow(2000))
            .await;
        ran.number(1).await;
        let other = nats.another().await;
        let asked = tokio::spawn(async move {
            other
                .request("agent.probe-002.cmd.execute", slow(1500))
                .await
        });
        ran.number(2).await;
        signal(host.pid(), name);
        host.logs.saying("draining").await;
        // For somebody else, unless it overtakes the host, which takes its pulls back at this
        // moment.
        nats.work_as(
            &id("late"),
            "work.lab.high.x",
            r#"{"do": "echo", "value": 1}"#,
        )
        .await;
        assert_eq!(host.ended().await, Some(0), "{name}");

        assert_eq!(nats.result_of(&id("held")).await.json()[2], "done");
        let answer = asked.await.unwrap();
        let answer: Value = serde_json::from_slice(&answer.payload).unwrap();
        assert_eq!(answer[2], "done", "a request in hand is answered");
        let left = nats.stream_info("WORK_QUEUE").await.state.messages;
        let done = nats.results_of(&id("late")).await.len() as u64;
        assert_eq!(left + done, 1, "the late one is left, or done");
        for agent in ["probe-001", "probe-002"] {
            assert_eq!(ear.count(&format!("agent.{agent}.stopped")), 1);
            assert_eq!(nats.state(agent).await, None);
        }
        // The plugin was told to stop, and could still speak.
        let stops: Vec<Value> = last
            .all()
            .iter()
            .map(|m| serde_json::from_slice(&m.payload).unwrap())
            .collect();
        assert_eq!(
            stops.iter().filter(|told| told["stop"] == "drain").count(),
            2,
            "{stops:?}"
        );
        let lease = format!("host.{}", host.host_id());
        assert_eq!(
            nats.kv_json("AGENT_LEASES", &lease).await,
            None,
            "the lease is given up"
        );
        host.logs.saying("drained").await;

        // The next host does what is left, at once: even if this one had been given it already, it
        // does not have to wait for the ack wait of 30 s.
        host.start();
        host.wait_ready().await;
        let result = until_in(Duration::from_secs(15), "it is done at once", async || {
            nats.results_of(&id("late")).await.pop()
        });
        assert_eq!(result.await.text(), "1");
        assert_eq!(
            nats.result_of(&id("late")).await.header("X-Retry-Count"),
            "0"
        );
        host.stop().await;
    }
}

#[tokio::test]
async fn the_grace_period_ends() {
    let nats = Nats::start().await;
    let ran = nats.listen("ran").await;
    let mut host = Host::new(&nats)
        .line("grace = \"1s\"")
        .plugin("probe", |p| {
            p.work("lab", "*")
                .grant_publish("ran")
                .limit("timeout = \"60s\"")
        })
        .run()
        .await;
    nats.work_as("held", "work.lab.high.x", slow(50_000)).await;
    ran.number(1).await;
    let (code, took) = host.stop().await;
    assert_eq!(code, Some(0));
    assert!(took < Duration::from_secs(12), "{took:?}");
    assert_eq!(
        nats.stream_info("WORK_QUEUE").await.state.messages,
        1,
        "it is not lost"
    );
    assert_eq!(nats.state("probe-001").await, None);
    host.logs
        .first("it says what it left", |line| {
            line.level() == "WARN" && line.message().contains("again")
        })
        .await;
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let nats = Nats::start().await;
    let ran = nats.listen("ran").await;
    let mut host = Host::new(&nats)
        .line("grace = \"60s\"")
        .plugin("probe", |p| {
            p.work("lab", "*")
                .grant_publish("ran")
                .limit("timeout = \"60s\"")
        })
        .run()
        .await;
    nats.work_as("held", "work.lab.high.x", slow(50_000)).await;
    ran.number(1).await;
    host.terminate();
    host.logs.saying("draining").await;
    // The same signal twice at once is one signal: make and a terminal both send it.
    let begun = Instant::now();
    let status = until("it ends", async || {
        if host.exited().is_none() {
            host.terminate();
        }
        host.exited()
    })
    .await;
    assert_ne!(status.code(), Some(0), "it was not orderly");
    assert!(
        begun.elapsed() < Duration::from_secs(10),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(
        nats.stream_info("WORK_QUEUE").await.state.messages,
        1,
        "it is not lost"
    );
}

#[tokio::test]
async fn hangups_do_not_insist() {
    let nats = Nats::start().await;
    let ran = nats.listen("ran").await;
    let mut host = Host::new(&nats)
        .line("grace = \"15s\"")
        .plugin("probe", |p| p.work("lab", "*").grant_publish("ran"))
        .run()
        .await;
    nats.work_as("held", "work.lab.high.x", slow(2000)).await;
    ran.number(1).await;
    host.terminate();
    host.logs.saying("draining").await;
    // As a terminal, its shell and a service manager do, one after the other.
    let status = until("it ends", async || {
        if host.exited().is_none() {
            signal(host.pid(), "HUP");
        }
        host.exited()
    })
    .await;
    assert_eq!(status.code(), Some(0));
    assert_eq!(nats.result_of("held").await.json()[2], "done");
}

#[tokio::test]
async fn a_host_that_was_told_to_ignore_hangups_does() {
    let nats = Nats::start().await;
    let mut host = Host::new(&nats)
        .shell("trap '' HUP; exec \"$@\"")
        .plugin("echo", |p| p)
        .run()
        .await;
    signal(host.pid(), "HUP");
    // A host that drains loads nothing.
    host.drop_in(&Plugin::new("sentiment"));
    host.wait_plugin("sentiment", 1).await;
    assert!(
        host.logs
            .find(|line| line.message().contains("draining"))
            .is_empty()
    );
    assert_eq!(host.stop().await.0, Some(0));
}

#[tokio::test]
async fn calls_that_outlast_a_drain_are_named() {
    let nats = Nats::start().await;
    let host = Host::new(&nats)
        .line("grace = \"10s\"")
        .plugin("probe", |p| p.limit("timeout = \"40s\""))
        .plugin("echo", |p| p.limit("timeout = \"8s\""))
        .run()
        .await;
    let text = "limits.timeout: a call may take 40s, and a host that drains waits 8s for it";
    let line = host.logs.saying(text).await;
    assert_eq!(
        (line.level(), line.field("plugin")),
        ("WARN".into(), "probe".into())
    );
    let checked = host.cli(&["check"]).await.ok();
    assert!(checked.stderr.contains("warning: "), "{checked:#?}");
    assert!(checked.stderr.contains(text), "{checked:#?}");
    let json = host.cli(&["check", "--json"]).await.ok().json();
    assert_eq!(json["warnings"].as_array().unwrap().len(), 1, "{json}");
    let fix = json["warnings"][0]["fix"].as_str().unwrap();
    assert!(fix.contains("grace = \"42s\""), "{fix}");
    let other = host.cli(&["check", "echo", "--json"]).await.ok().json();
    assert_eq!(other["warnings"], json!([]));
}

#[tokio::test]
async fn a_signal_while_starting_ends_it_too() {
    let nats = Nats::start().await;
    nats.pause();
    let mut host = Host::new(&nats)
        .plugin("probe", |p| p.not_awaited())
        .start();
    // It is past its signal handlers when it has made its data folder or waits for the server.
    until("it has begun", async || {
        let begun = host.data().join("host.lock").exists() || !host.logs.all().is_empty();
        begun.then_some(())
    })
    .await;
    host.terminate();
    let begun = Instant::now();
    host.ended().await;
    assert!(begun.elapsed() < Duration::from_secs(5));
    nats.resume();
}
