//! Tests of the retry times of a plugin.
#![allow(clippy::unwrap_used)]
use super::super::tests::memory::MemoryPlugin;
use super::*;

type MemorySlot = PluginEntry<MemoryPlugin>;

#[test]
fn what_costs_much_is_tried_less_and_less_often_until_its_files_change() {
    let (mut entry, now) = (MemorySlot::default(), Instant::now());
    let problem = Problem::Costly("too much CPU time".to_owned());
    let mut waits = Vec::new();
    for _ in 0..9 {
        entry.failed(&problem, now);
        waits.push((entry.again.unwrap() - now).as_secs());
    }
    assert_eq!(waits, [30, 60, 120, 240, 480, 960, 1920, 3600, 3600]);
    assert_eq!(costly(u32::MAX), COMPILE_RETRY_MOST);
    assert!(entry.broken);
    entry.renew();
    entry.failed(&problem, now);
    assert_eq!(entry.again, Some(now + COMPILE_RETRY_FIRST));
}

#[test]
fn only_other_files_help_when_the_files_are_at_fault() {
    let (mut entry, now) = (MemorySlot::default(), Instant::now());
    entry.failed(&Problem::Passing("no connection".to_owned()), now);
    assert_eq!(entry.again, Some(now + LOAD_RETRY));
    entry.failed(&Problem::Files("no component".to_owned()), now);
    assert_eq!((entry.again, entry.tries), (None, 0));
}

#[test]
fn files_are_acted_upon_when_two_looks_agree() {
    let (mut entry, now) = (MemorySlot::default(), Instant::now());
    let [one, two] = [1, 2].map(Fingerprint::of);
    assert_eq!(entry.look(&one, false, now), Due::Nothing);
    assert_eq!(entry.look(&two, false, now), Due::Nothing, "it changes yet");
    assert_eq!(entry.look(&two, false, now), Due::New);
    entry.tried = Some(two.clone());
    assert_eq!(entry.look(&two, false, now), Due::Nothing);
    entry.again = Some(now + LOAD_RETRY);
    assert_eq!(entry.look(&two, false, now), Due::Nothing, "too early");
    assert_eq!(entry.look(&two, false, now + LOAD_RETRY), Due::Again);
    assert_eq!(
        entry.look(&one, true, now),
        Due::New,
        "the first look of all"
    );
}
