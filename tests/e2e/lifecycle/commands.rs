//! `agent.<whom>.cmd.<type>`: execute, pause, resume, shutdown, config, status.

use serde_json::{Value, json};

use harness::{Host, Nats, Plugin, header, headers, until};

fn ids(answers: &[Value]) -> Vec<String> {
    let mut ids: Vec<String> = answers
        .iter()
        .map(|a| a["agent_id"].as_str().unwrap().to_owned())
        .collect();
    ids.sort();
    ids
}

#[tokio::test]
async fn a_command_reaches_whom_it_names() {
    let nats = Nats::start().await;
    let _one = Host::new(&nats)
        .named("one")
        .plugin("probe", |p| p.instances(2))
        .with(Plugin::shipped("echo"))
        .run()
        .await;
    let _two = Host::new(&nats)
        .named("two")
        .plugin("probe", |p| p)
        .run()
        .await;
    let everybody = [
        "echo-001",
        "echo-002",
        "probe-001",
        "probe-002",
        "probe-003",
    ];
    let probes = ["probe-001", "probe-002", "probe-003"];
    for (whom, meant) in [
        // As the seeds have it: the wildcard, published.
        ("*", &everybody[..]),
        ("all", &everybody),
        ("probe", &probes),
        ("probe-003", &probes[2..]),
    ] {
        for (command, status) in [
            ("pause", "paused"),
            ("resume", "ready"),
            ("status", "ready"),
        ] {
            let subject = format!("agent.{whom}.cmd.{command}");
            let answers = nats.ask_all(&subject, "", meant.len()).await;
            assert_eq!(ids(&answers), meant, "{subject}");
            for answer in &answers {
                assert_eq!(answer["ok"], true, "{answer}");
                assert_eq!(answer["status"], status, "{subject}");
            }
        }
    }
    // Everybody is asked, and nobody else answers.
    let answers = nats
        .ask_all("agent.all.cmd.status", "", everybody.len())
        .await;
    assert_eq!(ids(&answers), everybody);
    nats.audited("command", |entry| {
        entry["command"] == "pause" && entry["agent_id"] == "probe-003" && entry["ok"] == true
    })
    .await;
}

#[tokio::test]
async fn execute_runs_the_handler_and_replies() {
    let nats = Nats::start().await;
    let _host = Host::new(&nats)
        .plugin("probe", |p| {
            p.execute("schema = \"command.json\"")
                .file("command.json", r#"{"type": "object", "required": ["do"]}"#)
        })
        .run()
        .await;
    let reply = json!({"do": "reply", "payload": "<b>", "content_type": "text/html", "headers": [["X-Mine", "1"]]});
    let answer = nats
        .request("agent.probe-001.cmd.execute", reply.to_string())
        .await;
    let told = answer.headers.as_ref().unwrap();
    assert_eq!(answer.payload, "<b>");
    assert_eq!(header(told, "Content-Type"), "text/html");
    assert_eq!(header(told, "X-Mine"), "1");
    assert_eq!(header(told, "X-Agent-ID"), "probe-001");

    // A failure says so, in words and as micro services do.
    for (payload, kind, code) in [
        (
            r#"{"do": "fail_reject", "message": "not today"}"#,
            "rejected",
            "400",
        ),
        (
            r#"{"do": "fail_retry", "message": "not yet"}"#,
            "retry",
            "503",
        ),
        (
            r#"{"do": "fail_other", "message": "no idea"}"#,
            "failed",
            "500",
        ),
        (r#"{"do": "trap"}"#, "trap", "500"),
        (r#"{"without": "do"}"#, "schema", "400"),
        ("no json", "schema", "400"),
    ] {
        let answer = nats.request("agent.probe-001.cmd.execute", payload).await;
        let told: Value = serde_json::from_slice(&answer.payload).unwrap();
        assert_eq!(told["ok"], false, "{payload}: {told}");
        assert_eq!(told["kind"], kind, "{payload}: {told}");
        let error = told["error"].as_str().unwrap();
        let said = answer.headers.as_ref().unwrap();
        assert_eq!(header(said, "Nats-Service-Error"), error, "{payload}");
        assert_eq!(header(said, "Nats-Service-Error-Code"), code, "{payload}");
    }

    // Nobody waits: the result is stored, also when it is an error.
    let asked = |id: &str| headers(&[("X-Request-ID", id)]);
    let subject = "agent.probe-001.cmd.execute";
    nats.publish_with(subject, asked("quiet-1"), r#"{"do": "echo", "value": 7}"#)
        .await;
    let stored = nats.result_of("quiet-1").await;
    assert_eq!(stored.subject, "agent.probe-001.resp.quiet-1");
    assert_eq!(stored.text(), "7");
    nats.publish_with(
        subject,
        asked("quiet-2"),
        r#"{"do": "fail_reject", "message": "no"}"#,
    )
    .await;
    let stored = nats.result_of("quiet-2").await;
    assert_eq!(stored.json()["ok"], false);
    assert_eq!(stored.header("Nats-Service-Error"), "no");
}

#[tokio::test]
async fn a_paused_agent_takes_nothing_until_it_is_resumed() {
    let nats = Nats::start().await;
    let mut host = Host::new(&nats)
        .plugin("probe", |p| {
            p.work("lab", "*").subscribe_queue("probe.in", "probes")
        })
        .run()
        .await;
    let answer = nats.request_json("agent.probe-001.cmd.pause", "").await;
    assert_eq!(
        answer,
        json!({"ok": true, "agent_id": "probe-001", "status": "paused"})
    );

    until("nobody asks for work any longer", async || {
        let polls = nats.polls().await;
        (polls == 0).then_some(())
    })
    .await;

    nats.work_as(
        "w1",
        "work.lab.critical.x",
        r#"{"do": "header", "name": "X-Retry-Count"}"#,
    )
    .await;
    let answer = nats
        .request("agent.probe-001.cmd.execute", r#"{"do": "counter"}"#)
        .await;
    let said = answer.headers.as_ref().unwrap();
    assert!(
        header(said, "Nats-Service-Error").contains("paused"),
        "{answer:?}"
    );
    let consumer = until("the item is stored and not taken", async || {
        let info = nats.stream_info("WORK_QUEUE").await;
        (info.state.messages == 1).then_some(info)
    })
    .await;
    assert_eq!(consumer.state.messages, 1);

    // It stays so when the host comes back, even after a crash.
    host.kill();
    host.start();
    host.wait_ready().await;
    nats.state_is("probe-001", "paused").await;
    assert!(nats.results_of("w1").await.is_empty());
    assert_eq!(nats.stream_info("WORK_QUEUE").await.state.messages, 1);

    let answer = nats.request_json("agent.probe-001.cmd.resume", "").await;
    assert_eq!(answer["status"], "ready");
    // Waiting was never a try.
    assert_eq!(nats.result_of("w1").await.json(), "0");
    nats.work_is_done().await;
    nats.state_is("probe-001", "ready").await;
}

#[tokio::test]
async fn configuration_is_replaced_at_run_time_and_kept() {
    let nats = Nats::start().await;
    let ear = nats.listen("report").await;
    let mut host = Host::new(&nats)
        .plugin("probe", |p| {
            p.instances(2)
                .config("report_to = \"report\"")
                .config("language = \"en\"")
                .config("depth = 3")
                .grant_publish("report")
        })
        .run()
        .await;
    let answer = nats
        .request_json(
            "agent.probe-001.cmd.config",
            r#"{"language": "de", "more": [1]}"#,
        )
        .await;
    assert_eq!(answer["ok"], true, "{answer}");
    let expected = json!({"report_to": "report", "language": "de", "depth": 3, "more": [1]});
    let notice = ear
        .first("the notice", |m| {
            m.payload.windows(6).any(|w| w == b"notice")
        })
        .await;
    let notice: Value = serde_json::from_slice(&notice.payload).unwrap();
    assert_eq!(notice["agent"], "probe-001");
    assert_eq!(notice["config"], expected);
    let config =
        async |agent: &str| nats.tell(agent, json!({"do": "context"})).await["config"].clone();
    assert_eq!(config("probe-001").await, expected);
    assert_eq!(
        config("probe-002").await["language"],
        "en",
        "the other one was not meant"
    );

    for bad in ["", "no json", "[1]", "\"text\""] {
        let answer = nats.request("agent.probe-001.cmd.config", bad).await;
        let told: Value = serde_json::from_slice(&answer.payload).unwrap();
        assert_eq!(told["ok"], false, "{bad}");
        assert!(
            told["error"].as_str().unwrap().contains("JSON object"),
            "{told}"
        );
        assert!(!header(answer.headers.as_ref().unwrap(), "Nats-Service-Error").is_empty());
    }

    // What is too much, at once or with what was set before, changes nothing.
    let half = "x".repeat(40_000);
    let too_much = [
        (json!({"a": half, "b": half}), "`cmd.config` may have 65536"),
        (
            (0..300).map(|n| (n.to_string(), json!(n))).collect(),
            "256 values of 65536 bytes together",
        ),
    ];
    for (bad, of) in too_much {
        let answer = nats
            .request("agent.probe-001.cmd.config", bad.to_string())
            .await;
        let told: Value = serde_json::from_slice(&answer.payload).unwrap();
        assert!(told["error"].as_str().unwrap().contains(of), "{told}");
        let headers = answer.headers.as_ref().unwrap();
        assert_eq!(header(headers, "Nats-Service-Error-Code"), "413");
    }
    assert_eq!(config("probe-001").await, expected);

    host.kill();
    host.start();
    host.wait_ready().await;
    assert_eq!(config("probe-001").await, expected, "it is kept");

    // Null takes a change back.
    nats.request_json(
        "agent.probe-001.cmd.config",
        r#"{"language": null, "more": null}"#,
    )
    .await;
    until("the manifest's value is back", async || {
        let config = config("probe-001").await;
        (config == json!({"report_to": "report", "language": "en", "depth": 3})).then_some(())
    })
    .await;
    nats.audited("config", |entry| entry["agent_id"] == "probe-001")
        .await;
}

#[tokio::test]
async fn a_shut_down_agent_stays_down_until_its_host_restarts() {
    let nats = Nats::start().await;
    let ear = nats.listen("agent.probe-001.*").await;
    let mut host = Host::new(&nats)
        .plugin("probe", |p| p.instances(2))
        .run()
        .await;
    nats.state_is("probe-001", "ready").await;
    let answer = nats.request_json("agent.probe-001.cmd.shutdown", "").await;
    assert_eq!(answer["ok"], true, "{answer}");
    let stopped = ear.on_subject("agent.probe-001.stopped").await;
    let stopped: Value = serde_json::from_slice(&stopped.payload).unwrap();
    assert_eq!(stopped["reason"], "shutdown");
    until("its state is gone", async || {
        nats.state("probe-001").await.is_none().then_some(())
    })
    .await;

    // Nobody answers for it, and it is not started again behind our back.
    let answers = nats.ask_all("agent.all.cmd.status", "", 1).await;
    assert_eq!(ids(&answers), ["probe-002"]);
    let beats = nats.listen("agent.probe-002.heartbeat").await;
    beats.number(3).await;
    assert_eq!(nats.state("probe-001").await, None);
    assert_eq!(ear.count("agent.probe-001.created"), 1);

    host.stop().await;
    host.start();
    host.wait_ready().await;
    nats.state_is("probe-001", "ready").await;
}
