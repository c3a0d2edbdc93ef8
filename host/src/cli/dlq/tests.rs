//! Tests of the dead-letter commands against a real server.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use bytes::Bytes;
use clap::Parser;
use serde_json::{Value, json};

use super::{Command, Letters, STREAM, execute};
use crate::cli::exit::Exit;
use crate::settle::dead_letter;
use mistersmith_nats::{Headers, Role, Transport};
use mistersmith_testing::TestServer;

/// A server with the streams that the commands need, and three dead letters: 1 and 3 of a work
/// item, 2 of a subject that no stream captures.
struct Bench {
    _server: TestServer,
    transport: Transport,
}

impl Bench {
    async fn new() -> Bench {
        let server = TestServer::start().await;
        let transport = crate::testing::connect(&server).await;
        let bench = Bench {
            _server: server,
            transport,
        };
        for (name, subjects) in [("DLQ", "dlq.>"), ("AUDIT", "audit.>"), ("WORK", "work.>")] {
            let config = json!({ "name": name, "subjects": [subjects] });
            let call = format!("$JS.API.STREAM.CREATE.{name}");
            let connection = bench.transport.connection(Role::Control);
            let wait = std::time::Duration::from_secs(5);
            let body = Bytes::from(config.to_string());
            connection
                .request(&call, Headers::new(), body, wait)
                .await
                .unwrap();
        }
        for subject in ["work.a.x", "free.subject", "work.a.x"] {
            let mut headers = Headers::new();
            headers.insert(dead_letter::SUBJECT, subject).unwrap();
            headers.insert("X-Request-ID", "r-1").unwrap();
            let letters = bench.letters();
            let id = nuid::next().to_string();
            let letter = format!("dlq.{subject}");
            let payload = Bytes::from_static(b"poison");
            letters
                .connection
                .store(&letter, &id, headers, payload)
                .await
                .unwrap();
        }
        bench
    }

    fn letters(&self) -> Letters {
        Letters::new(self.transport.connection(Role::Control)).unwrap()
    }

    /// Runs a command from its command line; returns its exit code.
    async fn run(&self, line: &str) -> Exit {
        #[derive(Parser)]
        struct Line {
            #[command(subcommand)]
            command: Command,
        }
        let words = std::iter::once("dlq").chain(line.split(' '));
        let Ok(line) = Line::try_parse_from(words) else {
            return Exit::USAGE;
        };
        match execute(&self.letters(), line.command).await {
            Ok(()) => Exit::DONE,
            Err(error) => Exit::failed(&error),
        }
    }

    async fn messages(&self, stream: &str) -> u64 {
        let view = self
            .transport
            .connection(Role::Control)
            .stream(stream)
            .unwrap();
        view.facts().await.unwrap().messages
    }

    /// The newest entry of the audit trail.
    async fn audited(&self) -> Value {
        let view = self
            .transport
            .connection(Role::Control)
            .stream("AUDIT")
            .unwrap();
        let last = view.facts().await.unwrap().last;
        let entry = view.message(last).await.unwrap().unwrap();
        let mut value: Value = serde_json::from_slice(&entry.payload).unwrap();
        value["subject_of_entry"] = json!(entry.subject);
        value
    }
}

#[tokio::test]
async fn a_letter_goes_only_after_its_stream_has_it() {
    let bench = Bench::new().await;
    // No stream captures the free subject, so no stream could acknowledge the message.
    assert_eq!(bench.run("replay --all").await, Exit::FAILED);
    assert_eq!(
        (bench.messages("WORK").await, bench.messages(STREAM).await),
        (2, 1)
    );
    assert_eq!(bench.audited().await["subject_of_entry"], "audit.command");
    let work = bench
        .transport
        .connection(Role::Control)
        .stream("WORK")
        .unwrap();
    let replayed = work.message(1).await.unwrap().unwrap();
    assert_eq!(replayed.payload, "poison");
    assert_eq!(replayed.headers.get("X-Request-ID"), Some("r-1"));
    assert_eq!(replayed.headers.get(dead_letter::SUBJECT), None);
    let letters = bench.letters();
    assert!(letters.numbered(2).await.is_ok());
}

#[tokio::test]
async fn a_replay_that_died_before_the_removal_is_no_second_message() {
    let bench = Bench::new().await;
    let letters = bench.letters();
    let letter = letters.numbered(1).await.unwrap();
    let (id, headers) = (letter.replay_id(), letter.original_headers());
    letters
        .connection
        .store("work.a.x", &id, headers, letter.payload)
        .await
        .unwrap();
    assert_eq!(bench.run("replay 1").await, Exit::DONE);
    assert_eq!(
        (bench.messages("WORK").await, bench.messages(STREAM).await),
        (1, 2)
    );
}

#[tokio::test]
async fn a_selection_touches_nothing_else() {
    let bench = Bench::new().await;
    assert_eq!(bench.run("replay --older-than 1h").await, Exit::DONE);
    assert_eq!(bench.run("purge --yes --older-than 1h").await, Exit::DONE);
    assert_eq!(bench.messages(STREAM).await, 3);
    assert_eq!(bench.run("replay --subject work.b.>").await, Exit::DONE);
    assert_eq!(
        bench.run("purge --yes --subject work.b.>").await,
        Exit::DONE
    );
    assert_eq!(bench.messages(STREAM).await, 3);
    assert_eq!(bench.run("purge --yes 2 99").await, Exit::DONE);
    assert_eq!(bench.messages(STREAM).await, 2);
    assert_eq!(bench.audited().await["subject_of_entry"], "audit.forced");
    assert_eq!(bench.run("purge --yes --subject work.>").await, Exit::DONE);
    assert_eq!(bench.messages(STREAM).await, 0);
}

#[tokio::test]
async fn the_boundary_of_an_age_is_found() {
    let bench = Bench::new().await;
    let letters = bench.letters();
    let second = letters.view.message(2).await.unwrap().unwrap();
    let time = super::stored_at(&second).unwrap();
    for (pattern, boundary) in [("dlq.>", 2), ("dlq.work.>", 2), ("dlq.free.>", 1)] {
        let found = letters.boundary(pattern, 1, 4, time).await.unwrap();
        assert_eq!(found, boundary, "{pattern}");
    }
    let far = time + time::Duration::days(1);
    assert_eq!(letters.boundary("dlq.>", 1, 4, far).await.unwrap(), 4);
}

#[tokio::test]
async fn wrong_use_is_told() {
    let bench = Bench::new().await;
    for wrong in [
        "replay",
        "show 99",
        "show x",
        "replay 1 --all",
        "list --subject a..b",
    ] {
        assert_eq!(bench.run(wrong).await, Exit::USAGE, "{wrong}");
    }
    for right in [
        "list",
        "list --json --limit 1",
        "list --from 3",
        "show 1",
        "show 1 --json",
    ] {
        assert_eq!(bench.run(right).await, Exit::DONE, "{right}");
    }
}
