//! Tests of the order of storing and acknowledging, in paused time, with lost calls and answers.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod acknowledging;
mod bounds;
mod deaths;
mod failing;
mod storing;

use bytes::Bytes;
use serde_json::Value;

use mistersmith_core::names::Priority;
use mistersmith_nats::{Claim, Headers, Stored, Trace, Unreadable};
use mistersmith_runtime::{Failure, Kind};

use super::super::storage::Asked;
use super::*;
use crate::delivery::testing::{Client, Fault, Op, Process, Server, delivery};
use crate::delivery::{Claimed, FinalFailure};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);
const LOST: Fault = Fault::Lost(Duration::from_millis(10));

impl Storage for Client {
    fn read_result<'a>(&'a self, key: &'a str) -> Asked<'a, Option<Bytes>> {
        Box::pin(self.call(Op::ReadResult, |state| Ok(state.results.get(key).cloned())))
    }

    fn write_result<'a>(&'a self, key: &'a str, value: Bytes) -> Asked<'a, ()> {
        Box::pin(self.call(Op::WriteResult, move |state| {
            state.results.insert(key.to_owned(), value);
            Ok(())
        }))
    }

    fn store_letter<'a>(&'a self, failure: FinalFailure<'a>) -> Asked<'a, Stored> {
        Box::pin(self.call(Op::Letter, move |state| {
            let id = failure.held.info.output_id("dlq");
            let letter = state.letters.entry(id);
            letter.or_insert_with(|| failure.reason.kind.to_string());
            Ok(Stored {
                stream: "DLQ".to_owned(),
                sequence: 1,
                duplicate: false,
            })
        }))
    }

    fn audit(&self, _kind: &str, _entry: Value) {
        self.note(Op::Audit);
    }

    fn discard<'a>(&'a self, _claimed: &'a Claimed, _subject: &'a str) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let _ = self.call(Op::Discard, |_| Ok(())).await;
        })
    }

    fn bury_unreadable<'a>(&'a self, _found: &'a Unreadable) -> BoxFuture<'a, bool> {
        Box::pin(std::future::ready(true))
    }
}

/// A test bench: a process that settles on a server in memory.
struct Bed {
    server: Server,
    process: Process,
    settler: Settler,
}

impl Bed {
    fn new() -> Self {
        Self::of(Server::default(), "host-a")
    }

    fn of(server: Server, host: &str) -> Self {
        let process = Process::start(&server, host);
        let storage = Arc::new(process.client.clone());
        let clock = ServerClock::default();
        let settler = Settler::over(storage, process.attempts.clone(), clock);
        Self {
            server,
            process,
            settler,
        }
    }

    /// Settles item 1, which may begin three times, with this outcome.
    async fn settle(&self, outcome: Outcome) {
        let held = self.process.begun(1, 3).await;
        self.settle_held(held, outcome).await;
    }

    async fn settle_held(&self, held: Box<HeldMessage>, outcome: Outcome) {
        let agent = &self.process.agent;
        self.settler.settle(agent, call(), held, outcome).await;
    }

    /// Delivers item 1 again and begins it.
    async fn begun_again(&self, deliveries: u64) -> Box<HeldMessage> {
        let mut held = self.process.hold(delivery(1, deliveries), 3).unwrap();
        let arrived = tokio::time::Instant::now().into_std();
        let attempts = &self.process.attempts;
        let admission = attempts.admit(held.counted(), arrived).await;
        assert!(matches!(
            admission,
            crate::delivery::attempts::Admission::Granted
        ));
        self.process.begin(&mut held).await.unwrap();
        held
    }

    /// Asserts one in-progress ack for each third of the ack wait until now.
    fn assert_kept(&self, since: tokio::time::Instant) {
        let mut before = since;
        let now = tokio::time::Instant::now();
        for at in self.server.asked(Op::Progress).into_iter().chain([now]) {
            assert!(
                at - before <= limits::ACK_WAIT / 12 * 5,
                "{:?}",
                at - before
            );
            before = at;
        }
    }
}

fn call() -> Box<Call> {
    Box::new(Call {
        kind: Kind::Work {
            priority: Priority::Normal,
            retries: 0,
        },
        subject: "work.probe.normal.x".to_owned(),
        payload: Bytes::from_static(b"in"),
        headers: Headers::new().into(),
        trace: Trace::begin("r-1".to_owned()),
        waits_until: None,
    })
}

fn done(payload: &str) -> Outcome {
    Outcome::Done(Some(Reply {
        payload: Bytes::from(payload.to_owned()),
        ..Reply::default()
    }))
}

fn failed() -> Outcome {
    Outcome::Failed(Failure::Other("no luck".to_owned()))
}

fn rejected() -> Outcome {
    Outcome::Failed(Failure::Reject("never".to_owned()))
}

/// A payload in the object store.
fn claimed() -> Claimed {
    let mut headers = Headers::new();
    headers.set(mistersmith_nats::CLAIM, "WORK_QUEUE.1");
    let claim = Claim::of(&headers).unwrap().unwrap();
    Claimed::new(claim, 7, None)
}
