//! Subscriptions for a reader that takes every message at once: bounded in bytes, not in messages.

use bytes::Bytes;

use crate::testing::{Connect as _, TestServer, by, until};
use crate::{Connection, Headers, Message, Role, Transport};
use mistersmith_core::byte_budget::ByteBudget;
use mistersmith_core::limits::COPIED_BEHIND;

use super::SECOND;

/// More than any of the queues on the way ever had room for that counted messages.
const BURST: u64 = 100_000;
const MIB: usize = 1024 * 1024;

/// Publishes so many messages, and returns when the reader's connection has got them all.
async fn send(transport: &Transport, subject: &str, messages: u64, payload: &Bytes) {
    let sender = transport.connection(Role::Control);
    for _ in 0..messages {
        let sent = sender.publish(subject, None, Headers::new(), payload.clone());
        sent.await.unwrap();
    }
    sender.round_trip(30 * SECOND).await.unwrap();
    let reader = transport.connection(Role::Bulk);
    reader.round_trip(30 * SECOND).await.unwrap();
}

async fn ready(connection: &Connection) {
    connection.round_trip(SECOND).await.unwrap();
}

#[tokio::test]
async fn a_burst_of_small_messages_arrives_whole_although_nobody_reads() {
    let server = TestServer::start().await;
    let transport = server.connect().await;
    let connection = transport.connection(Role::Bulk);
    let budget = ByteBudget::new(64 * MIB);
    let mut intake = connection
        .subscribe_inline("burst", None, &budget)
        .await
        .unwrap();
    ready(connection).await;
    let payload = Bytes::from_static(&[b'x'; 64]);
    // The reader waits for something else all the time.
    intake
        .during(send(&transport, "burst", BURST, &payload))
        .await;
    for number in 0..BURST {
        let message = intake.next().await.unwrap();
        assert_eq!(message.payload, payload, "{number}");
    }
    assert_eq!((intake.dropped(), budget.used()), (0, 0));
    assert_eq!(connection.overflowed(), 0);
    assert!(intake.try_next().is_none());
}

#[tokio::test]
async fn what_is_beyond_the_bytes_is_dropped_and_counted_however_long_the_reader_waits() {
    const SENT: u64 = 800;
    let server = TestServer::start().await;
    let transport = server.connect().await;
    let connection = transport.connection(Role::Bulk);
    let budget = ByteBudget::new(4 * MIB);
    let mut intake = connection
        .subscribe_inline("flood", None, &budget)
        .await
        .unwrap();
    ready(connection).await;
    let payload = Bytes::from(vec![b'x'; 64 * 1024]);
    let first = transport.connection(Role::Control);
    first
        .publish("flood", None, Headers::new(), payload.clone())
        .await
        .unwrap();
    // Nothing is moved before the reader reads for the first time.
    let taken = intake.next().await.unwrap();
    intake
        .during(send(&transport, "flood", SENT, &payload))
        .await;
    let most = 4 * MIB + 32 * MIB;
    let one = taken.waiting_bytes();
    let held = most / one;
    let beyond = SENT - held as u64;
    // The last ones may still be on their way.
    let arrived = async {
        while intake.dropped() < beyond {
            intake.during(tokio::task::yield_now()).await;
        }
    };
    by("what is beyond the bytes", arrived).await;
    assert_eq!(intake.dropped(), beyond);
    assert!(budget.used() <= most, "{}", budget.used());
    assert!(budget.used() > most - 2 * one, "{}", budget.used());
    for _ in 0..held {
        intake.next().await.unwrap();
    }
    assert!(intake.try_next().is_none());
    assert_eq!(budget.used(), 0);
}

#[tokio::test]
async fn a_reader_that_ends_gives_back_what_waited_for_it() {
    let server = TestServer::start().await;
    let transport = server.connect().await;
    let connection = transport.connection(Role::Bulk);
    let budget = ByteBudget::new(4 * MIB);
    let mut intake = connection
        .subscribe_inline("burst", None, &budget)
        .await
        .unwrap();
    ready(connection).await;
    let payload = Bytes::from_static(&[b'x'; 64]);
    // The reader takes them while it waits for something else, not after that.
    let waiting = async {
        send(&transport, "burst", 100, &payload).await;
        until("they wait", || budget.used() > 0).await;
    };
    intake.during(waiting).await;
    drop(intake);
    assert_eq!(budget.used(), 0);
}

#[test]
fn a_message_behind_many_others_does_not_hold_what_was_read_with_it() {
    let read = Bytes::from(vec![b'x'; 64 * 1024]);
    let message = |payload: Bytes| async_nats::Message {
        subject: "a".into(),
        reply: None,
        payload,
        headers: None,
        status: None,
        description: None,
        length: 0,
    };
    let part = read.slice(100..164);
    let shared = Message::received_behind(message(part.clone()), COPIED_BEHIND);
    assert_eq!(shared.payload.as_ptr(), part.as_ptr());
    let copied = Message::received_behind(message(part.clone()), COPIED_BEHIND + 1);
    assert_ne!(copied.payload.as_ptr(), part.as_ptr());
    assert_eq!(copied.payload, part);
}
