//! Tests of the limits on concurrent settling, and of waiting for all of it.
use super::*;

#[tokio::test(start_paused = true)]
async fn no_more_messages_are_settled_at_once_than_there_are_places() {
    let bed = Bed::new();
    bed.server.always(Op::Output, LOST);
    let most = u64::try_from(limits::MAX_SETTLING).unwrap();
    for sequence in 1..=most {
        let held = bed.process.begun(sequence, 3).await;
        bed.settle_held(held, done("out")).await;
        if sequence == 1 {
            tokio::time::sleep(SECOND).await;
            assert!(!bed.settler.is_stuck());
        }
    }
    tokio::time::sleep(SECOND).await;
    assert!(bed.settler.is_stuck());
    let held = bed.process.begun(most + 1, 3).await;
    let mut one_more = std::pin::pin!(bed.settle_held(held, done("out")));
    let waited = tokio::time::timeout(60 * SECOND, &mut one_more).await;
    assert!(waited.is_err(), "there is no place for it");
    bed.server.heal();
    one_more.await;
    bed.settler.idle().await;
    assert!(!bed.settler.is_stuck());
    assert_eq!(bed.server.state().outputs.len(), limits::MAX_SETTLING + 1);
}

#[tokio::test(start_paused = true)]
async fn no_more_bytes_of_outputs_are_kept_than_there_is_room_for() {
    let bed = Bed::new();
    bed.server.always(Op::Output, LOST);
    let payload = Bytes::from(vec![0; limits::MAX_KEPT_BYTES / 3 * 2]);
    let large = || {
        Outcome::Done(Some(Reply {
            payload: payload.clone(),
            ..Reply::default()
        }))
    };
    bed.settle(large()).await;
    let held = bed.process.begun(2, 3).await;
    let mut second = std::pin::pin!(bed.settle_held(held, large()));
    let waited = tokio::time::timeout(60 * SECOND, &mut second).await;
    assert!(waited.is_err(), "there is no room for it");
    // Small outputs need no permit.
    let small = bed.process.begun(3, 3).await;
    bed.settle_held(small, done("out")).await;
    bed.server.heal();
    second.await;
    bed.settler.idle().await;
    assert_eq!(bed.server.state().outputs.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn idle_waits_for_what_is_begun_meanwhile_too() {
    let bed = Bed::new();
    bed.server.always(Op::Output, LOST);
    bed.settle(done("out")).await;
    let mut idle = std::pin::pin!(bed.settler.idle());
    let waited = tokio::time::timeout(SECOND, &mut idle).await;
    assert!(waited.is_err());
    let held = bed.process.begun(2, 3).await;
    bed.settle_held(held, done("out")).await;
    bed.server.heal();
    bed.server.next(Op::Ack, Fault::Silence);
    bed.server.next(Op::Ack, Fault::Silence);
    idle.await;
    assert_eq!(bed.server.state().acks.len(), 2);
    assert!(bed.process.ack_progress.is_empty());
}
