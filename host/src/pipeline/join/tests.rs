//! Tests of the join transitions: as a table, and in every order of arrival.
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

fn at(what: InputKind<'_>, sequence: u64, seconds: u64) -> JoinInput<'_> {
    JoinInput {
        what,
        sequence,
        n: 3,
        stored_at: Moment::of(seconds * SECOND),
        request_id: "r",
    }
}

/// Feeds an arrival to a record as a host does: writes the record, then decides again.
fn feed(record: &mut Option<Record>, arrival: &JoinInput<'_>, join: &JoinSpec) -> Decision {
    match step(record.as_ref(), arrival, join) {
        Decision::Write(new) => {
            *record = Some(new);
            let after = step(record.as_ref(), arrival, join);
            assert!(!matches!(after, Decision::Write(_)), "written twice");
            after
        }
        step => step,
    }
}

/// Kind, sequence, the second at which it was stored, and the expected step.
type Told = (InputKind<'static>, u64, u64, Decision);

fn names(of: &[&str]) -> &'static [String] {
    let all: Vec<String> = of.iter().map(|name| (*name).to_owned()).collect();
    all.leak()
}

#[test]
fn what_becomes_of_arrivals() {
    use InputKind::{Branch, Deadline, Failed, Letter};
    let (b, ab): (&[String], &[String]) = (names(&["b"]), names(&["a", "b"]));
    let cases: Vec<(&str, Missing, Vec<Told>)> = vec![
        (
            "all come",
            Missing::Fail,
            vec![
                (Branch("b"), 5, 0, Decision::Wait),
                (Branch("a"), 6, 1, Decision::Wait),
                (Branch("a"), 7, 1, Decision::Duplicate),
                (Branch("c"), 8, 2, Decision::Run),
                // Redelivered messages: same outcome as before.
                (Branch("b"), 5, 0, Decision::Wait),
                (Branch("c"), 8, 2, Decision::Run),
                (Branch("c"), 9, 2, Decision::Duplicate),
                (Deadline, 10, 11, Decision::Void),
            ],
        ),
        (
            "one is missing, and the rest goes on",
            Missing::Continue,
            vec![
                (Branch("a"), 5, 0, Decision::Wait),
                (Deadline, 6, 9, Decision::Void),
                (Branch("b"), 7, 9, Decision::Wait),
                (Deadline, 8, 10, Decision::Run),
                (Deadline, 8, 10, Decision::Run),
                (Deadline, 9, 11, Decision::Void),
                (Branch("c"), 10, 12, Decision::Late),
                (Branch("a"), 5, 0, Decision::Wait),
            ],
        ),
        (
            "one is missing, and the workflow fails",
            Missing::Fail,
            vec![
                (Branch("a"), 5, 0, Decision::Wait),
                (Deadline, 8, 10, Decision::Fail),
                (Deadline, 8, 10, Decision::Fail),
            ],
        ),
        (
            "what was missing comes after all, and reopens the join",
            Missing::Fail,
            vec![
                (Branch("a"), 5, 0, Decision::Wait),
                (Deadline, 8, 10, Decision::Fail),
                (Branch("c"), 10, 12, Decision::Wait),
                (Deadline, 8, 10, Decision::Void),
                (Deadline, 11, 21, Decision::Void),
                (Branch("b"), 12, 21, Decision::Run),
                (Branch("c"), 10, 12, Decision::Wait),
            ],
        ),
        (
            "a branch has failed, and the join fails at once",
            Missing::Fail,
            vec![
                (Branch("a"), 5, 0, Decision::Wait),
                (Failed("b", "x"), 6, 1, Decision::Fail),
                (Failed("b", "x"), 6, 1, Decision::Fail),
                (Failed("c", "x"), 7, 1, Decision::Duplicate),
                // Its dead letter was sent again.
                (Branch("b"), 8, 2, Decision::Wait),
                (Branch("c"), 9, 3, Decision::Run),
            ],
        ),
        (
            "the failure is known before anything has come",
            Missing::Fail,
            vec![
                (Failed("b", "x"), 5, 0, Decision::Wait),
                (Deadline, 6, 99, Decision::Void),
                (Branch("a"), 7, 100, Decision::Fail),
                (Branch("b"), 8, 101, Decision::Wait),
                (Branch("c"), 9, 102, Decision::Run),
            ],
        ),
        (
            "nothing came and nothing will",
            Missing::Continue,
            vec![
                (Failed("a", "x"), 5, 0, Decision::Wait),
                (Failed("b", "x"), 6, 0, Decision::Wait),
                (Failed("c", "x"), 7, 0, Decision::PassOn),
                (Branch("a"), 8, 1, Decision::Wait),
            ],
        ),
        (
            "all that is missing has failed, and the rest goes on",
            Missing::Continue,
            vec![
                (Failed("a", "x"), 5, 0, Decision::Wait),
                (Branch("b"), 6, 0, Decision::Wait),
                (Failed("c", "x"), 7, 0, Decision::Run),
                (Branch("c"), 8, 1, Decision::Late),
            ],
        ),
        (
            "a branch that came has not failed",
            Missing::Fail,
            vec![
                (Branch("a"), 5, 0, Decision::Wait),
                (Failed("a", "x"), 6, 0, Decision::Duplicate),
            ],
        ),
        (
            "the letter of the join is sent again, and waits for what is missing",
            Missing::Fail,
            vec![
                (Branch("b"), 5, 0, Decision::Wait),
                (Failed("c", "x"), 6, 0, Decision::Fail),
                (Letter(b), 7, 50, Decision::Wait),
                (Letter(b), 7, 50, Decision::Wait),
                (Failed("c", "x"), 6, 0, Decision::Duplicate),
                (Deadline, 8, 59, Decision::Void),
                (Branch("a"), 9, 59, Decision::Wait),
                (Branch("c"), 10, 59, Decision::Run),
                (Letter(b), 11, 60, Decision::Duplicate),
            ],
        ),
        (
            "a letter of which nothing is remembered",
            Missing::Fail,
            vec![
                (Letter(ab), 5, 0, Decision::Wait),
                (Branch("c"), 6, 1, Decision::Run),
            ],
        ),
        (
            "the last branch comes before anybody looked at the time",
            Missing::Fail,
            vec![
                (Branch("a"), 5, 0, Decision::Wait),
                (Branch("b"), 6, 0, Decision::Wait),
                (Branch("c"), 7, 99, Decision::Run),
            ],
        ),
        (
            "a deadline of nothing",
            Missing::Fail,
            vec![(Deadline, 5, 99, Decision::Void)],
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
    feed(&mut record, &at(InputKind::Branch("b"), 5, 1), &join);
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
    /// For every order, repetition and duplicate: exactly one message runs the stage, at each of
    /// its deliveries, and no counted branch is lost.
    #[test]
    fn exactly_one_message_runs_the_stage(
        order in Just((0..12_usize).collect::<Vec<_>>()).prop_shuffle(),
        again in prop::collection::vec(0..12_usize, 0..24),
        deadline in prop::option::of(0..12_usize),
    ) {
        let join = join(Missing::Continue);
        // Four messages of each branch.
        let names = ["a", "b", "c"];
        let message = |i: usize| at(InputKind::Branch(names[i % 3]), 100 + i as u64, 1);
        let mut record = None;
        let mut ran = std::collections::BTreeSet::new();
        let mut first = BTreeMap::new();
        for (place, i) in order.iter().enumerate() {
            if deadline == Some(place) {
                let over = at(InputKind::Deadline, 999, 60);
                if feed(&mut record, &over, &join) == Decision::Run {
                    ran.insert(999);
                }
            }
            let arrival = message(*i);
            let got = feed(&mut record, &arrival, &join);
            if got == Decision::Run {
                ran.insert(arrival.sequence);
            }
            first.insert(*i, got);
        }
        prop_assert_eq!(ran.len(), 1);
        let before = record.clone();
        for i in again {
            let got = feed(&mut record, &message(i), &join);
            // A message dropped as a duplicate before the join ended stays dropped.
            prop_assert_eq!(&got, &first[&i], "{}", i);
        }
        prop_assert_eq!(before, record);
    }
}
