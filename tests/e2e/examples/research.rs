//! A researcher asks librarians.

use serde_json::json;

use super::with;
use harness::{Host, Nats};

#[tokio::test]
async fn a_researcher_merges_what_librarians_know() {
    let nats = Nats::start().await;
    let _host = with(Host::new(&nats), &["librarian", "researcher"])
        .run()
        .await;
    let asked = json!({"question": "How is a message delivered?", "id": "q"}).to_string();
    nats.work_as("r-1", "work.research.high.question", asked)
        .await;
    let result = nats.result_of("r-1").await;
    assert_eq!(result.subject, "agent.researcher-001.resp.r-1");
    let result = result.json();
    assert_eq!(
        (&result["id"], &result["status"]),
        (&json!("q"), &json!("complete")),
        "{result}"
    );
    let librarians = json!(["librarian-001", "librarian-002", "librarian-003"]);
    assert_eq!(result["answered"], librarians);
    let mut shelves: Vec<&str> = result["sources"]
        .as_array()
        .unwrap()
        .iter()
        .map(|source| source["shelf"].as_str().unwrap())
        .collect();
    shelves.sort_unstable();
    shelves.dedup();
    assert!(shelves.len() > 1, "several librarians contribute: {result}");
    assert!(
        result["answer"].as_str().unwrap().contains("deliver"),
        "{result}"
    );
}

#[tokio::test]
async fn without_a_librarian_the_answer_is_a_part() {
    let nats = Nats::start().await;
    let _host = with(Host::new(&nats), &["librarian", "researcher"])
        .run()
        .await;
    nats.request_json("agent.librarian-003.cmd.pause", "").await;
    nats.state_is("librarian-003", "paused").await;
    let asked = json!({"question": "Who leads?"}).to_string();
    nats.work_as("r-1", "work.research.high.question", asked)
        .await;
    let result = nats.result_of("r-1").await.json();
    assert_eq!(result["status"], "partial", "{result}");
    assert_eq!(
        result["answered"],
        json!(["librarian-001", "librarian-002"])
    );

    // What is no question wakes nobody.
    nats.work("work.research.high.question", "{}").await;
    nats.dead_letters("work.research.high.question", 1).await;
}
