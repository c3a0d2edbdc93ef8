//! The forms of a work subject, and what is none.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use super::*;

fn parsed(text: &str) -> (Option<String>, String, Priority, String) {
    let work: WorkSubject = text.parse().unwrap();
    (
        work.version.map(String::from),
        work.domain,
        work.priority,
        work.task,
    )
}

#[test]
fn the_four_forms() {
    let expect = |version: Option<&str>, domain: &str, priority, task: &str| {
        (
            version.map(str::to_owned),
            domain.to_owned(),
            priority,
            task.to_owned(),
        )
    };
    for (text, expected) in [
        (
            "work.nlp.test",
            expect(None, "nlp", Priority::Normal, "test"),
        ),
        (
            "work.nlp.low.test",
            expect(None, "nlp", Priority::Low, "test"),
        ),
        (
            "work.v2.nlp.analysis",
            expect(Some("v2"), "nlp", Priority::Normal, "analysis"),
        ),
        (
            "work.v12.nlp.critical.x",
            expect(Some("v12"), "nlp", Priority::Critical, "x"),
        ),
        (
            "work.nlp.high",
            expect(None, "nlp", Priority::Normal, "high"),
        ),
        (
            "work.v2.nlp.high",
            expect(Some("v2"), "nlp", Priority::Normal, "high"),
        ),
        (
            "work.v.My_Task",
            expect(None, "v", Priority::Normal, "My_Task"),
        ),
        ("work.vx2.t", expect(None, "vx2", Priority::Normal, "t")),
    ] {
        assert_eq!(parsed(text), expected, "{text}");
    }
}

#[test]
fn what_no_consumer_takes_is_no_work() {
    for text in [
        "",
        "work",
        "work.nlp",
        "work.v2",
        "work.v2.nlp",
        "work.nlp.urgent.test",
        "work.nlp.high.test.more",
        "work.v2.v3.test",
        "work.v2.nlp.high.test.more",
        "works.nlp.test",
        "work.nlp.*",
        "work.nlp.a b",
    ] {
        assert!(text.parse::<WorkSubject>().is_err(), "{text}");
    }
}

#[test]
fn the_long_form_is_written() {
    for (text, long) in [
        ("work.nlp.test", "work.nlp.normal.test"),
        ("work.v2.nlp.high.test", "work.v2.nlp.high.test"),
    ] {
        assert_eq!(text.parse::<WorkSubject>().unwrap().to_string(), long);
    }
}
