//! Acknowledging deliveries, and giving them back.

use std::time::Duration;

use serde_json::{Value, json};

use super::pull::{left_in, take, work, work_on};
use super::{SECOND, payload};
use crate::testing::{Connect as _, DEADLINE, TestServer, by};
use crate::{Headers, Role, TransportError};

#[tokio::test]
async fn a_nak_gives_back_after_its_delay_and_a_term_ends() {
    let server = TestServer::start().await;
    let transport = server.connect().await;
    let connection = transport.connection(Role::Work);
    work(connection, 2, 10 * DEADLINE).await;
    let puller = connection.puller("W", "c");
    let mut pull = puller.pull(2, 5 * SECOND).await.unwrap();
    let (late, soon) = (take(&mut pull).await, take(&mut pull).await);
    late.acker.nak(5 * DEADLINE).await.unwrap();
    soon.acker.nak(Duration::ZERO).await.unwrap();
    let mut pull = puller.pull(2, 20 * SECOND).await.unwrap();
    let again = take(&mut pull).await;
    assert_eq!(again.info.stream_sequence, soon.info.stream_sequence);
    assert_eq!(again.info.deliveries, 2);
    assert_eq!(
        again.info.output_id("result"),
        soon.info.output_id("result")
    );
    // The other one waits for its delay.
    drop(pull);
    let mut pull = puller.pull(2, Duration::ZERO).await.unwrap();
    assert!(pull.next().await.is_none());
    again.acker.term_confirmed().await.unwrap();
    assert_eq!(left_in(connection, "W").await, 1);
}

#[tokio::test]
async fn progress_begins_the_ack_wait_again() {
    let server = TestServer::start().await;
    let transport = server.connect().await;
    let connection = transport.connection(Role::Work);
    work(connection, 2, SECOND).await;
    let puller = connection.puller("W", "c");
    let mut pull = puller.pull(2, 5 * SECOND).await.unwrap();
    let (held, other) = (take(&mut pull).await, take(&mut pull).await);
    // The ack wait is over when the other one, of which nothing is said, comes again.
    let came_again = async {
        for number in 2..4 {
            let mut pull = puller.pull(1, 20 * SECOND).await.unwrap();
            let again = take(&mut pull).await;
            assert_eq!(again.info.stream_sequence, other.info.stream_sequence);
            assert_eq!(again.info.deliveries, number);
        }
    };
    let in_progress = async {
        let mut often = tokio::time::interval(SECOND / 20);
        loop {
            often.tick().await;
            held.acker.progress().await.unwrap();
        }
    };
    tokio::select! {
        () = by("the ack wait", came_again) => {}
        () = in_progress => {}
    }
    held.acker.ack_confirmed().await.unwrap();
    assert_eq!(left_in(connection, "W").await, 1);
}

#[tokio::test]
async fn a_confirmed_ack_is_an_error_when_nobody_confirms() {
    let server = TestServer::start().await;
    let transport = server.connect().await;
    let connection = transport.connection(Role::Work);
    work(connection, 1, 30 * SECOND).await;
    let delivered = take(&mut connection.puller("W", "c").pull(1, SECOND).await.unwrap()).await;
    connection
        .call::<Value>("STREAM.DELETE.W", &json!(null))
        .await
        .unwrap();
    let confirmed = delivered.acker.ack_confirmed().await;
    assert!(
        matches!(confirmed, Err(TransportError::Unavailable(_))),
        "{confirmed:?}"
    );
}

#[tokio::test]
async fn a_dropped_pull_gives_back_what_it_did_not_hand_out() {
    let server = TestServer::start().await;
    let transport = server.connect().await;
    let connection = transport.connection(Role::Work);
    // Longer than this test waits for anything.
    work(connection, 10, 10 * DEADLINE).await;
    let puller = connection.puller("W", "c");
    let mut pull = puller.pull(10, 20 * SECOND).await.unwrap();
    take(&mut pull).await.acker.ack_confirmed().await.unwrap();
    drop(pull);
    let again = async {
        let mut again = 0;
        while again < 9 {
            let mut pull = puller.pull(9 - again, 20 * SECOND).await.unwrap();
            while let Some(delivered) = pull.next().await {
                delivered.unwrap().acker.ack_confirmed().await.unwrap();
                again += 1;
            }
        }
    };
    by("what was given back", again).await;
    assert_eq!(left_in(connection, "W").await, 0);
}

#[tokio::test]
async fn what_is_on_its_way_to_a_pull_that_is_taken_back_is_not_lost() {
    let server = TestServer::start().await;
    let (ours, others) = (server.connect().await, server.connect().await);
    let connection = ours.connection(Role::Work);
    work(connection, 0, 30 * SECOND).await;
    let puller = connection.puller("W", "c");
    for n in 0..300_u64 {
        let mut pull = puller.pull(1, 20 * SECOND).await.unwrap();
        let publish = async {
            let connection = others.connection(Role::Work);
            let stored = connection.publish_stored("w.a", Headers::new(), payload("x"), SECOND);
            stored.await.unwrap();
        };
        let taken_back = async {
            // Earlier and later than the message, which takes about as long.
            tokio::time::sleep(Duration::from_micros(n % 30 * 50)).await;
            pull.stop().await;
            pull.next().await
        };
        let (came, ()) = tokio::join!(taken_back, publish);
        let delivered = match came {
            Some(delivered) => delivered.unwrap(),
            None => take(&mut puller.pull(1, 5 * SECOND).await.unwrap()).await,
        };
        assert_eq!(delivered.info.stream_sequence, n + 1);
        // A busy server may have sent it while the pull still waited and find nobody when it
        // arrives. It sees that, and delivers again at once; what is lost here comes after the ack
        // wait of 30 s.
        assert!(delivered.info.deliveries <= 2, "number {n}");
        delivered.acker.ack_confirmed().await.unwrap();
    }
}

#[tokio::test]
async fn a_pull_that_was_taken_back_does_not_swallow_what_is_delivered_again() {
    let server = TestServer::start().await;
    let transport = server.connect().await;
    let connection = transport.connection(Role::Work);
    work_on(connection, &["w.a", "w.b"], 10 * DEADLINE).await;
    let (puller, clock) = (connection.puller("W", "c0"), connection.puller("W", "c1"));
    let first = take(&mut puller.pull(1, 5 * SECOND).await.unwrap()).await;
    let mut tick = take(&mut clock.pull(1, 5 * SECOND).await.unwrap()).await;
    let mut standing = puller.pull(1, 20 * SECOND).await.unwrap();
    standing.stop().await;
    assert!(standing.next().await.is_none());
    let delay = Duration::from_millis(50);
    first.acker.nak(delay).await.unwrap();
    // The server finds nobody who wants the message at that moment, which is over when what was
    // given back to another consumer with the same delay, and after it, has come twice.
    for _ in 0..2 {
        tick.acker.nak(delay).await.unwrap();
        tick = take(&mut clock.pull(1, 5 * SECOND).await.unwrap()).await;
    }
    let again = take(&mut puller.pull(1, 5 * SECOND).await.unwrap()).await;
    assert_eq!(again.info.deliveries, 2);
    again.acker.ack_confirmed().await.unwrap();
}
