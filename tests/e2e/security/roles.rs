//! The five roles within an account: host, operator, publisher, worker, observer.

use serde_json::{Value, json};

use super::{
    PASSWORD, host, may_not_publish, may_not_subscribe, nothing_refused, operate, operate_fed,
    server, with_examples,
};
use harness::{DEADLY, Ear, Plugin, until};

#[tokio::test]
async fn a_host_runs_with_the_permissions_of_the_page() {
    let nats = server().await;
    let mut host = with_examples(host(&nats, "kitchen")).run().await;
    // Work, its result, a bucket, a dead letter, a request, commands, health, a reload, the end.
    nats.work_as("good", "work.nlp.high.sentiment", "I love it")
        .await;
    nats.work_as("words", "work.data.wordcount", "one two three")
        .await;
    nats.work_as("bad", "work.nlp.low.sentiment", r#"{"text": 1}"#)
        .await;
    nats.result_of("good").await;
    nats.result_of("words").await;
    nats.dead_letters("work.nlp.low.sentiment", 1).await;
    // An election; questions to many; micro services; a payload that goes through the object store,
    // there and back.
    let large = Plugin::new("probe")
        .work("lab", "*")
        .limit("payload = \"8MiB\"")
        .limit("memory = \"128MiB\"")
        .section("[election]\ndomain = \"lab\"")
        .section("[scatter]")
        .section("[circuit]\nservice = \"db\"\nfailures = 1\nreset = \"1s\"")
        .section("[idempotence]\nwindow = \"10m\"")
        .section("[[pipeline]]\nstage = \"one\"\nnext = [\"two\"]")
        .section("[[pipeline]]\nstage = \"two\"")
        .instances(2)
        .grant_publish("pipeline.*.01.one")
        .grant_publish("coord.*.mine")
        .grant_subscribe("coord.*.*")
        .grant_publish("scatter.*.task");
    let leaders = nats.listen("election.lab.leader").await;
    host.drop_in(&large);
    leaders.on_subject("election.lab.leader").await;
    nats.request_json("$SRV.PING", "").await;
    let answers = nats.listen("gather.who.result").await;
    nats.publish("scatter.who.task", r#"{"do": "context"}"#)
        .await;
    answers.on_subject("gather.who.result").await;
    nats.agents_ready("probe", "kitchen", 2).await;
    // A workflow from start to result, with an event of the plugin's own; a circuit that opens and
    // closes.
    let stage = json!({"do": "echo", "value": 1});
    let together = json!({"do": "sequence", "commands": [
        {"do": "start_pipeline", "stage": "one", "workflow": "w", "payload": stage},
        {"do": "pipeline_result", "workflow": "w", "timeout_ms": 100},
        {"do": "watch", "workflow": "x"},
        {"do": "signal", "workflow": "x", "event": "mine", "payload": 1},
        {"do": "await_event", "workflow": "x", "event": "mine", "timeout_ms": 4000},
    ]});
    nats.tell("probe-001", together).await;
    nats.stored("COORDINATION", "pipeline.w.>").await;
    let circuit = nats.listen("circuit.db.*").await;
    nats.work_as("opener", "work.lab.x", r#"{"do": "fail_times", "n": 1}"#)
        .await;
    circuit.on_subject("circuit.db.open").await;
    circuit.on_subject("circuit.db.closed").await;
    nats.result_of("opener").await;
    let metric = nats.listen("metrics.agent.probe-001.tasks_failed").await;
    metric.number(1).await;
    let item = json!({"do": "echo", "value": "x".repeat(2_000_000)}).to_string();
    let sent = [
        "publish",
        "work.lab.high.x",
        "-",
        "-H",
        "X-Request-ID: large",
    ];
    host.cli_fed(&sent, item.as_bytes()).await.ok();
    let claim = nats.result_of("large").await.header("X-Claim");
    assert!(!claim.is_empty(), "the result is large");
    nats.work_is_done().await;
    assert_eq!(&*nats.request("tools.echo", "a").await.payload, b"a");
    for command in ["pause", "resume", "status"] {
        let answer = nats
            .request_json(&format!("agent.echo-001.cmd.{command}"), "")
            .await;
        assert_eq!(answer["ok"], true, "{answer}");
    }
    let set = nats
        .request_json("agent.echo-001.cmd.config", r#"{"a": 1}"#)
        .await;
    assert_eq!(set["ok"], true, "{set}");
    nats.request_json("health.check.echo-001", "").await;
    nats.state_is("echo-001", "ready").await;
    host.drop_in(&Plugin::new("echo").version("0.2.0").subscribe("tools.echo"));
    until("echo is replaced", async || {
        let status = nats.request_json("agent.echo-001.cmd.status", "").await;
        (status["version"] == "0.2.0").then_some(())
    })
    .await;
    host.take_out("word-count");
    until("an agent that was taken out leaves no state", async || {
        nats.state("word-count-001").await.is_none().then_some(())
    })
    .await;
    assert_eq!(host.stop().await.0, Some(0));
    nothing_refused(&nats, "kitchen-host");

    // And the server would refuse it the rest.
    let thief = nats.as_user("kitchen-host", PASSWORD, "_INBOX").await;
    for subject in [
        "$JS.API.STREAM.DELETE.WORK_QUEUE",
        "$JS.API.STREAM.PURGE.WORK_QUEUE",
        "agent.echo-001.cmd.shutdown",
        "broadcast.emergency.shutdown",
    ] {
        may_not_publish(&nats, &thief, "kitchen-host", subject).await;
    }
    for subject in ["work.>", "agent.*.resp.*", ">"] {
        may_not_subscribe(&nats, &thief, "kitchen-host", subject).await;
    }
}

#[tokio::test]
async fn every_role_can_disturb_a_connection_and_none_can_end_the_host() {
    let nats = server().await;
    let mut host = with_examples(host(&nats, "kitchen")).run().await;
    for (user, subject) in [
        ("screen", "health.check.echo-001"),
        ("shop", "work.nlp.high.sentiment"),
        ("kitchen-operator", "agent.all.cmd.status"),
    ] {
        let login = json!({"user": user, "pass": PASSWORD});
        // Work is looked through when two pulls of a consumer broke.
        for _ in 0..2 {
            nats.publish_raw_as(&login, subject, DEADLY, b"poison");
        }
        until("health is told again", async || {
            let asked = nats.client.request("health.check.echo-001", "".into());
            asked.await.ok()
        })
        .await;
    }
    // With the permissions of its role the host removes what is stored.
    nats.dead_letters("work.nlp.high.sentiment", 2).await;
    nats.work_as("good", "work.nlp.high.sentiment", "I love it")
        .await;
    nats.result_of("good").await;
    nats.work_is_done().await;
    nothing_refused(&nats, "kitchen-host");
    assert_eq!(host.exited(), None);
}

#[tokio::test]
async fn an_operator_looks_commands_and_mends() {
    let nats = server().await;
    let asked = Plugin::new("probe").section("[scatter]");
    let host = with_examples(host(&nats, "kitchen"))
        .with(asked)
        .run()
        .await;
    nats.work_as("bad", "work.nlp.low.sentiment", r#"{"text": 1}"#)
        .await;
    nats.dead_letters("work.nlp.low.sentiment", 1).await;
    nats.state_is("echo-001", "ready").await;
    for command in [
        &["agents"][..],
        &["provision", "--plan"],
        &[
            "publish",
            "work.nlp.high.sentiment",
            "fine",
            "-H",
            "X-Request-ID: fine",
        ],
        &["request", "tools.echo", "hello"],
        &["request", "agent.echo-001.cmd.pause"],
        &["request", "agent.echo-001.cmd.resume"],
        &["request", "health.check.echo-001"],
        &["timeline", "bad"],
        &["scatter", r#"{"do": "context"}"#, "--min", "1"],
        &["dlq", "list"],
        &["dlq", "show", "1"],
        &["dlq", "replay", "1"],
    ] {
        operate(&nats, &host, command).await.ok();
    }
    // What was sent again has failed again.
    nats.dead_letters("work.nlp.low.sentiment", 1).await;
    // What is larger than a message has its payload beside the letter.
    let large = ["publish", "work.nlp.low.sentiment", "-"];
    operate_fed(&nats, &host, &large, &vec![b'x'; 1_200_000])
        .await
        .ok();
    let buried = async |after: u64| {
        let letters = nats.stored("DLQ", "dlq.work.nlp.low.sentiment").await;
        let mut later = letters.into_iter().filter(|l| l.sequence > after);
        later.find(|letter| !letter.header("X-Claim").is_empty())
    };
    let letter = until("it is given up", async || buried(0).await).await;
    let number = letter.sequence.to_string();
    operate(&nats, &host, &["dlq", "replay", &number])
        .await
        .ok();
    until("it is given up again", async || {
        buried(letter.sequence).await
    })
    .await;
    operate(&nats, &host, &["dlq", "purge", "--yes"]).await.ok();
    assert!(nats.stored("DLQ", ">").await.is_empty());
    let payloads = nats.stream_info("OBJ_PAYLOADS").await;
    assert_eq!(payloads.state.messages, 0);
    let plan = operate(&nats, &host, &["provision", "--plan", "--json"]).await;
    let plan = plan.ok().json();
    let changes = plan["changes"].as_array().unwrap();
    assert!(
        changes.iter().all(|change| change["action"] != "refused"),
        "{plan}"
    );
    nothing_refused(&nats, "kitchen-operator");

    let operator = nats.as_user("kitchen-operator", PASSWORD, "_INBOX").await;
    for subject in [
        "$JS.API.STREAM.DELETE.WORK_QUEUE",
        "$JS.API.STREAM.UPDATE.WORK_QUEUE",
        "$JS.API.STREAM.PURGE.WORK_QUEUE",
        "$KV.AGENT_CLAIMS.echo-001",
        "agent.echo-001.resp.good",
        "agent.echo-001.stopped",
        "dlq.work.nlp.low.sentiment",
    ] {
        may_not_publish(&nats, &operator, "kitchen-operator", subject).await;
    }
}

#[tokio::test]
async fn a_publisher_publishes_work_and_hears_results_and_nothing_else() {
    let nats = server().await;
    let _host = with_examples(host(&nats, "kitchen")).run().await;
    let shop = nats.as_user("shop", PASSWORD, "_INBOX.publisher").await;
    // What is published on the same connection comes behind it.
    let results = Ear::unconfirmed(&shop.client, "agent.*.resp.*").await;
    let stored = shop
        .work_as("order-1", "work.nlp.high.sentiment", "I love it")
        .await;
    assert!(stored > 0);
    until("the result of the work is heard", async || {
        let heard = results.all();
        heard
            .iter()
            .any(|m| m.subject.ends_with(".resp.order-1"))
            .then_some(())
    })
    .await;
    nothing_refused(&nats, "shop");

    for subject in [
        "work.data.wordcount",
        "tools.echo",
        "agent.echo-001.cmd.shutdown",
        "agent.sentiment-001.resp.order-1",
        "health.check.echo-001",
        "broadcast.emergency.shutdown",
        "dlq.work.nlp.high.sentiment",
        "audit.command",
        "$JS.API.STREAM.INFO.WORK_QUEUE",
        "$JS.API.STREAM.MSG.GET.RESULTS",
        "$KV.AGENT_STATE.agent.echo-001",
    ] {
        may_not_publish(&nats, &shop, "shop", subject).await;
    }
    for subject in ["work.>", "_INBOX.>", "audit.>", "agent.*.heartbeat", ">"] {
        may_not_subscribe(&nats, &shop, "shop", subject).await;
    }
}

#[tokio::test]
async fn a_worker_answers_in_its_group_and_nothing_else() {
    let nats = server().await;
    let desk = nats.as_user("desk", PASSWORD, "_INBOX.worker").await;
    let client = desk.client.clone();
    let group = client
        .queue_subscribe("tools.echo", "echo".to_owned())
        .await;
    let mut group = group.unwrap();
    client.flush().await.unwrap();
    let answering = tokio::spawn(async move {
        use futures_util::StreamExt as _;
        while let Some(question) = group.next().await {
            let reply = question.reply.expect("a question");
            client.publish(reply, "from the desk".into()).await.unwrap();
        }
    });
    until("the desk answers", async || {
        let answer = nats.client.request("tools.echo", "who".into()).await;
        (&*answer.ok()?.payload == b"from the desk").then_some(())
    })
    .await;
    nothing_refused(&nats, "desk");
    answering.abort();

    may_not_subscribe(&nats, &desk, "desk", "tools.echo").await;
    may_not_subscribe(&nats, &desk, "desk", "_INBOX.>").await;
    for subject in ["_INBOX.somebody", "work.nlp.sentiment", "tools.echo"] {
        may_not_publish(&nats, &desk, "desk", subject).await;
    }
}

#[tokio::test]
async fn an_observer_sees_and_changes_nothing() {
    let nats = server().await;
    let screen = nats.as_user("screen", PASSWORD, "_INBOX.observer").await;
    let started = Ear::unconfirmed(&screen.client, "agent.*.started").await;
    let beats = Ear::unconfirmed(&screen.client, "agent.*.heartbeat").await;
    let audit = Ear::unconfirmed(&screen.client, "audit.>").await;
    screen.request_json("$JS.API.INFO", "").await;
    let _host = with_examples(host(&nats, "kitchen")).run().await;
    started.on_subject("agent.echo-001.started").await;
    beats.on_subject("agent.echo-001.heartbeat").await;
    audit.on_subject("audit.plugin").await;
    let health = screen.request_json("health.check.echo-001", "").await;
    assert_eq!(health["agent_id"], "echo-001");
    let asked = json!({"last_by_subj": "$KV.AGENT_STATE.agent.echo-001"}).to_string();
    until("the state of an agent is read", async || {
        let call = "$JS.API.STREAM.MSG.GET.KV_AGENT_STATE";
        let answer: Value = screen.request_json(call, asked.clone()).await;
        answer["message"]["data"].is_string().then_some(())
    })
    .await;
    let queue = screen
        .request_json("$JS.API.STREAM.INFO.WORK_QUEUE", "")
        .await;
    assert_eq!(queue["state"]["messages"], 0, "{queue}");
    nothing_refused(&nats, "screen");

    for subject in [
        "work.nlp.sentiment",
        "tools.echo",
        "agent.echo-001.cmd.pause",
        "audit.command",
        "metrics.agent.echo-001.cpu_usage",
        "$JS.API.STREAM.MSG.GET.RESULTS",
        "$JS.API.STREAM.PURGE.AUDIT",
        "$KV.AGENT_STATE.agent.echo-001",
    ] {
        may_not_publish(&nats, &screen, "screen", subject).await;
    }
    for subject in ["work.>", "agent.*.resp.*", "_INBOX.>", "dlq.>", ">"] {
        may_not_subscribe(&nats, &screen, "screen", subject).await;
    }
}
