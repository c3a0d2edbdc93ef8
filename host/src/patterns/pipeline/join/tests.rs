//! Which arrival does what: as a table, and in every order.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use proptest::prelude::*;

use super::*;

const SECOND: u64 = 1_000_000_000;

fn join(missing: Missing) -> JoinSpec {
    JoinSpec {
        branches: ["a", "b", "c"].map(|b| b.parse().unwrap()).to_vec(),
        timeout: Duration::from_secs(10),
        missing,
    }
}

fn at(what: What<'_>, sequence: u64, seconds: u64) -> Arrival<'_> {
    Arrival {
        what,
        sequence,
        n: 3,
        stored_at: Moment::of(seconds * SECOND),
        request_id: "r",
    }
}

/// Feeds arrivals to a record as hosts do: what is to be written is written, then looked at again.
fn feed(record: &mut Option<Record>, arrival: &Arrival<'_>, join: &JoinSpec) -> Step {
    match step(record.as_ref(), arrival, join) {
        Step::Write(new) => {
            *record = Some(new);
            let after = step(record.as_ref(), arrival, join);
            assert!(!matches!(after, Step::Write(_)), "written twice");
            after
        }
        step => step,
    }
}

/// Its sequence, the second at which it was stored, and what becomes of it.
type Told = (What<'static>, u64, u64, Step);

fn names(of: &[&str]) -> &'static [String] {
    let all: Vec<String> = of.iter().map(|name| (*name).to_owned()).collect();
    all.leak()
}

#[test]
fn what_becomes_of_arrivals() {
    use What::{Branch, Deadline, Failed, Letter};
    let (b, ab): (&[String], &[String]) = (names(&["b"]), names(&["a", "b"]));
    let cases: Vec<(&str, Missing, Vec<Told>)> = vec![
        (
            "all come",
            Missing::Fail,
            vec![
                (Branch("b"), 5, 0, Step::Wait),
                (Branch("a"), 6, 1, Step::Wait),
                (Branch("a"), 7, 1, Step::Duplicate),
                (Branch("c"), 8, 2, Step::Run),
                // Delivered again: each as before.
                (Branch("b"), 5, 0, Step::Wait),
                (Branch("c"), 8, 2, Step::Run),
                (Branch("c"), 9, 2, Step::Duplicate),
                (Deadline, 10, 11, Step::Void),
            ],
        ),
        (
            "one is missing, and the rest goes on",
            Missing::Continue,
            vec![
                (Branch("a"), 5, 0, Step::Wait),
                (Deadline, 6, 9, Step::Void),
                (Branch("b"), 7, 9, Step::Wait),
                (Deadline, 8, 10, Step::Run),
                (Deadline, 8, 10, Step::Run),
                (Deadline, 9, 11, Step::Void),
                (Branch("c"), 10, 12, Step::Late),
                (Branch("a"), 5, 0, Step::Wait),
            ],
        ),
        (
            "one is missing, and the workflow fails",
            Missing::Fail,
            vec![
                (Branch("a"), 5, 0, Step::Wait),
                (Deadline, 8, 10, Step::Fail),
                (Deadline, 8, 10, Step::Fail),
            ],
        ),
        (
            "what was missing comes after all, and reopens the join",
            Missing::Fail,
            vec![
                (Branch("a"), 5, 0, Step::Wait),
                (Deadline, 8, 10, Step::Fail),
                (Branch("c"), 10, 12, Step::Wait),
                (Deadline, 8, 10, Step::Void),
                (Deadline, 11, 21, Step::Void),
                (Branch("b"), 12, 21, Step::Run),
                (Branch("c"), 10, 12, Step::Wait),
            ],
        ),
        (
            "a branch has failed, and the join fails at once",
            Missing::Fail,
            vec![
                (Branch("a"), 5, 0, Step::Wait),
                (Failed("b", "x"), 6, 1, Step::Fail),
                (Failed("b", "x"), 6, 1, Step::Fail),
                (Failed("c", "x"), 7, 1, Step::Duplicate),
                // Its dead letter was sent again.
                (Branch("b"), 8, 2, Step::Wait),
                (Branch("c"), 9, 3, Step::Run),
            ],
        ),
        (
            "the failure is known before anything has come",
            Missing::Fail,
            vec![
                (Failed("b", "x"), 5, 0, Step::Wait),
                (Deadline, 6, 99, Step::Void),
                (Branch("a"), 7, 100, Step::Fail),
                (Branch("b"), 8, 101, Step::Wait),
                (Branch("c"), 9, 102, Step::Run),
            ],
        ),
        (
            "nothing came and nothing will",
            Missing::Continue,
            vec![
                (Failed("a", "x"), 5, 0, Step::Wait),
                (Failed("b", "x"), 6, 0, Step::Wait),
                (Failed("c", "x"), 7, 0, Step::PassOn),
                (Branch("a"), 8, 1, Step::Wait),
            ],
        ),
        (
            "all that is missing has failed, and the rest goes on",
            Missing::Continue,
            vec![
                (Failed("a", "x"), 5, 0, Step::Wait),
                (Branch("b"), 6, 0, Step::Wait),
                (Failed("c", "x"), 7, 0, Step::Run),
                (Branch("c"), 8, 1, Step::Late),
            ],
        ),
        (
            "a branch that came has not failed",
            Missing::Fail,
            vec![
                (Branch("a"), 5, 0, Step::Wait),
                (Failed("a", "x"), 6, 0, Step::Duplicate),
            ],
        ),
        (
            "the letter of the join is sent again, and waits for what is missing",
            Missing::Fail,
            vec![
                (Branch("b"), 5, 0, Step::Wait),
                (Failed("c", "x"), 6, 0, Step::Fail),
                (Letter(b), 7, 50, Step::Wait),
                (Letter(b), 7, 50, Step::Wait),
                (Failed("c", "x"), 6, 0, Step::Duplicate),
                (Deadline, 8, 59, Step::Void),
                (Branch("a"), 9, 59, Step::Wait),
                (Branch("c"), 10, 59, Step::Run),
                (Letter(b), 11, 60, Step::Duplicate),
            ],
        ),
        (
            "a letter of which nothing is remembered",
            Missing::Fail,
            vec![
                (Letter(ab), 5, 0, Step::Wait),
                (Branch("c"), 6, 1, Step::Run),
            ],
        ),
        (
            "the last branch comes before anybody looked at the time",
            Missing::Fail,
            vec![
                (Branch("a"), 5, 0, Step::Wait),
                (Branch("b"), 6, 0, Step::Wait),
                (Branch("c"), 7, 99, Step::Run),
            ],
        ),
        (
            "a deadline of nothing",
            Missing::Fail,
            vec![(Deadline, 5, 99, Step::Void)],
        ),
    ];
    for (name, missing, arrivals) in cases {
        let join = join(missing);
        let mut record = None;
        for (what, sequence, seconds, expected) in arrivals {
            let arrival = at(what, sequence, seconds);
            let got = feed(&mut record, &arrival, &join);
            assert_eq!(got, expected, "{name}: {arrival:?}");
        }
    }
}

#[test]
fn a_record_is_readable_and_says_what_is_missing() {
    let join = join(Missing::Fail);
    let mut record = None;
    feed(&mut record, &at(What::Branch("b"), 5, 1), &join);
    let record = record.unwrap();
    let text = serde_json::to_string(&record).unwrap();
    assert_eq!(
        text,
        r#"{"branches":{"b":{"sequence":5,"n":3}},"opened_at":"1970-01-01T00:00:01Z","deadline":"1970-01-01T00:00:11Z","request_id":"r"}"#
    );
    assert_eq!(serde_json::from_str::<Record>(&text).unwrap(), record);
    assert_eq!(record.missing(&join), ["a", "c"]);
}

proptest! {
    /// Whatever the order, the repetitions and the duplicates: exactly one message runs the stage, it
    /// does so each time that it is delivered, and nothing that was counted is lost.
    #[test]
    fn exactly_one_message_runs_the_stage(
        order in Just((0..12_usize).collect::<Vec<_>>()).prop_shuffle(),
        again in prop::collection::vec(0..12_usize, 0..24),
        deadline in prop::option::of(0..12_usize),
    ) {
        let join = join(Missing::Continue);
        // Four messages of each branch.
        let names = ["a", "b", "c"];
        let message = |i: usize| at(What::Branch(names[i % 3]), 100 + i as u64, 1);
        let mut record = None;
        let mut ran = std::collections::BTreeSet::new();
        let mut first = BTreeMap::new();
        for (place, i) in order.iter().enumerate() {
            if deadline == Some(place) {
                let over = at(What::Deadline, 999, 60);
                if feed(&mut record, &over, &join) == Step::Run {
                    ran.insert(999);
                }
            }
            let arrival = message(*i);
            let got = feed(&mut record, &arrival, &join);
            if got == Step::Run {
                ran.insert(arrival.sequence);
            }
            first.insert(*i, got);
        }
        prop_assert_eq!(ran.len(), 1);
        let before = record.clone();
        for i in again {
            let got = feed(&mut record, &message(i), &join);
            // What was dropped as a repetition before the join ended stays dropped.
            prop_assert_eq!(&got, &first[&i], "{}", i);
        }
        prop_assert_eq!(before, record);
    }
}
