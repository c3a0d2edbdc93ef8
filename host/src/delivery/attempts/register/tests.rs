//! Tests of when a register is written, and with which value.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]
use mistersmith_testing::fuzz;

use super::*;

fn register() -> Register {
    Register::new("open.host-a.1.probe.0".to_owned(), "host-a.1")
}

fn begin(register: &Register, sequence: u64, urgent: bool) -> u64 {
    let agent: AgentId = "probe-001".parse().unwrap();
    let item = Item::parse(&format!("WORK_QUEUE.{sequence}.1")).unwrap();
    let beginning = Beginning {
        item,
        agent: &agent,
        delivery: 1,
    };
    register.begin(beginning, urgent).0
}

fn sequences(value: &[u8]) -> Vec<String> {
    let listed = read(value).into_iter();
    listed.map(|(item, _)| item.name()).collect()
}

fn later() -> Instant {
    Instant::now() + limits::ATTEMPT_DELAY + limits::ATTEMPT_GAP
}

fn written(register: &Register, at: Instant) -> (Bytes, u64) {
    match register.due(at, usize::MAX) {
        Due::Write(value, number) => (value, number),
        due => panic!("{due:?}"),
    }
}

#[test]
fn what_ends_soon_is_never_written() {
    let register = register();
    let number = begin(&register, 1, false);
    assert!(matches!(register.due(Instant::now(), 99), Due::Later(_)));
    assert!(!register.end(number));
    assert!(matches!(register.due(later(), 99), Due::Nothing));
}

#[test]
fn what_is_open_is_written_once() {
    let register = register();
    let number = begin(&register, 1, false);
    let (value, upto) = written(&register, later());
    assert_eq!(sequences(&value), ["WORK_QUEUE.1.1"]);
    assert_eq!(upto, number);
    assert!(matches!(register.due(later(), usize::MAX), Due::Busy));
    register.wrote(Some(upto), true);
    assert!(matches!(register.due(later(), usize::MAX), Due::Nothing));
    // The next attempt is part of the same write.
    begin(&register, 2, false);
    assert!(matches!(
        register.due(Instant::now(), usize::MAX),
        Due::Later(_)
    ));
    let (value, _) = written(&register, later());
    assert_eq!(sequences(&value), ["WORK_QUEUE.1.1", "WORK_QUEUE.2.1"]);
}

#[test]
fn what_somebody_waits_for_is_written_at_once() {
    let register = register();
    begin(&register, 1, false);
    begin(&register, 2, true);
    let (value, upto) = written(&register, Instant::now());
    assert_eq!(sequences(&value).len(), 2);
    register.wrote(Some(upto), false);
    assert!(
        matches!(register.due(Instant::now(), usize::MAX), Due::Later(_)),
        "not at once after a failure"
    );
    let (value, _) = written(&register, Instant::now() + limits::ATTEMPT_RETRY);
    assert_eq!(sequences(&value).len(), 2, "nothing is forgotten");
}

#[test]
fn what_was_not_begun_is_taken_back() {
    let register = register();
    let number = begin(&register, 1, true);
    let (_, upto) = written(&register, Instant::now());
    register.wrote(Some(upto), true);
    register.withdraw(number);
    let (value, _) = written(&register, Instant::now());
    assert!(sequences(&value).is_empty());
}

#[test]
fn a_register_that_grows_too_large_is_relieved() {
    let register = register();
    let numbers: Vec<u64> = (0..9).map(|n| begin(&register, n, false)).collect();
    assert!(matches!(register.due(later(), 500), Due::Crowded));
    let old = register.older_than(Duration::ZERO);
    assert_eq!(old.len(), numbers.len());
    for (number, ..) in old {
        register.recorded(number);
    }
    register.wrote(None, true);
    assert!(matches!(register.due(later(), 500), Due::Nothing));
    assert!(register.says_nothing());
    assert!(
        register.end(numbers[0]),
        "its item has a record, which must go"
    );
}

#[tokio::test]
async fn whoever_waits_hears_of_the_write() {
    let register = std::sync::Arc::new(register());
    let number = begin(&register, 1, true);
    let waiting = tokio::spawn({
        let register = register.clone();
        async move { register.is_stored(number).await }
    });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    let (_, upto) = written(&register, Instant::now());
    register.wrote(Some(upto), true);
    waiting.await.unwrap();
}

#[test]
fn fuzz_register() {
    let words = [
        "\"attempts\":",
        "\"item\":",
        "WORK_QUEUE.1.1",
        "\"delivery\":",
        "null",
        "-1",
    ];
    fuzz("attempts", &words, |value| {
        for (item, attempt) in read(value) {
            assert_eq!(Item::parse(&item.name()), Some(item), "{attempt:?}");
        }
    });
}
