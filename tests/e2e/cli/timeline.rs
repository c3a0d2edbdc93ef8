//! `timeline`: what happened to a request is rebuilt from the streams.

use serde_json::{Value, json};

use harness::{Host, Nats, headers};

/// The words that say what happened, in order.
fn told(timeline: &Value) -> Vec<&str> {
    let lines = timeline.as_array().unwrap().iter();
    lines.map(|line| line["what"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_work_item_that_was_tried_twice() {
    let nats = Nats::start().await;
    let more = "max_deliver = 3\nbackoff = [\"10ms\"]";
    let host = Host::new(&nats)
        .plugin("probe", |p| p.work_with("lab", "*", more))
        .run()
        .await;
    let retry = json!({"do": "fail_times", "n": 1}).to_string();
    let number = nats.work_as("again", "work.lab.high.one", retry).await;
    nats.result_of("again").await;
    let timeline = host.cli(&["timeline", "again", "--json"]).await.ok().json();
    assert_eq!(told(&timeline), ["stored", "result"], "{timeline}");
    assert_eq!(timeline[0]["stream"], "WORK_QUEUE");
    assert_eq!(timeline[0]["sequence"], number);
    assert_eq!(timeline[0]["ms"], 0.0);
    let result = &timeline[1];
    assert_eq!(result["subject"], "agent.probe-001.resp.again");
    assert_eq!(result["agent_id"], "probe-001");
    assert_eq!(result["retries"], 1);
    assert_eq!(result["took_ms"], result["ms"]);
    assert!(result["ms"].as_f64().unwrap() >= 10.0, "{timeline}");

    let text = host.cli(&["timeline", "again"]).await.ok().stdout;
    assert!(
        text.contains("result") && text.contains("probe-001") && text.contains("trace"),
        "{text}"
    );
    let unknown = host.cli(&["timeline", "unheard-of"]).await;
    assert_eq!(unknown.code, Some(1), "{unknown:#?}");
    assert_eq!(unknown.stderr.lines().count(), 1, "{unknown:#?}");
    assert!(unknown.stdout.is_empty(), "{unknown:#?}");
    let wrong = host.cli(&["timeline", "agent.*"]).await;
    assert_eq!(wrong.code, Some(64), "{wrong:#?}");
}

#[tokio::test]
async fn a_dead_letter_and_an_item_that_waits() {
    let nats = Nats::start().await;
    let host = Host::new(&nats)
        .plugin("probe", |p| p.work("lab", "*"))
        .run()
        .await;
    let reject = json!({"do": "fail_reject", "message": "not like this"}).to_string();
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let both = headers(&[("X-Request-ID", "bad"), ("X-Trace-ID", trace)]);
    nats.work_with("work.lab.high.one", both.clone(), reject)
        .await;
    nats.audited("dead-letter", |_| true).await;
    // Nobody takes this one.
    nats.work_with("work.elsewhere.two", both, "x").await;
    for id in ["bad", trace] {
        let timeline = host.cli(&["timeline", id, "--json"]).await.ok().json();
        let expected = ["stored", "dead letter", "audit", "waits"];
        assert_eq!(told(&timeline), expected, "{timeline}");
        assert_eq!(timeline[0]["subject"], "work.lab.high.one");
        assert_eq!(timeline[1]["subject"], "dlq.work.lab.high.one");
        assert_eq!(timeline[1]["agent_id"], "probe-001");
        assert_eq!(timeline[1]["detail"], "rejected: not like this");
        assert_eq!(timeline[3]["subject"], "work.elsewhere.two");
    }
}

#[tokio::test]
async fn a_question_and_its_answers() {
    let nats = Nats::start().await;
    let host = Host::new(&nats)
        .plugin("probe", |p| p.instances(2).table("[scatter]"))
        .run()
        .await;
    let ask = json!({"do": "context"}).to_string();
    let asked = host.cli(&["scatter", &ask, "--min", "2", "--json"]).await;
    let asked = asked.ok().json();
    let request = asked["request"].as_str().unwrap();
    let timeline = host.cli(&["timeline", request, "--json"]).await.ok().json();
    let expected = ["task", "answer", "answer", "gathered"];
    assert_eq!(told(&timeline), expected, "{timeline}");
    let mut agents = [1, 2].map(|line| timeline[line]["agent_id"].as_str().unwrap());
    agents.sort_unstable();
    assert_eq!(agents, ["probe-001", "probe-002"]);
    assert_eq!(timeline[3]["detail"], "complete: 2 results, 0 missing");
}
