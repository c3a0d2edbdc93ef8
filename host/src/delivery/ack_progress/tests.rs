//! Tests of in-progress acks in paused time.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::time::Duration;

use super::super::testing::{Fault, Op, Process, Server, delivery};
use super::*;

#[tokio::test(start_paused = true)]
async fn a_held_message_is_kept_until_it_is_dropped() {
    let server = Server::default();
    let process = Process::start(&server, "host-a");
    let begun = Instant::now();
    let held = process.hold(delivery(1, 1), 3).unwrap();
    tokio::time::sleep(Duration::from_secs(3600)).await;
    let mut before = begun;
    for at in server.asked(Op::Progress) {
        let gap = at - before;
        assert!(gap >= limits::ACK_WAIT / 3, "{gap:?}");
        assert!(gap <= limits::ACK_WAIT / 12 * 5, "{gap:?}");
        before = at;
    }
    assert!(before.elapsed() <= limits::ACK_WAIT / 12 * 5);
    assert!(held.in_progress.is_ours());
    assert_eq!(process.ack_progress.len(), 1);
    drop(held);
    assert!(process.ack_progress.is_empty());
    let sent = server.asked(Op::Progress).len();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(server.asked(Op::Progress).len(), sent);
}

#[tokio::test(start_paused = true)]
async fn an_in_progress_ack_that_was_not_sent_is_sent_at_the_next_look() {
    let server = Server::default();
    let process = Process::start(&server, "host-a");
    server.next(Op::Progress, Fault::Lost(Duration::ZERO));
    let held = process.hold(delivery(1, 1), 3).unwrap();
    tokio::time::sleep(limits::ACK_WAIT / 2).await;
    let asked = server.asked(Op::Progress);
    assert_eq!(asked.len(), 2);
    assert!(asked[1] - asked[0] <= limits::ACK_WAIT / 12 + Duration::from_millis(1));
    assert!(held.in_progress.is_ours());
}

#[tokio::test(start_paused = true)]
async fn a_message_of_which_the_server_hears_nothing_may_be_somebody_elses() {
    let server = Server::default();
    let process = Process::start(&server, "host-a");
    server.always(Op::Progress, Fault::Lost(Duration::ZERO));
    let held = process.hold(delivery(1, 1), 3).unwrap();
    tokio::time::sleep(limits::ACK_WAIT - Duration::from_secs(1)).await;
    assert!(held.in_progress.is_ours());
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(!held.in_progress.is_ours());
    // A redelivery to this host proves that no other host has it.
    assert!(process.hold(delivery(1, 2), 3).is_none());
    assert!(held.in_progress.is_ours());
}

#[tokio::test(start_paused = true)]
async fn a_redelivery_replaces_the_way_to_acknowledge_and_nothing_else() {
    let server = Server::default();
    let process = Process::start(&server, "host-a");
    let held = process.hold(delivery(1, 1), 3).unwrap();
    assert!(held.in_progress.newer().is_none());
    assert!(process.hold(delivery(1, 2), 3).is_none(), "it is in hand");
    assert_eq!(process.ack_progress.len(), 1);
    held.in_progress
        .newer()
        .unwrap()
        .ack_confirmed()
        .await
        .unwrap();
    tokio::time::sleep(limits::ACK_WAIT / 2).await;
    let acks = server.state().acks.clone();
    let ack = |payload: &str| ("1.2".to_owned(), payload.to_owned());
    assert_eq!(acks, [ack("+ACK"), ack("+WPI")]);
    // The same sequence in a recreated stream is another item.
    let mut other = delivery(1, 1);
    other.stored_at_ns += 1;
    assert!(process.hold(other, 3).is_some());
}
