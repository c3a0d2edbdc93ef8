//! Tests of plugins that are added, changed and removed: paused time, a folder in memory.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

mod lock;
pub(super) mod memory;

use mistersmith_core::config::Lock;
use mistersmith_core::limits::{COMPILE_RETRY_FIRST, LOAD_RETRY, SCAN};

use super::*;
use memory::Lab;

/// Slightly more than the interval between scans.
const LOOKS: Duration = Duration::from_secs(1);
const LIMIT: Duration = Duration::from_secs(10);

fn passing() -> Problem {
    Problem::Passing("no connection".to_owned())
}

#[tokio::test(start_paused = true)]
async fn plugins_in_the_folder_at_the_start_are_loaded_at_once() {
    let mut lab = Lab::of(&[("echo", 1)]);
    lab.look().await;
    let load = lab.load();
    assert_eq!((load.version.as_str(), &load.replaces), ("1", &None));
    assert_eq!(lab.manager.count(), [0, 1, 0]);
    load.succeeds();
    lab.look().await;
    assert_eq!(lab.manager.count(), [1, 0, 0]);
    assert_eq!(lab.changes(), ["loaded"]);
    lab.look().await;
    lab.no_load();
}

#[tokio::test(start_paused = true)]
async fn a_change_is_acted_upon_when_two_looks_see_the_same() {
    let mut lab = Lab::running().await;
    for size in [2, 3, 4] {
        lab.holds(&[("echo", size)]);
        lab.look().await;
        lab.no_load();
    }
    lab.look().await;
    let load = lab.load();
    assert_eq!(
        (load.version.as_str(), load.replaces.as_deref()),
        ("4", Some("1"))
    );
    load.succeeds();
    lab.look().await;
    assert_eq!(lab.changes(), ["loaded", "replaced"]);
}

#[tokio::test(start_paused = true)]
async fn a_broken_plugin_is_reported_once_and_the_old_version_goes_on() {
    let mut lab = Lab::running().await;
    lab.changes();
    lab.host.set_mistake(Some("no such key"));
    lab.holds(&[("echo", 2)]);
    for _ in 0..20 {
        lab.look().await;
    }
    lab.no_load();
    assert_eq!(lab.changes(), ["refused"]);
    assert_eq!(lab.manager.count(), [1, 0, 1]);
    assert_eq!(lab.ended(), []);
    lab.host.set_mistake(None);
    lab.holds(&[("echo", 3)]);
    lab.look().await;
    lab.look().await;
    assert_eq!(lab.load().replaces.as_deref(), Some("1"));
}

#[tokio::test(start_paused = true)]
async fn a_version_that_does_not_start_leaves_the_old_one() {
    let mut lab = Lab::running().await;
    lab.holds(&[("echo", 2)]);
    lab.look().await;
    lab.look().await;
    lab.load().fails(Problem::Files("no component".to_owned()));
    lab.look().await;
    assert_eq!(lab.manager.count(), [1, 0, 1]);
    assert_eq!(lab.ended(), []);
    let entry = lab.manager.entries.get("echo").unwrap();
    assert_eq!(entry.spec.as_ref().unwrap().version, "1");
}

#[tokio::test(start_paused = true)]
async fn a_plugin_is_tried_again_after_a_pause_and_reported_once() {
    let mut lab = Lab::of(&[("echo", 1)]);
    lab.look().await;
    lab.load().fails(passing());
    for _ in 0..3 {
        let (load, waited) = lab.until_load().await;
        assert!(
            waited >= LOAD_RETRY && waited < LOAD_RETRY + 2 * LOOKS,
            "{waited:?}"
        );
        load.fails(passing());
    }
    lab.look().await;
    assert_eq!(lab.changes(), ["refused"]);
    lab.until_load().await.0.succeeds();
    lab.look().await;
    assert_eq!(lab.changes(), ["loaded"]);
    assert_eq!(lab.manager.count(), [1, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_costly_plugin_is_tried_again_less_and_less_often() {
    let mut lab = Lab::of(&[("echo", 1)]);
    lab.look().await;
    let mut load = lab.load();
    for (tries, factor) in [1, 2, 4, 8].into_iter().enumerate() {
        assert_eq!(load.tries as usize, tries);
        load.fails(Problem::Costly("too much CPU time".to_owned()));
        let (next, waited) = lab.until_load().await;
        let wait = COMPILE_RETRY_FIRST * factor;
        assert!(waited >= wait && waited < wait + 2 * LOOKS, "{waited:?}");
        load = next;
    }
    // Other files reset the count.
    load.fails(Problem::Costly("too much CPU time".to_owned()));
    lab.look().await;
    lab.holds(&[("echo", 2)]);
    lab.look().await;
    lab.look().await;
    assert_eq!(lab.load().tries, 0);
}

#[tokio::test(start_paused = true)]
async fn a_component_that_compiles_for_long_is_given_up_for_a_newer_one() {
    let mut lab = Lab::of(&[("echo", 1)]);
    lab.look().await;
    let first = lab.load();
    lab.holds(&[("echo", 2)]);
    lab.look().await;
    lab.look().await;
    assert!(!first.was_interrupted(), "it may be over in a moment");
    first.late.send_replace(true);
    lab.look().await;
    assert!(first.was_interrupted());
    assert_eq!(lab.load().version, "2");
}

#[tokio::test(start_paused = true)]
async fn a_plugin_ends_when_two_looks_miss_it() {
    let mut lab = Lab::running().await;
    lab.holds(&[]);
    lab.look().await;
    lab.nothing_leaves();
    lab.holds(&[("echo", 1)]);
    lab.look().await;
    lab.holds(&[]);
    lab.look().await;
    lab.nothing_leaves();
    lab.look().await;
    assert_eq!(lab.leave().version.as_deref(), Some("1"));
    assert_eq!(lab.manager.count(), [0, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_plugin_that_is_removed_while_it_is_replaced_ends() {
    let mut lab = Lab::running().await;
    lab.holds(&[("echo", 2)]);
    lab.look().await;
    lab.look().await;
    let load = lab.load();
    lab.holds(&[]);
    lab.look().await;
    assert!(!load.was_interrupted());
    lab.look().await;
    assert!(load.was_interrupted());
    assert_eq!(lab.leave().version.as_deref(), Some("1"), "what ran");
}

#[tokio::test(start_paused = true)]
async fn nothing_starts_under_a_name_that_is_still_leaving() {
    let mut lab = Lab::running().await;
    lab.holds(&[]);
    lab.look().await;
    lab.look().await;
    let leave = lab.leave();
    lab.holds(&[("echo", 2), ("other", 1)]);
    lab.look().await;
    lab.look().await;
    let load = lab.load();
    assert_eq!(load.version, "1", "another plugin is not held up");
    load.succeeds();
    for _ in 0..20 {
        lab.look().await;
        lab.no_load();
    }
    leave.ends();
    lab.look().await;
    lab.look().await;
    let load = lab.load();
    assert_eq!((load.version.as_str(), &load.replaces), ("2", &None));
}

#[tokio::test(start_paused = true)]
async fn without_the_lease_nothing_runs_and_with_the_next_one_everything_starts_again() {
    let mut lab = Lab::running().await;
    lab.host.set_down(&["echo-002"]);
    lab.manager.suspend(LIMIT).await;
    assert_eq!(lab.ended(), [("1".to_owned(), StopReason::LeaseLost)]);
    lab.holds(&[("echo", 1), ("other", 7)]);
    for _ in 0..20 {
        lab.look().await;
        lab.no_load();
    }
    lab.manager.wake();
    lab.look().await;
    let [echo, other] = [lab.load(), lab.load()];
    assert_eq!((echo.version.as_str(), other.version.as_str()), ("1", "7"));
    assert_eq!(echo.replaces, None);
    // An agent that a command had shut down stays down.
    assert!(echo.down.iter().map(AgentId::as_str).eq(["echo-002"]));
    assert!(other.down.is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_a_command_shut_down_stays_down_when_the_lease_is_lost_during_a_mend_or_a_replacement()
{
    for mends in [true, false] {
        let mut lab = Lab::running().await;
        lab.host.set_down(&["echo-002"]);
        lab.host.set_mending(Duration::from_secs(3600));
        match mends {
            true => lab.host.set_broken(),
            false => lab.holds(&[("echo", 2)]),
        }
        lab.look().await;
        lab.look().await;
        let _replacement = (!mends).then(|| lab.load());
        lab.manager.suspend(LIMIT).await;
        assert_eq!(lab.ended(), [("1".to_owned(), StopReason::LeaseLost)]);
        lab.manager.wake();
        lab.look().await;
        let down = lab.load().down;
        assert!(down.iter().map(AgentId::as_str).eq(["echo-002"]), "{mends}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_lost_interrupts_what_is_being_replaced() {
    let mut lab = Lab::running().await;
    lab.holds(&[("echo", 2)]);
    lab.look().await;
    lab.look().await;
    let load = lab.load();
    lab.manager.suspend(LIMIT).await;
    assert!(load.was_interrupted());
    assert_eq!(lab.ended(), [("1".to_owned(), StopReason::LeaseLost)]);
    lab.manager.wake();
    lab.look().await;
    let load = lab.load();
    assert_eq!((load.version.as_str(), &load.replaces), ("2", &None));
}

#[tokio::test(start_paused = true)]
async fn a_plugin_that_broke_by_itself_is_mended() {
    let mut lab = Lab::running().await;
    lab.host.set_broken();
    lab.look().await;
    lab.look().await;
    assert_eq!(lab.host.mended(), 1);
    assert_eq!(lab.changes(), ["loaded", "mended"]);
    assert_eq!(lab.manager.count(), [1, 0, 0]);
    lab.no_load();
}

#[tokio::test(start_paused = true)]
async fn a_folder_that_cannot_be_read_ends_nothing() {
    let mut lab = Lab::running().await;
    lab.host.set_unreadable(true);
    lab.holds(&[]);
    for _ in 0..20 {
        lab.look().await;
    }
    lab.nothing_leaves();
    assert_eq!(lab.manager.count(), [1, 0, 0]);
    lab.host.set_unreadable(false);
    lab.look().await;
    lab.look().await;
    lab.leave();
}

#[tokio::test(start_paused = true)]
async fn of_two_plugins_with_one_name_neither_is_acted_upon() {
    let mut lab = Lab::running().await;
    lab.holds(&[("echo", 2), ("echo", 3)]);
    for _ in 0..5 {
        lab.look().await;
        lab.no_load();
    }
    lab.nothing_leaves();
    assert_eq!(lab.manager.count(), [1, 0, 1], "what runs goes on");
    lab.holds(&[("echo", 3)]);
    lab.look().await;
    lab.no_load();
    lab.look().await;
    assert_eq!(lab.load().version, "3");
}

#[tokio::test(start_paused = true)]
async fn ids_of_an_earlier_run_are_given_up_once_every_plugin_was_tried() {
    let mut lab = Lab::of(&[("echo", 1), ("late", 1)]);
    lab.host
        .set_claimed(&["echo-001", "echo-002", "gone-001", "late-001"]);
    lab.look().await;
    lab.load().succeeds();
    lab.look().await;
    assert!(
        lab.host.given_up().is_empty(),
        "a plugin is still being loaded"
    );
    // A plugin that could not be loaded keeps its ids.
    lab.load().fails(passing());
    lab.look().await;
    assert_eq!(lab.host.given_up(), ["echo-002", "gone-001"]);
    lab.until_load().await.0.succeeds();
    lab.look().await;
    assert!(lab.host.given_up().is_empty());
}

#[tokio::test(start_paused = true)]
async fn at_the_end_everything_is_stopped_and_leaving_plugins_are_waited_for() {
    let mut lab = Lab::running().await;
    lab.holds(&[("other", 1)]);
    lab.look().await;
    lab.look().await;
    let _leave = lab.leave();
    let load = lab.load();
    let begun = Instant::now();
    lab.manager.stop(StopReason::Drain, LIMIT).await;
    assert!(load.was_interrupted());
    assert!(begun.elapsed() >= LIMIT && begun.elapsed() < LIMIT + SCAN);
}
