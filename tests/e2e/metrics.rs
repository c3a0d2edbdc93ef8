//! What hosts measure, against what was done.

use serde_json::{Value, json};

use harness::{Ear, Host, Nats, Plugin, until};

const HOST: [&str; 6] = [
    "cpu_usage",
    "memory_usage",
    "tasks_processed",
    "tasks_failed",
    "messages_in",
    "messages_out",
];

/// The reports on a subject, oldest first.
fn reports(metrics: &Ear, subject: &str) -> Vec<Value> {
    let all = metrics.all();
    let on = all.iter().filter(|report| *report.subject == *subject);
    on.map(|report| serde_json::from_slice(&report.payload).unwrap())
        .collect()
}

fn last(metrics: &Ear, agent: &str, metric: &str) -> Value {
    let subject = format!("metrics.agent.{agent}.{metric}");
    reports(metrics, &subject).pop().unwrap_or_default()
}

/// Waits until the newest report of a metric has this value.
async fn is(metrics: &Ear, agent: &str, metric: &str, value: u64) {
    let mut seen = Value::Null;
    let waiting = until("the metric is reported", async || {
        seen = last(metrics, agent, metric)["value"].clone();
        (seen == value).then_some(())
    });
    let patience = std::time::Duration::from_secs(20);
    let found = tokio::time::timeout(patience, waiting).await;
    assert!(found.is_ok(), "{metric} of {agent} is {seen}, not {value}");
}

fn worker(plugin: Plugin) -> Plugin {
    plugin.work("lab", "*").grant_publish("free.>")
}

#[tokio::test]
async fn numbers_of_agents_are_those_of_what_they_did() {
    let nats = Nats::start().await;
    let metrics = nats.listen("metrics.agent.>").await;
    let _host = Host::new(&nats)
        .line("metrics = \"1s\"")
        .plugin("probe", |p| {
            worker(p)
                .config("on_message = { do = \"counter\" }")
                .subscribe("free.in")
        })
        .run()
        .await;
    for number in 0..5 {
        nats.work(
            &format!("work.lab.normal.t{number}"),
            r#"{"do": "counter"}"#,
        )
        .await;
    }
    // Two that fail at once, and one that ends its instance twice before it is a dead letter.
    for number in 0..2 {
        let fail = r#"{"do": "fail_reject", "message": "no"}"#;
        nats.work(&format!("work.lab.low.f{number}"), fail).await;
    }
    nats.work_is_done().await;
    let trap = r#"{"do": "trap"}"#;
    nats.work("work.lab.high.trap", trap).await;
    nats.work_is_done().await;
    nats.agents_ready("probe", "h1", 1).await;
    // An event that nobody waits for, a command that publishes, and one that computes.
    nats.publish("free.in", "x").await;
    let publish = json!({"do": "publish", "subject": "free.out", "payload": "x"});
    nats.tell("probe-001", publish).await;
    let busy = json!({"do": "sleep", "ms": 300, "how": "busy"});
    nats.tell("probe-001", busy.clone()).await;

    is(&metrics, "probe-001", "tasks_processed", 5 + 3).await;
    is(&metrics, "probe-001", "tasks_failed", 2 + 3).await;
    is(&metrics, "probe-001", "messages_in", 13).await;
    // Five results, two answers, one publish; an event is not answered, and failures are the host's
    // word.
    is(&metrics, "probe-001", "messages_out", 8).await;
    // A busy machine gives the call less than the 300 ms that pass: it is called until it has had
    // its share.
    until("CPU time is reported", async || {
        nats.tell("probe-001", busy.clone()).await;
        let cpu: f64 = reports(&metrics, "metrics.agent.probe-001.cpu_usage")
            .iter()
            .map(|report| report["value"].as_f64().unwrap())
            .sum();
        (cpu > 0.05).then_some(())
    })
    .await;
    let memory = last(&metrics, "probe-001", "memory_usage");
    let bytes = memory["value"].as_u64().unwrap();
    assert!((1 << 16..32 << 20).contains(&bytes), "{memory}");
    assert_eq!(memory["unit"], "bytes");
    assert!(memory["at"].as_str().unwrap().ends_with('Z'), "{memory}");
}

#[tokio::test]
async fn times_and_depth_of_the_work_queue_are_told_by_each_host() {
    let nats = Nats::start().await;
    let metrics = nats.listen("metrics.>").await;
    let host = |name: &str| {
        Host::new(&nats)
            .named(name)
            .line("metrics = \"1s\"")
            .plugin("probe", worker)
    };
    let _first = host("h1").run().await;
    let mut second = host("h2").run().await;
    let untaken = nats.work("work.nobody.x", "x").await;
    assert!(untaken > 0);
    let slow = r#"{"do": "sleep", "ms": 100, "how": "wait"}"#;
    for number in 0..20 {
        nats.work(&format!("work.lab.normal.t{number}"), slow).await;
    }
    let sum = |name: &str, field: &str| {
        let all = reports(&metrics, &format!("metrics.system.work_queue.{name}"));
        all.iter().filter_map(|r| r[field].as_u64()).sum::<u64>()
    };
    for name in ["processing_time", "queue_wait", "end_to_end"] {
        until("all items are in a report", async || {
            (sum(name, "count") >= 20).then_some(())
        })
        .await;
        assert_eq!(sum(name, "count"), 20, "{name}");
        let all = reports(&metrics, &format!("metrics.system.work_queue.{name}"));
        for report in all.iter().filter(|report| report["count"] != 0) {
            let at = |name: &str| report[name].as_f64().unwrap();
            assert!(at("p50") <= at("p95"), "{report}");
            assert!(at("p95") <= at("p99"), "{report}");
            assert!(at("p99") <= at("max"), "{report}");
            if name != "queue_wait" {
                assert!(at("p50") >= 100.0, "{report}");
            }
        }
        assert!(
            all.iter().any(|report| report["value"].is_null()),
            "{all:?}"
        );
    }
    until("what nobody takes is the depth", async || {
        let depth = reports(&metrics, "metrics.system.work_queue.depth").pop()?;
        (depth["value"] == 1).then_some(())
    })
    .await;

    // Each host speaks for its own agents; the numbers of both are those of all items.
    let done = |agent: &str| last(&metrics, agent, "tasks_processed")["value"].as_u64();
    until("both hosts report", async || {
        (done("probe-001")? + done("probe-002")? == 20).then_some(())
    })
    .await;
    second.kill();
    metrics.forget();
    until("the other host goes on", async || {
        let name = "metrics.system.work_queue.depth";
        let from = |host: &str| {
            let all = reports(&metrics, name);
            all.iter().filter(|report| report["host"] == host).count()
        };
        (from("h1") >= 2 && from("h2") <= 1).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_plugin_may_have_metrics_of_its_own_and_no_others() {
    let nats = Nats::start().await;
    let mine = nats.listen("metrics.agent.probe-001.score").await;
    let mut host = Host::new(&nats)
        .plugin("probe", |p| p.grant_publish("metrics.agent.{agent}.score"))
        .run()
        .await;
    let publish =
        |subject: &str| json!({"do": "publish", "subject": subject, "payload": {"value": 1}});
    nats.tell("probe-001", publish("metrics.agent.probe-001.score"))
        .await;
    mine.number(1).await;
    for other in HOST
        .map(|name| format!("metrics.agent.probe-001.{name}"))
        .into_iter()
        .chain(["metrics.agent.probe-002.score".to_owned()])
    {
        let (kind, _) = nats.refused("probe-001", publish(&other)).await;
        assert_eq!(kind, "denied", "{other}");
    }
    host.stop().await;
}
