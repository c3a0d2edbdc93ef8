//! The forms of a work item's subject, and what comes of an item that succeeds.

use serde_json::json;

use harness::{Host, Nats, Plugin, headers, until};

#[tokio::test]
async fn every_form_of_the_subject_is_taken() {
    let nats = Nats::start().await;
    let _host = Host::new(&nats)
        .plugin("probe", |p| {
            p.instances(2)
                .work("lab", "*")
                .work_with("lab", "test", "version = 2")
                .work("art", "paint")
        })
        .run()
        .await;
    let forms = [
        ("work.lab.critical.test", "critical"),
        ("work.lab.high.test", "high"),
        ("work.lab.normal.test", "normal"),
        ("work.lab.low.test", "low"),
        ("work.lab.test", "normal"),
        ("work.lab.other", "normal"),
        ("work.v2.lab.critical.test", "critical"),
        ("work.v2.lab.low.test", "low"),
        ("work.v2.lab.test", "normal"),
        ("work.art.high.paint", "high"),
        ("work.art.paint", "normal"),
    ];
    let command = json!({"do": "sequence", "commands": [
        {"do": "header", "name": "X-Priority"}, {"do": "header", "name": "X-Retry-Count"}, {"do": "context"},
    ]});
    for (number, (subject, _)) in forms.iter().enumerate() {
        nats.work_as(&format!("r{number}"), subject, command.to_string())
            .await;
    }
    for (number, (subject, priority)) in forms.iter().enumerate() {
        let id = format!("r{number}");
        let result = nats.result_of(&id).await;
        let agent = result.header("X-Agent-ID");
        assert_eq!(result.subject, format!("agent.{agent}.resp.{id}"));
        assert_eq!(result.header("X-Request-ID"), id);
        assert_eq!(result.header("X-Priority"), *priority, "{subject}");
        assert_eq!(result.header("X-Retry-Count"), "0", "{subject}");
        assert_eq!(result.header("Content-Type"), "application/json");
        let told = result.json();
        assert_eq!(told[0], *priority, "the agent is told: {subject}");
        assert_eq!(told[1], "0");
        assert_eq!(told[2]["request_id"], id);
    }
    nats.work_is_done().await;
}

#[tokio::test]
async fn an_item_without_a_request_id_has_one_by_its_place_in_the_stream() {
    let nats = Nats::start().await;
    let _host = Host::new(&nats)
        .plugin("probe", |p| p.work("lab", "*"))
        .run()
        .await;
    let sequence = nats.work("work.lab.low.x", r#"{"do": "no_reply"}"#).await;
    let result = nats.result_of(&format!("wq-{sequence}")).await;
    assert_eq!(
        result.payload.len(),
        0,
        "an agent that says nothing is done all the same"
    );
    // An id that could not stand in a subject is not taken over.
    let bad = headers(&[("X-Request-ID", "a.b *")]);
    let sequence = nats
        .work_with("work.lab.low.x", bad, r#"{"do": "echo", "value": 1}"#)
        .await;
    assert_eq!(nats.result_of(&format!("wq-{sequence}")).await.text(), "1");
}

#[tokio::test]
async fn the_shipped_plugins_do_their_work() {
    let nats = Nats::start().await;
    let _host = Host::new(&nats)
        .with(Plugin::shipped("echo"))
        .with(Plugin::shipped("sentiment"))
        .with(Plugin::shipped("word-count"))
        .run()
        .await;
    let echoed = nats.request("tools.echo", "hello").await;
    assert_eq!(echoed.payload, "hello");
    let echoed = nats.request("agent.echo-001.cmd.execute", "again").await;
    assert_eq!(echoed.payload, "again");

    for (id, payload, label) in [
        (
            "s1",
            r#"{"text": "I love this wonderful, brilliant thing."}"#,
            "positive",
        ),
        ("s2", "This is a terrible, awful disaster.", "negative"),
        ("s3", "This is not good at all.", "negative"),
        ("s4", "The table has four legs.", "neutral"),
    ] {
        nats.work_as(id, "work.nlp.high.sentiment", payload).await;
        let result = nats.result_of(id).await;
        let told = result.json();
        assert_eq!(told["label"], label, "{payload}: {told}");
        let score = told["score"].as_f64().unwrap();
        assert!((-1.0..=1.0).contains(&score), "{told}");
        assert!(
            result.subject.starts_with("agent.sentiment-00"),
            "{}",
            result.subject
        );
    }

    // Ten texts counted by two agents at once: compare-and-swap loses none.
    for number in 0..10 {
        nats.work_as(
            &format!("c{number}"),
            "work.data.wordcount",
            "one two two three three three",
        )
        .await;
    }
    for number in 0..10 {
        nats.result_of(&format!("c{number}")).await;
    }
    let totals = nats.kv_json("WORD_COUNT", "totals").await.unwrap();
    assert_eq!(totals["words"], 60, "{totals}");
    nats.work_is_done().await;
}

#[tokio::test]
async fn two_hosts_share_the_work_and_run_nothing_twice() {
    let nats = Nats::start().await;
    let done = nats.listen("done").await;
    let probe = |p: Plugin| p.work("lab", "*").grant_publish("done");
    let _one = Host::new(&nats)
        .named("one")
        .plugin("probe", probe)
        .run()
        .await;
    let _two = Host::new(&nats)
        .named("two")
        .plugin("probe", probe)
        .run()
        .await;
    let command = json!({"do": "sequence", "commands": [
        {"do": "sleep", "ms": 20, "how": "wait"}, {"do": "publish", "subject": "done"},
    ]});
    const ITEMS: usize = 60;
    for number in 0..ITEMS {
        nats.work_as(
            &format!("i{number}"),
            "work.lab.normal.x",
            command.to_string(),
        )
        .await;
    }
    until("all are done", async || {
        (done.all().len() >= ITEMS).then_some(())
    })
    .await;
    nats.work_is_done().await;
    assert_eq!(done.all().len(), ITEMS, "each once");
    let results = nats.stored("RESULTS", "agent.*.resp.*").await;
    assert_eq!(results.len(), ITEMS);
    for agent in ["probe-001", "probe-002"] {
        let share = results
            .iter()
            .filter(|r| r.header("X-Agent-ID") == agent)
            .count();
        assert!(share >= ITEMS / 6, "{agent} did {share} of {ITEMS}");
    }
}

#[tokio::test]
async fn an_agent_that_is_fresh_for_every_message_remembers_nothing() {
    let nats = Nats::start().await;
    let ear = nats.listen("agent.>").await;
    let _host = Host::new(&nats)
        .plugin("probe", |p| {
            p.head("instance = \"message\"").work("lab", "*")
        })
        .run()
        .await;
    let mut instances = std::collections::BTreeSet::new();
    for number in 0..5 {
        let id = format!("f{number}");
        nats.work_as(&id, "work.lab.x", r#"{"do": "counter"}"#)
            .await;
        let told = nats.result_of(&id).await.json();
        assert_eq!(told["count"], 1, "{told}");
        instances.insert(told["instance"].as_u64());
    }
    assert_eq!(instances.len(), 5);
    assert_eq!(
        ear.count("agent.probe-001.ready"),
        1,
        "not an event for every message"
    );
    assert_eq!(ear.count("agent.probe-001.error"), 0);
}
