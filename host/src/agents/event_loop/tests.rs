//! Tests of the event loop in paused time, with instances in memory.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod memory;

use std::time::Duration;

use super::*;
use memory::{Lab, message, message_until, settled, version, with};

fn done(subject: &str) -> (String, bool) {
    (subject.to_owned(), true)
}

fn failed(subject: &str) -> (String, bool) {
    (subject.to_owned(), false)
}

#[tokio::test(start_paused = true)]
async fn a_message_is_handled_and_its_outcome_is_sent() {
    let mut lab = Lab::of(version(1));
    lab.handle.mailbox.send(message("a"));
    lab.begun().await.done();
    settled().await;
    assert_eq!(lab.sent(), [done("a")]);
    assert_eq!(lab.steps(), ["created", "started", "ready"]);
    assert_eq!(lab.handle.state.status(), AgentStatus::Ready);
}

#[tokio::test(start_paused = true)]
async fn control_comes_before_every_message() {
    // Repeated, because a random order passes now and then by chance.
    for _ in 0..20 {
        let mut lab = Lab::of(version(1));
        for _ in 0..5 {
            lab.handle.mailbox.send(message("mine"));
            lab.handle.plugin_queue.offer(message("anybody's"));
        }
        let first = lab.begun().await;
        lab.handle.control.send(Control::Configured).await.unwrap();
        first.done();
        let second = lab.begun().await;
        assert_eq!(lab.told(), [(1, "configuration".to_owned())]);
        second.done();
    }
}

#[tokio::test(start_paused = true)]
async fn no_inbox_starves() {
    let mut lab = Lab::of(version(1));
    for _ in 0..20 {
        lab.handle.mailbox.send(message("mine"));
        lab.handle.plugin_queue.offer(message("anybody's"));
    }
    let mut mine = 0;
    for _ in 0..20 {
        let running = lab.begun().await;
        mine += usize::from(running.subject == "mine");
        running.done();
    }
    assert!((5..=15).contains(&mine), "{mine} of 20");
}

#[tokio::test(start_paused = true)]
async fn a_pause_lets_the_message_in_hand_finish_and_takes_no_other() {
    let mut lab = Lab::of(version(1));
    lab.handle.mailbox.send(message("first"));
    let first = lab.begun().await;
    lab.handle.mailbox.send(message("second"));
    lab.handle.plugin_queue.offer(message("anybody's"));
    lab.handle.state.pause(true);
    lab.nothing_begins().await;
    first.done();
    lab.nothing_begins().await;
    assert_eq!(lab.sent(), [done("first")]);
    assert_eq!(lab.handle.plugin_queue.taking(), 0);
    assert!(lab.handle.state.pause_in_force());
    lab.handle.state.pause(false);
    lab.begun().await.done();
    lab.begun().await.done();
    assert_eq!(lab.handle.plugin_queue.taking(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_died_is_started_again_after_waits_that_grow() {
    let mut lab = Lab::of(version(1));
    lab.handle.mailbox.send(message("a"));
    let running = lab.begun().await;
    lab.breaks(1);
    running.dies();
    settled().await;
    assert_eq!(lab.sent(), [failed("a")]);
    assert_eq!(lab.handle.state.status(), AgentStatus::Error);
    lab.handle.mailbox.send(message("b"));
    while lab.made(1).len() < 6 {
        lab.nothing_begins().await;
    }
    let waits: Vec<Duration> = lab.made(1).windows(2).map(|two| two[1] - two[0]).collect();
    let mut longest = limits::RESTART_FIRST;
    for wait in &waits {
        // Half of each wait is jitter.
        let allowed = longest / 2..=longest + Duration::from_millis(5);
        assert!(allowed.contains(wait), "{waits:?}");
        longest *= 2;
    }
    lab.mends(1);
    lab.begun().await.done();
    settled().await;
    assert_eq!(lab.sent(), [done("b")]);
    // A success resets the backoff.
    lab.handle.mailbox.send(message("c"));
    let running = lab.begun().await;
    let made = lab.made(1).len();
    running.dies();
    let died = Moment::now();
    while lab.made(1).len() == made {
        settled().await;
    }
    assert!(died.elapsed() <= 2 * limits::RESTART_FIRST);
}

#[tokio::test(start_paused = true)]
async fn a_reload_lets_the_old_instance_finish_its_message() {
    let mut lab = Lab::of(version(1));
    lab.handle.mailbox.send(message("a"));
    lab.handle.mailbox.send(message("b"));
    let first = lab.begun().await;
    let mut replaced = lab.replace(version(2)).await;
    assert!(replaced.try_recv().is_err(), "a message is in hand");
    assert_eq!((first.version, lab.made(2).len()), (1, 0));
    first.done();
    let second = lab.begun().await;
    assert_eq!((second.version, second.subject.as_str()), (2, "b"));
    replaced.await.unwrap().unwrap();
    assert_eq!(lab.told(), [(1, "reload".to_owned())]);
    second.done();
    settled().await;
    assert_eq!(lab.sent(), [done("a"), done("b")]);
}

#[tokio::test(start_paused = true)]
async fn a_version_that_does_not_start_leaves_the_old_one() {
    let mut lab = Lab::of(version(1));
    settled().await;
    lab.breaks(2);
    let replaced = lab.replace(version(2)).await;
    let reason = replaced.await.unwrap().unwrap_err();
    assert!(reason.message.contains("it is broken"), "{reason:?}");
    lab.handle.mailbox.send(message("a"));
    let running = lab.begun().await;
    assert_eq!(running.version, 1);
    assert!(lab.told().is_empty(), "the old instance was not stopped");
    running.done();
}

#[tokio::test(start_paused = true)]
async fn the_output_of_an_agent_that_lost_its_id_goes_nowhere() {
    let mut lab = Lab::of(version(1));
    lab.handle.mailbox.send(message("a"));
    lab.handle.mailbox.send(message("b"));
    let running = lab.begun().await;
    lab.handle.state.fence.revoke();
    running.done();
    lab.nothing_begins().await;
    assert_eq!(lab.sent(), [failed("a")]);
    assert_eq!(lab.handle.plugin_queue.taking(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_overdue_request_is_not_begun() {
    let mut lab = Lab::of(version(1));
    lab.handle.mailbox.send(message("busy"));
    let running = lab.begun().await;
    let late = Some(Instant::now());
    lab.handle.mailbox.send(message_until("late", late));
    let soon = Instant::now() + Duration::from_secs(3600);
    lab.handle
        .mailbox
        .send(message_until("in time", Some(soon)));
    running.done();
    let next = lab.begun().await;
    assert_eq!(next.subject, "in time");
    next.done();
    lab.nothing_begins().await;
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_stops_finishes_what_waits_for_it_alone() {
    let mut lab = Lab::of(version(1));
    lab.handle.mailbox.send(message("a"));
    let running = lab.begun().await;
    lab.handle.mailbox.send(message("b"));
    lab.handle.plugin_queue.offer(message("anybody's"));
    let stopped = lab.stop(StopReason::Shutdown).await;
    running.done();
    let next = lab.begun().await;
    assert_eq!(next.subject, "b");
    next.done();
    stopped.await.unwrap();
    settled().await;
    assert!(lab.is_gone());
    assert_eq!(lab.handle.plugin_queue.waiting(), 1, "others take it");
    assert_eq!(lab.sent(), [done("a"), done("b")]);
    assert_eq!(lab.handle.state.status(), AgentStatus::Stopped);
    assert_eq!(lab.steps().last(), Some(&"stopped"));
}

#[tokio::test(start_paused = true)]
async fn a_plugin_that_ends_finishes_what_waits_for_any_of_its_agents() {
    let mut lab = Lab::of(version(1));
    settled().await;
    lab.handle.state.pause(true);
    settled().await;
    lab.handle.plugin_queue.offer(message("anybody's"));
    lab.handle.mailbox.send(message("mine"));
    lab.handle.state.pause(false);
    let stopped = lab.stop(StopReason::Drain).await;
    for _ in 0..2 {
        lab.begun().await.done();
        settled().await;
    }
    stopped.await.unwrap();
    assert_eq!(lab.sent().len(), 2);
    assert_eq!(lab.handle.plugin_queue.waiting(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_paused_agent_that_stops_says_that_it_will_not() {
    let mut lab = Lab::of(version(1));
    settled().await;
    lab.handle.state.pause(true);
    settled().await;
    lab.handle.mailbox.send(message("mine"));
    lab.stop(StopReason::Shutdown).await.await.unwrap();
    lab.nothing_begins().await;
    assert_eq!(lab.sent(), [failed("mine")]);
}

#[tokio::test(start_paused = true)]
async fn nothing_waiting_is_begun_when_the_lease_is_lost() {
    let mut lab = Lab::of(version(1));
    lab.handle.mailbox.send(message("a"));
    let running = lab.begun().await;
    lab.handle.mailbox.send(message("b"));
    let stopped = lab.stop(StopReason::LeaseLost).await;
    running.done();
    stopped.await.unwrap();
    lab.nothing_begins().await;
    assert_eq!(lab.sent(), [done("a"), failed("b")]);
}

#[tokio::test(start_paused = true)]
async fn each_message_has_an_instance_of_its_own_where_the_manifest_says_so() {
    let revision = with(1, |spec| spec.instance = InstanceMode::Message);
    let mut lab = Lab::of(revision);
    for _ in 0..3 {
        lab.handle.mailbox.send(message("a"));
        lab.begun().await.done();
        settled().await;
    }
    assert_eq!(lab.made(1).len(), 4, "the next one waits already");
    assert_eq!(lab.told().len(), 3, "each was stopped");
    assert_eq!(lab.steps(), ["created", "started", "ready"], "said once");
}
