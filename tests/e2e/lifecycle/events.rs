//! `created started ready heartbeat stopped error`, AGENT_STATE, health checks, the emergency.

use serde_json::{Value, json};

use harness::{Ear, Host, Nats, header, until};

fn steps(ear: &Ear, agent: &str) -> Vec<String> {
    let prefix = format!("agent.{agent}.");
    let is_step = |step: &&str| *step != "heartbeat" && !step.contains('.');
    let subjects = ear.subjects();
    let steps = subjects
        .iter()
        .filter_map(|subject| subject.strip_prefix(&prefix).filter(is_step));
    steps.map(str::to_owned).collect()
}

fn is_time(value: &Value) -> bool {
    let format = &time::format_description::well_known::Rfc3339;
    let time = value
        .as_str()
        .and_then(|text| time::OffsetDateTime::parse(text, format).ok());
    time.is_some_and(|time| time.offset().is_utc())
}

fn body(message: &async_nats::Message) -> Value {
    serde_json::from_slice(&message.payload).unwrap()
}

#[tokio::test]
async fn an_agents_life_is_told_step_by_step() {
    let nats = Nats::start().await;
    let ear = nats.listen("agent.>").await;
    let mut host = Host::new(&nats)
        .named("kitchen")
        .plugin("probe", |p| {
            p.instances(2)
                .version("1.2.3")
                .head("capabilities = [\"probing\"]")
        })
        .run()
        .await;

    for agent in ["probe-001", "probe-002"] {
        ear.on_subject(&format!("agent.{agent}.ready")).await;
        assert_eq!(steps(&ear, agent), ["created", "started", "ready"]);
        for step in ["created", "started", "ready"] {
            let event = ear.on_subject(&format!("agent.{agent}.{step}")).await;
            let told = body(&event);
            assert_eq!(told["agent_id"], agent);
            assert_eq!(told["plugin"], "probe");
            assert_eq!(told["version"], "1.2.3");
            assert_eq!(told["host"], "kitchen");
            assert!(is_time(&told["at"]), "{told}");
            assert_eq!(header(event.headers.as_ref().unwrap(), "X-Agent-ID"), agent);
        }
    }

    let beat = body(&ear.on_subject("agent.probe-001.heartbeat").await);
    let state = nats.state_is("probe-001", "ready").await;
    for told in [&beat, &state] {
        let fields: Vec<&String> = told.as_object().unwrap().keys().collect();
        assert_eq!(
            fields,
            [
                "agent_id",
                "capabilities",
                "current_load",
                "last_heartbeat",
                "metadata",
                "status"
            ]
        );
        assert_eq!(told["agent_id"], "probe-001");
        assert_eq!(told["capabilities"], json!(["probing"]));
        assert!(
            (0.0..=1.0).contains(&told["current_load"].as_f64().unwrap()),
            "{told}"
        );
        assert!(is_time(&told["last_heartbeat"]), "{told}");
    }
    // The heartbeat goes on; it is told, not stored.
    let beats = ear.count("agent.probe-001.heartbeat");
    until("the heart goes on beating", async || {
        (ear.count("agent.probe-001.heartbeat") >= beats + 2).then_some(())
    })
    .await;
    let stored = nats.stored("AGENT_LIFECYCLE", "agent.probe-001.>").await;
    let stored: Vec<&str> = stored
        .iter()
        .filter_map(|event| event.subject.rsplit('.').next())
        .collect();
    assert_eq!(stored, ["created", "started", "ready"]);

    let (code, _) = host.stop().await;
    assert_eq!(code, Some(0));
    for agent in ["probe-001", "probe-002"] {
        let stopped = body(&ear.on_subject(&format!("agent.{agent}.stopped")).await);
        assert_eq!(stopped["reason"], "drain");
        assert_eq!(
            steps(&ear, agent),
            ["created", "started", "ready", "stopped"]
        );
        assert_eq!(
            nats.state(agent).await,
            None,
            "a stopped agent has no state"
        );
    }
    let stopped = nats.stored("AGENT_LIFECYCLE", "agent.*.stopped").await;
    assert_eq!(stopped.len(), 2, "the last words are stored too");
}

#[tokio::test]
async fn state_follows_what_the_agent_does() {
    let nats = Nats::start().await;
    let _host = Host::new(&nats)
        .plugin("probe", |p| p.limit("timeout = \"10s\""))
        .run()
        .await;
    nats.state_is("probe-001", "ready").await;
    let busy = json!({"do": "sleep", "ms": 3000, "how": "wait"});
    nats.publish("agent.probe-001.cmd.execute", busy.to_string())
        .await;
    nats.state_is("probe-001", "busy").await;
    // A busy agent still answers for itself.
    let status = nats.request_json("agent.probe-001.cmd.status", "").await;
    assert_eq!(status["status"], "busy");
    nats.state_is("probe-001", "ready").await;
    until("the load of the last seconds is told", async || {
        let state = nats.state("probe-001").await.unwrap();
        (state["current_load"].as_f64().unwrap() > 0.0).then_some(())
    })
    .await;
    nats.request_json("agent.probe-001.cmd.pause", "").await;
    nats.state_is("probe-001", "paused").await;
}

#[tokio::test]
async fn a_death_is_an_error_event_and_a_new_instance() {
    let nats = Nats::start().await;
    let ear = nats.listen("agent.>").await;
    let _host = Host::new(&nats)
        .plugin("probe", |p| p.instances(2))
        .run()
        .await;
    let before = nats.tell("probe-001", json!({"do": "counter"})).await;
    let other = nats.tell("probe-002", json!({"do": "counter"})).await;

    let answer = nats
        .request("agent.probe-001.cmd.execute", r#"{"do":"trap"}"#)
        .await;
    let told = body(&answer);
    assert_eq!(told["ok"], false, "{told}");
    assert!(!header(answer.headers.as_ref().unwrap(), "Nats-Service-Error").is_empty());

    let error = body(&ear.on_subject("agent.probe-001.error").await);
    assert_eq!(error["agent_id"], "probe-001");
    assert_eq!(error["kind"], "trap");
    assert!(
        error["message"].as_str().unwrap().contains("unreachable"),
        "{error}"
    );
    assert!(is_time(&error["at"]));

    until("it is ready again", async || {
        (ear.count("agent.probe-001.ready") == 2).then_some(())
    })
    .await;
    assert_eq!(
        steps(&ear, "probe-001"),
        ["created", "started", "ready", "error", "started", "ready"]
    );
    let after = nats.tell("probe-001", json!({"do": "counter"})).await;
    assert_ne!(after["instance"], before["instance"]);
    assert_eq!(after["count"], 1);
    let same = nats.tell("probe-002", json!({"do": "counter"})).await;
    assert_eq!(
        same["instance"], other["instance"],
        "the neighbour noticed nothing"
    );
    let health = nats.request_json("health.check.probe-001", "").await;
    assert!(
        health["last_error"]
            .as_str()
            .unwrap()
            .contains("unreachable"),
        "{health}"
    );
}

#[tokio::test]
async fn a_start_that_fails_is_told_and_tried_again_ever_later() {
    let nats = Nats::start().await;
    let ear = nats.listen("agent.*.error").await;
    let ready = nats.listen("agent.*.ready").await;
    let _host = Host::new(&nats)
        .plugin("probe", |p| {
            p.config("on_start = { do = \"fail_other\", message = \"no model\" }")
                .not_awaited()
        })
        .run()
        .await;
    let error = body(&ear.on_subject("agent.probe-001.error").await);
    assert_eq!(error["kind"], "start");
    assert!(
        error["message"].as_str().unwrap().contains("no model"),
        "{error}"
    );
    nats.state_is("probe-001", "error").await;
    ear.number(5).await;
    let waits: Vec<_> = ear
        .times()
        .windows(2)
        .map(|pair| pair[1] - pair[0])
        .collect();
    // At least half of 100, 200, 400, 800 ms; what is told may be late, but not early.
    assert!(
        waits[3] > waits[0] && waits[3].as_millis() >= 350,
        "the delay grows: {waits:?}"
    );
    assert!(ready.all().is_empty());
    let health = nats.request_json("health.check.probe-001", "").await;
    assert_eq!(health["status"], "error");
}

#[tokio::test]
async fn health_checks_are_answered_by_each_agent_for_itself() {
    let nats = Nats::start().await;
    let _host = Host::new(&nats)
        .plugin("probe", |p| {
            p.instances(2).head("capabilities = [\"a\", \"b\"]")
        })
        .with(harness::Plugin::shipped("echo"))
        .run()
        .await;
    let ill = json!({"do": "health", "ok": false, "detail": "no model", "load": 0.75});
    nats.tell("probe-001", ill).await;
    let health = nats.request_json("health.check.probe-001", "").await;
    assert_eq!(health["agent_id"], "probe-001");
    assert_eq!(health["status"], "ready");
    assert!(health["uptime_seconds"].is_u64());
    assert_eq!(health["current_load"], 0.75);
    assert_eq!(health["capabilities"], json!(["a", "b"]));
    assert!(health["last_error"].is_null());
    assert_eq!(health["detail"], "no model");

    // The seeds publish the wildcard literally; so do we understand it.
    let answers = nats.ask_all("health.check.*", "", 4).await;
    let mut agents: Vec<&str> = answers
        .iter()
        .map(|a| a["agent_id"].as_str().unwrap())
        .collect();
    agents.sort_unstable();
    assert_eq!(agents, ["echo-001", "echo-002", "probe-001", "probe-002"]);
}

#[tokio::test]
async fn an_emergency_drains_every_host() {
    let nats = Nats::start().await;
    let ear = nats.listen("agent.>").await;
    let mut first = Host::new(&nats)
        .named("first")
        .plugin("probe", |p| p)
        .run()
        .await;
    let mut second = Host::new(&nats)
        .named("second")
        .plugin("probe", |p| p)
        .run()
        .await;
    nats.publish("broadcast.emergency.shutdown", "").await;
    assert_eq!(first.ended().await, Some(0));
    assert_eq!(second.ended().await, Some(0));
    ear.on_subject("agent.probe-001.stopped").await;
    ear.on_subject("agent.probe-002.stopped").await;
    nats.audited("command", |entry| entry["command"] == "emergency.shutdown")
        .await;
}

#[tokio::test]
async fn hundreds_of_agents_live_on_one_host() {
    const MANY: u32 = 300;
    let nats = Nats::start().await;
    let mut host = Host::new(&nats)
        .plugin("echo", |p| p.instances(MANY).subscribe_queue("in", "q"))
        .run()
        .await;
    let answers = nats
        .ask_all("agent.all.cmd.status", "", MANY as usize)
        .await;
    assert!(answers.iter().all(|answer| answer["status"] == "ready"));
    for (command, status) in [("pause", "paused"), ("resume", "ready")] {
        let subject = format!("agent.all.cmd.{command}");
        let answers = nats.ask_all(&subject, "", MANY as usize).await;
        assert!(answers.iter().all(|answer| answer["status"] == status));
    }
    let last = format!("echo-{MANY}");
    let answer = nats
        .request(&format!("agent.{last}.cmd.execute"), "hello")
        .await;
    assert_eq!(answer.payload, "hello");
    // A flood of questions to all of them keeps nobody from asking one.
    for subject in ["$SRV.STATS", "health.check.*"].repeat(100) {
        let (sink, nothing) = ("flood.sink", "".into());
        let sent = nats.client.publish_with_reply(subject, sink, nothing);
        sent.await.unwrap();
    }
    let [ping, check] = ["$SRV.PING.echo", "health.check"].map(|verb| format!("{verb}.{last}"));
    let answers = (nats.request_json(&ping, ""), nats.request_json(&check, ""));
    let (ping, check) = tokio::join!(answers.0, answers.1);
    assert_eq!(
        (&ping["id"], &check["agent_id"]),
        (&json!(last), &json!(last))
    );
    until("all of them are in AGENT_STATE", async || {
        (nats.keys("AGENT_STATE").await.len() == MANY as usize).then_some(())
    })
    .await;
    let (code, took) = host.stop().await;
    assert_eq!(code, Some(0));
    assert!(took.as_secs() < 10, "{took:?}");
    assert!(nats.keys("AGENT_STATE").await.is_empty());
}
