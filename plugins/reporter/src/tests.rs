//! One reporter: what it hears, and what it makes of it.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use super::*;
use mistersmith_sdk::mock::{Bus, Call, Running};
use mistersmith_sdk::{CallError, serde_json};

fn leader(bus: &Bus) -> Running<Reporter> {
    let mut agent = bus.start::<Reporter>().unwrap();
    agent.lead("reports", true, 7);
    agent
}

fn opening() -> Value {
    json!({
        "report": "r1-0", "request": "r1", "title": "On agents", "documents": ["a.md", "b.md"],
        "questions": ["why?"],
        "parts": ["summary/1", "words/1", "sentiment/1/1", "sentiment/1/2", "summary/2", "answer/1"],
    })
}

/// Everything but the last part.
fn collect(agent: &mut Running<Reporter>) {
    agent.message("reports.open", opening()).unwrap();
    let summary = json!({
        "name": "a.md", "title": "A", "summary": ["One.", "Two."], "keywords": ["k", "l"],
        "words": 9, "sentences": 2, "readability": 61.6,
    });
    for (id, value) in [("summary/1", summary), ("summary/2", Value::Null)] {
        let part = json!({"id": id, "value": value});
        agent.message("reports.r1-0.part", part).unwrap();
    }
    for (who, result) in [
        ("word-count-001", json!({"id": "words/1", "words": 9})),
        (
            "sentiment-001",
            json!({"id": "sentiment/1/1", "label": "positive", "score": 0.5}),
        ),
        (
            "sentiment-002",
            json!({"id": "sentiment/1/2", "label": "neutral", "score": 0.0}),
        ),
        // Twice, of another report, without an id, no JSON: nothing of it counts.
        (
            "sentiment-002",
            json!({"id": "sentiment/1/2", "label": "negative"}),
        ),
        (
            "sentiment-002",
            json!({"id": "sentiment/9/9", "label": "negative"}),
        ),
        ("coordinator-001", json!({"report": "r0"})),
    ] {
        agent
            .message(&format!("agent.{who}.resp.r1"), result)
            .unwrap();
    }
    agent.message("agent.echo-001.resp.r1", "plain").unwrap();
}

fn answer() -> Value {
    json!({"id": "answer/1", "answer": "Because.", "sources": [{"agent": "librarian-002"}, {"agent": "librarian-001"}]})
}

#[test]
fn a_report_is_made_of_what_comes() {
    let bus = Bus::new();
    let mut agent = leader(&bus);
    collect(&mut agent);
    assert_eq!(bus.value("REPORTS", "r1"), None, "it waits for the answer");
    agent
        .message("agent.researcher-001.resp.r1", answer())
        .unwrap();

    let kept: Value = serde_json::from_slice(&bus.value("REPORTS", "r1").unwrap()).unwrap();
    let signalled = bus.published();
    assert_eq!(signalled[0].subject, "coord.r1-0.reported");
    assert_eq!(signalled.len(), 1);
    let closed = agent.message("reports.r1-0.close", "").unwrap().to_value();
    assert_eq!(kept, closed);
    assert_eq!(closed["complete"], false);
    assert_eq!(closed["missing"], json!(["summary/2"]));
    assert_eq!(closed["term"], 7);
    let workers =
        json!({"researcher-001": 1, "sentiment-001": 1, "sentiment-002": 1, "word-count-001": 1});
    assert_eq!(closed["workers"], workers);
    let expected = "\
# On agents

## a.md

One. Two.

- about: k, l
- reading ease: 62
- words: 9
- paragraphs: 1 positive, 1 neutral, 0 negative

## b.md

There is no summary.

- paragraphs: 0 positive, 0 neutral, 0 negative

## Questions

**why?** Because. (librarian-001, librarian-002)

## Who did the work

- researcher-001: 1
- sentiment-001: 1
- sentiment-002: 1
- word-count-001: 1

Missing: summary/2
";
    assert_eq!(closed["markdown"].as_str().unwrap(), expected);
    assert_eq!(bus.subscriptions().len(), 1, "only `reports.open` is left");
    assert!(agent.message("reports.r1-0.close", "").is_err());
}

#[test]
fn what_is_missing_when_it_is_closed_is_told() {
    let bus = Bus::new();
    let mut agent = leader(&bus);
    collect(&mut agent);
    let closed = agent.message("reports.r1-0.close", "").unwrap().to_value();
    assert_eq!(closed["missing"], json!(["answer/1", "summary/2"]));
    assert_eq!(closed["questions"][0]["answer"], "");
    assert!(bus.value("REPORTS", "r1").is_some());
    assert!(
        bus.published().is_empty(),
        "nothing is announced that is not complete"
    );
}

#[test]
fn only_the_leader_takes_new_reports() {
    let bus = Bus::new();
    let mut agent = bus.start::<Reporter>().unwrap();
    assert!(bus.subscriptions().is_empty());
    assert!(agent.message("reports.open", opening()).is_err());
    agent.lead("reports", true, 1);
    agent.lead("reports", true, 2);
    assert_eq!(bus.subscriptions().len(), 1);
    assert_eq!(
        agent.message("reports.open", opening()).unwrap().to_value(),
        json!({"term": 2})
    );
    agent.lead("reports", false, 3);
    assert!(agent.message("reports.open", opening()).is_err());
    // What it has opened it brings to its end.
    assert!(agent.message("reports.r1-0.close", "").is_ok());

    bus.set_leadership(Some(Leadership {
        domain: "reports".into(),
        leading: true,
        term: 4,
    }));
    let already = bus.start::<Reporter>().unwrap();
    assert_eq!(already.agent().leads.map(|(_, term)| term), Some(4));
}

#[test]
fn it_remembers_a_bounded_number_of_reports() {
    let bus = Bus::new();
    let mut agent = leader(&bus);
    for number in 0..=MOST_OPEN {
        let mut opening = opening();
        opening["report"] = json!(format!("r{number}"));
        agent.message("reports.open", opening.clone()).unwrap();
        agent.message("reports.open", opening).unwrap();
    }
    assert_eq!(agent.agent().open.len(), MOST_OPEN);
    assert_eq!(bus.subscriptions().len(), 3 * MOST_OPEN + 1);
    assert!(
        agent.message("reports.r0.close", "").is_err(),
        "the oldest was given up"
    );
    assert!(agent.message("reports.r1.close", "").is_ok());
}

#[test]
fn a_store_that_is_away_is_told() {
    let bus = Bus::new();
    let mut agent = leader(&bus);
    collect(&mut agent);
    bus.fail(Call::KvPut, CallError::Unavailable("no connection".into()));
    assert!(
        agent
            .message("agent.researcher-001.resp.r1", answer())
            .is_err()
    );
    assert!(
        bus.published().is_empty(),
        "nothing is announced that is not kept"
    );
    assert!(agent.message("reports.r1-0.close", "").is_ok());
    assert!(bus.value("REPORTS", "r1").is_some());
}
