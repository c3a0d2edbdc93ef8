//! A coordinator, workers, a reporter: the complete workflow.

use serde_json::{Value, json};

use super::{STAGES, with};
use harness::{Host, Nats, PATIENCE, repository, until, until_in};

const WORKERS: [&str; 6] = [
    "coordinator",
    "librarian",
    "reporter",
    "researcher",
    "sentiment",
    "word-count",
];

fn everybody(nats: &Nats, name: &str) -> Host {
    with(with(Host::new(nats).named(name), &STAGES), &WORKERS)
}

fn wanted() -> String {
    let document = |name: &str| {
        let text = std::fs::read_to_string(repository(name)).unwrap();
        json!({"name": name, "text": text})
    };
    json!({
        "title": "On this project",
        "documents": [document("README.md"), document("CONTRIBUTING.md")],
        "questions": ["What is a dead letter?"],
    })
    .to_string()
}

fn check(report: &Value) {
    assert_eq!(report["complete"], true, "missing: {}", report["missing"]);
    for document in report["documents"].as_array().unwrap() {
        assert_eq!(document["summary"]["summary"].as_array().unwrap().len(), 3);
        assert!(document["words"].as_u64().unwrap() > 100, "{document}");
    }
    let answer = report["questions"][0]["answer"].as_str().unwrap();
    assert!(answer.contains("dead letter"), "{answer}");
    let workers = report["workers"].as_object().unwrap();
    for plugin in ["sentiment-", "word-count-", "researcher-"] {
        assert!(
            workers.keys().any(|agent| agent.starts_with(plugin)),
            "{workers:?}"
        );
    }
    let markdown = report["markdown"].as_str().unwrap();
    assert!(
        markdown.starts_with("# On this project\n\n## README.md\n"),
        "{markdown}"
    );
}

#[tokio::test]
async fn a_report_is_made_by_all_of_them() {
    let nats = Nats::start().await;
    let _host = everybody(&nats, "h1").run().await;
    nats.work_as("r-1", "work.reports.high.workflow", wanted())
        .await;
    let result = until("the report", async || {
        nats.stored("RESULTS", "agent.coordinator-001.resp.r-1")
            .await
            .pop()
    })
    .await;
    let report = result.json();
    check(&report);
    assert_eq!(nats.kv_json("REPORTS", "r-1").await.unwrap(), report);
    let leader = nats
        .kv_json("AGENT_LEASES", "election.reports")
        .await
        .unwrap();
    assert_eq!(leader["term"], report["term"], "{leader}");
}

#[tokio::test]
async fn a_report_survives_the_host_that_works_on_it() {
    let nats = Nats::start().await;
    let mut first = everybody(&nats, "h1").run().await;
    nats.work_as("r-1", "work.reports.high.workflow", wanted())
        .await;
    until("the work has begun", async || {
        let begun = nats.stored("COORDINATION", "pipeline.*.01.extract").await;
        (!begun.is_empty()).then_some(())
    })
    .await;
    first.kill();
    let _second = everybody(&nats, "h2").run().await;
    // What the host had in hand is delivered again after half a minute.
    let result = until_in(PATIENCE * 3, "the report", async || {
        nats.stored("RESULTS", "agent.*.resp.r-1")
            .await
            .into_iter()
            .find(|result| result.subject.starts_with("agent.coordinator-"))
    })
    .await;
    check(&result.json());
}
