//! Tests of the work queue in paused time, with in-memory consumers.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod memory;

use mistersmith_core::limits::{
    DESERTED, MAX_ERROR_CHARS, PULL_RETRY_DELAY, PULLS_FAIL_AFTER, STANDING_POLL,
};
use mistersmith_core::names::Priority;

use super::*;
use crate::agents::Posted;
use memory::{Queue, unavailable};

/// A standing poll: one message, as soon as there is one.
const POLL: (usize, Duration) = (1, STANDING_POLL);

/// A pull for up to `most` messages that the consumer has already.
const fn batch(most: usize) -> (usize, Duration) {
    (most, Duration::ZERO)
}

/// Advances the paused clock.
async fn pass(span: Duration) {
    tokio::time::sleep(span).await;
}

/// Runs everything that is ready to run.
async fn settled() {
    pass(Duration::from_millis(1)).await;
}

#[tokio::test(start_paused = true)]
async fn an_empty_consumer_has_one_poll_standing_that_is_renewed() {
    let mut queue = Queue::of(&[Priority::Normal]);
    let plugin_queue = queue.plugin_queue.clone();
    let _active = plugin_queue.join();
    let _idle = (plugin_queue.wait(), plugin_queue.wait());
    for _ in 0..3 {
        let asked = queue.asked().await;
        assert_eq!(asked.request(), POLL);
        queue.none_for(STANDING_POLL).await;
        drop(asked.started());
    }
}

#[tokio::test(start_paused = true)]
async fn as_much_is_asked_for_as_idle_agents_can_start_and_no_more() {
    let mut queue = Queue::of(&[Priority::Normal]);
    let plugin_queue = queue.plugin_queue.clone();
    let _active = plugin_queue.join();
    let _idle = [
        plugin_queue.wait(),
        plugin_queue.wait(),
        plugin_queue.wait(),
    ];
    queue.has_backlog(100).await;
    let pull = queue.asked().await;
    assert_eq!(pull.request(), batch(3));
    let pull = pull.started();
    queue.none_for(Duration::from_secs(5)).await;
    pull.deliver(99);
    pull.deliver(98);
    pull.deliver(97);
    drop(pull);
    let next = queue.asked().await;
    assert_eq!(next.request(), batch(3), "the agents are as idle as before");
    // Two items wait already, which leaves one agent to request for.
    drop(next.started());
    plugin_queue.offer(Posted::of(1).delivery());
    plugin_queue.offer(Posted::of(1).delivery());
    assert_eq!(
        queue.asked().await.request(),
        POLL,
        "the batch found it empty"
    );
    assert_eq!(queue.received(), 4);
}

#[tokio::test(start_paused = true)]
async fn an_item_that_waits_for_an_agent_is_not_asked_for_again() {
    let mut queue = Queue::of(&[Priority::Normal]);
    let plugin_queue = queue.plugin_queue.clone();
    let _active = plugin_queue.join();
    let first = plugin_queue.wait();
    queue.has_backlog(100).await;
    let busy = queue.asked().await.started();
    plugin_queue.offer(Posted::of(1).delivery());
    busy.deliver(99);
    drop(busy);
    queue.none_for(Duration::from_secs(5)).await;
    let second = plugin_queue.wait();
    assert_eq!(queue.asked().await.request(), batch(1));
    drop((first, second));
}

#[tokio::test(start_paused = true)]
async fn pulls_are_shared_by_priority() {
    let mut queue = Queue::of(&Priority::ALL);
    let plugin_queue = queue.plugin_queue.clone();
    let _active = plugin_queue.join();
    queue.has_backlog(1000).await;
    let _idle: Vec<_> = (0..15).map(|_| plugin_queue.wait()).collect();
    let mut asked = Vec::new();
    for _ in Priority::ALL {
        let pull = queue.asked().await;
        asked.push((pull.consumer.clone(), pull.most));
        pull.started().keep();
    }
    let expected = [("critical", 8), ("high", 4), ("normal", 2), ("low", 1)];
    assert_eq!(asked, expected.map(|(name, most)| (name.to_owned(), most)));
}

#[tokio::test(start_paused = true)]
async fn a_consumer_that_has_waited_long_is_as_urgent_as_a_critical_one() {
    let mut queue = Queue::of(&[Priority::Critical, Priority::Low]);
    let plugin_queue = queue.plugin_queue.clone();
    let _active = plugin_queue.join();
    queue.has_backlog(1000).await;
    pass(schedule::AGEING * 20).await;
    let _idle: Vec<_> = (0..4).map(|_| plugin_queue.wait()).collect();
    for name in ["critical", "low"] {
        let pull = queue.asked().await;
        assert_eq!((pull.consumer.as_str(), pull.most), (name, 2));
        pull.started().keep();
    }
}

#[tokio::test(start_paused = true)]
async fn polls_are_taken_back_when_all_agents_are_paused_and_batches_are_not() {
    let mut queue = Queue::of(&[Priority::High, Priority::Low]);
    let plugin_queue = queue.plugin_queue.clone();
    let active = plugin_queue.join();
    let idle = plugin_queue.wait();
    let high = queue.asked().await.started();
    let poll = queue.asked().await.started();
    high.deliver(7);
    drop(high);
    let pull = queue.asked().await;
    assert_eq!((pull.consumer.as_str(), pull.most), ("high", 1));
    let pull = pull.started();
    drop((active, idle));
    settled().await;
    assert!(poll.was_taken_back());
    assert!(!pull.was_taken_back());
    // Messages that both pulls still deliver are received all the same.
    pull.deliver(6);
    drop((pull, poll));
    queue.none_for(Duration::from_secs(60)).await;
    assert_eq!(queue.received(), 2);
    let _again = (plugin_queue.join(), plugin_queue.wait());
    assert_eq!(queue.asked().await.request(), batch(1));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_pulled_while_the_settler_is_stuck() {
    let mut queue = Queue::of(&[Priority::Normal]);
    let plugin_queue = queue.plugin_queue.clone();
    let _active = plugin_queue.join();
    let _idle = plugin_queue.wait();
    let poll = queue.asked().await.started();
    queue.port.set_stuck(true);
    pass(Duration::from_secs(1)).await;
    settled().await;
    assert!(poll.was_taken_back());
    drop(poll);
    queue.none_for(Duration::from_secs(60)).await;
    queue.port.set_stuck(false);
    assert_eq!(queue.asked().await.request(), POLL);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_pulled_while_the_circuit_is_open() {
    let mut queue = Queue::of(&[Priority::Normal]);
    let plugin_queue = queue.plugin_queue.clone();
    let _active = plugin_queue.join();
    let _idle = plugin_queue.wait();
    let poll = queue.asked().await.started();
    queue.open_circuit();
    settled().await;
    assert!(poll.was_taken_back());
    drop(poll);
    queue.none_for(Duration::from_secs(60)).await;
    plugin_queue.circuit.configure(None);
    assert_eq!(queue.asked().await.request(), POLL);
}

#[tokio::test(start_paused = true)]
async fn a_pull_that_failed_is_repeated_after_a_pause() {
    let mut queue = Queue::of(&[Priority::Normal]);
    let plugin_queue = queue.plugin_queue.clone();
    let _active = plugin_queue.join();
    let _idle = plugin_queue.wait();
    queue.asked().await.fails(unavailable("no leader"));
    pass(PULL_RETRY_DELAY - Duration::from_millis(10)).await;
    drop(plugin_queue.wait());
    settled().await;
    queue.none();
    pass(Duration::from_millis(20)).await;
    drop(plugin_queue.wait());
    assert_eq!(queue.asked().await.request(), POLL);
}

#[tokio::test(start_paused = true)]
async fn the_pause_ends_when_the_connection_was_made_again() {
    let mut queue = Queue::of(&[Priority::Normal]);
    let plugin_queue = queue.plugin_queue.clone();
    let _active = plugin_queue.join();
    let _idle = plugin_queue.wait();
    let poll = queue.asked().await;
    assert_eq!(queue.port.cleared(), 1, "before the first pull");
    poll.fails(unavailable("the connection broke"));
    settled().await;
    let failed = Instant::now();
    queue.port.revive();
    let poll = queue.asked().await;
    assert!(failed.elapsed() < PULL_RETRY_DELAY / 2);
    assert_eq!(
        queue.port.cleared(),
        2,
        "what broke it may be in the consumer"
    );
    // A revival explains one error, and not the next.
    poll.fails(unavailable("no leader"));
    settled().await;
    queue.none();
}

#[tokio::test(start_paused = true)]
async fn pulls_that_keep_failing_are_reported_until_one_succeeds() {
    let mut queue = Queue::of(&[Priority::Normal]);
    let plugin_queue = queue.plugin_queue.clone();
    let _active = plugin_queue.join();
    let _idle = plugin_queue.wait();
    let long = "x".repeat(2 * MAX_ERROR_CHARS);
    let began = Instant::now();
    while plugin_queue.failing_pulls.list().is_empty() {
        assert!(began.elapsed() < 2 * PULLS_FAIL_AFTER);
        queue.asked().await.fails(unavailable(&long));
        settled().await;
    }
    assert!(began.elapsed() >= PULLS_FAIL_AFTER);
    let said = plugin_queue.failing_pulls.list().remove("normal").unwrap();
    assert_eq!(said.chars().count(), MAX_ERROR_CHARS);
    drop(queue.asked().await.started());
    settled().await;
    assert!(plugin_queue.failing_pulls.list().is_empty());
}

#[tokio::test(start_paused = true)]
async fn at_the_end_everything_that_was_pulled_is_taken_in() {
    let mut queue = Queue::of(&[Priority::High, Priority::Low]);
    let plugin_queue = queue.plugin_queue.clone();
    let _active = plugin_queue.join();
    let _idle = (plugin_queue.wait(), plugin_queue.wait());
    let first = queue.asked().await.started();
    let second = queue.asked().await.started();
    queue.port.hold_arriving();
    first.deliver(5);
    settled().await;
    queue.stop.cancel();
    settled().await;
    assert!(first.was_taken_back() && second.was_taken_back());
    assert!(!queue.is_done(), "a message may be on its way");
    assert!(plugin_queue.expects_work());
    first.deliver(4);
    second.deliver(3);
    settled().await;
    assert_eq!(queue.received(), 3);
    assert!(!queue.port.stopped_receiving());
    drop((first, second));
    settled().await;
    assert!(
        queue.port.stopped_receiving(),
        "payloads are not waited for"
    );
    assert!(queue.is_done());
    assert!(!plugin_queue.expects_work());
    queue.none();
}

#[tokio::test(start_paused = true)]
async fn items_go_back_when_no_agent_takes_any_for_long() {
    let mut queue = Queue::of(&[Priority::Normal]);
    let plugin_queue = queue.plugin_queue.clone();
    plugin_queue.offer(Posted::of(1).delivery());
    pass(DESERTED - Duration::from_millis(10)).await;
    assert_eq!(queue.port.given_back(), 0);
    // A joining agent restarts the timer.
    let active = plugin_queue.join();
    pass(Duration::from_secs(1)).await;
    drop(active);
    pass(DESERTED - Duration::from_millis(10)).await;
    assert_eq!(queue.port.given_back(), 0);
    pass(Duration::from_secs(2)).await;
    assert_eq!(queue.port.given_back(), 1);
    pass(DESERTED * 3).await;
    assert_eq!(queue.port.given_back(), 1, "nothing waits any more");
    queue.none();
}
