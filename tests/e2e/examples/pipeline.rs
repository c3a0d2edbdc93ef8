//! `extract → preprocess → analyze → summarize`.

use serde_json::json;

use super::{STAGES, with};
use harness::{Host, Nats, headers, repository, until};

#[tokio::test]
async fn a_real_document_goes_through_all_stages() {
    let nats = Nats::start().await;
    let _host = with(Host::new(&nats), &STAGES).run().await;
    let text = std::fs::read_to_string(repository("ARCHITECTURE.md")).unwrap();
    let document = json!({"name": "ARCHITECTURE.md", "text": text}).to_string();
    let first = "pipeline.doc-1.01.extract";
    nats.work_with(
        first,
        headers(&[("Content-Type", "application/json")]),
        document,
    )
    .await;
    // Markdown as it lies on the disk is a document too.
    let markdown = headers(&[("Content-Type", "text/markdown")]);
    nats.work_with("pipeline.doc-2.01.extract", markdown, text)
        .await;

    let result = async |workflow: &str| {
        let subject = format!("pipeline.{workflow}.complete");
        until(&subject, async || {
            nats.stored("COORDINATION", &subject).await.pop()
        })
        .await
        .json()
    };
    let summary = result("doc-1").await;
    assert_eq!(summary["name"], "ARCHITECTURE.md");
    assert_eq!(summary["title"], "Architecture");
    let sentences = summary["summary"].as_array().unwrap();
    assert_eq!(sentences.len(), 3, "{summary}");
    let text = sentences
        .iter()
        .map(|one| one.as_str().unwrap())
        .collect::<String>();
    assert!(!text.contains(['`', '#', '|']), "no markup is left: {text}");
    assert!(
        summary["keywords"]
            .as_array()
            .unwrap()
            .contains(&json!("host")),
        "{summary}"
    );
    assert!(summary["words"].as_u64().unwrap() > 500, "{summary}");

    let plain = result("doc-2").await;
    assert_eq!(plain["name"], "");
    assert_eq!(plain["summary"], summary["summary"]);

    // Each stage got what the one before it gave.
    for (place, stage) in STAGES.iter().enumerate() {
        let subject = format!("pipeline.doc-1.{:02}.{stage}", place + 1);
        assert_eq!(
            nats.stored("COORDINATION", &subject).await.len(),
            1,
            "{subject}"
        );
    }
}

#[tokio::test]
async fn a_document_without_text_is_a_dead_letter() {
    let nats = Nats::start().await;
    let _host = with(Host::new(&nats), &STAGES).run().await;
    nats.work("pipeline.empty.01.extract", "# Only a title")
        .await;
    let letter = nats
        .dead_letters("pipeline.empty.01.extract", 1)
        .await
        .remove(0);
    assert_eq!(letter.text(), "# Only a title");
    assert!(
        letter.header("X-DLQ-Error").contains("no text"),
        "{letter:?}"
    );
    assert!(
        nats.stored("COORDINATION", "pipeline.empty.complete")
            .await
            .is_empty()
    );
}
