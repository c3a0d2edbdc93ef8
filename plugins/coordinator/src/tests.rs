//! One coordinator, with everybody else played by the mock.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use super::*;
use mistersmith_sdk::mock::{Bus, Call, Delivery, Running};

const SUBJECT: &str = "work.reports.normal.workflow";

fn bus() -> Bus {
    let bus = without_pipeline();
    bus.answer_pipeline("extract", |input| {
        Ok(json!({"of": input.json::<Value>()?["name"]}).into())
    });
    bus
}

fn without_pipeline() -> Bus {
    let bus = Bus::new().with_stream("WORK_QUEUE", "work.>");
    bus.answer("reports.open", |_| Ok(json!({"term": 1}).into()));
    bus.answer("reports.*.part", |_| Ok(json!({}).into()));
    bus.answer("reports.*.close", |_| Ok(json!({"report": "made"}).into()));
    bus.event("r1-0", "reported", "{}");
    bus
}

fn work(agent: &mut Running<Coordinator>) -> Result<Reply> {
    let text = "The first paragraph is long enough to be scored for what it expresses.";
    let documents = json!([{"name": "a.md", "text": text}, {"name": "b.md", "text": "b"}]);
    let wanted = json!({"title": "T", "documents": documents, "questions": ["why?"]});
    agent.deliver(Delivery::work(SUBJECT, wanted).request_id("r1"))
}

#[test]
fn a_report_is_opened_worked_on_and_closed() {
    let bus = bus();
    let mut agent = bus.start::<Coordinator>().unwrap();
    assert_eq!(
        work(&mut agent).unwrap().to_value(),
        json!({"report": "made"})
    );

    let requests = bus.requests();
    let subjects: Vec<&str> = requests.iter().map(|request| &*request.subject).collect();
    assert_eq!(
        subjects,
        [
            "reports.open",
            "reports.r1-0.part",
            "reports.r1-0.part",
            "reports.r1-0.close"
        ]
    );
    let opened: Value = requests[0].json().unwrap();
    assert_eq!(opened["documents"], json!(["a.md", "b.md"]));
    let parts = [
        "summary/1",
        "words/1",
        "sentiment/1/1",
        "summary/2",
        "words/2",
        "answer/1",
    ];
    assert_eq!(opened["parts"], json!(parts));
    let part: Value = requests[2].json().unwrap();
    assert_eq!(part, json!({"id": "summary/2", "value": {"of": "b.md"}}));

    let published = bus.published();
    let subjects: Vec<&str> = published.iter().map(|sent| &*sent.subject).collect();
    assert_eq!(
        subjects,
        [
            "pipeline.r1-0-doc1.01.extract",
            "pipeline.r1-0-doc2.01.extract",
            "work.data.normal.wordcount",
            "work.nlp.high.sentiment",
            "work.data.normal.wordcount",
            "work.research.critical.question",
        ]
    );
    assert!(
        published.iter().all(|sent| sent.stream.is_some()),
        "all of it is stored"
    );
}

#[test]
fn what_does_not_come_is_missing() {
    let bus = without_pipeline();
    let mut agent = bus.start::<Coordinator>().unwrap();
    assert_eq!(
        work(&mut agent).unwrap().to_value(),
        json!({"report": "made"})
    );
    let part: Value = bus.requests()[1].json().unwrap();
    assert_eq!(part["value"], Value::Null);
}

#[test]
fn nothing_is_given_out_while_nobody_collects() {
    let bus = bus();
    let mut agent = bus.start::<Coordinator>().unwrap();
    bus.fail(Call::Request, CallError::NoResponders);
    assert!(!work(&mut agent).unwrap_err().is_reject());
    assert!(bus.published().is_empty());
    // Tried again, it is another report.
    bus.event("r1-1", "reported", "{}");
    let wanted = json!({"title": "T", "documents": [{"name": "a", "text": "a"}]});
    let again = Delivery::work(SUBJECT, wanted).request_id("r1").retries(1);
    agent.deliver(again).unwrap();
    assert_eq!(bus.published()[0].subject, "pipeline.r1-1-doc1.01.extract");
}

#[test]
fn rejects_what_is_no_request() {
    let mut agent = bus().start::<Coordinator>().unwrap();
    for bad in [&b"text"[..], b"{}", br#"{"title": "T"}"#] {
        assert!(agent.work(SUBJECT, bad).unwrap_err().is_reject());
    }
}
