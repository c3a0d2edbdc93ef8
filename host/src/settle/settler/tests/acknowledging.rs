//! Tests of acks with lost answers, of redelivery, and of agents that lost their id.
use super::*;
use mistersmith_runtime::{Fence, LeaseTerm};

#[tokio::test(start_paused = true)]
async fn an_ack_whose_answer_is_lost_is_asked_for_again() {
    let bed = Bed::new();
    bed.server.next(Op::Ack, Fault::AnswerLost(2 * SECOND));
    bed.server.next(Op::Ack, Fault::Silence);
    bed.settle(done("out")).await;
    bed.settler.idle().await;
    let expected = [Op::IsCancelled, Op::Output, Op::Ack, Op::Ack];
    assert_eq!(bed.server.done(), expected);
    assert_eq!(bed.server.asked(Op::Ack).len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_message_whose_ack_is_never_confirmed_is_let_go_of_and_not_handed_back() {
    let bed = Bed::new();
    let mut held = bed.process.begun(1, 3).await;
    held.claimed = Some(claimed());
    bed.server.always(Op::Ack, Fault::Silence);
    let begun = tokio::time::Instant::now();
    bed.settle_held(held, done("out")).await;
    tokio::time::sleep(limits::ACK_PATIENCE).await;
    bed.assert_kept(begun);
    assert_eq!(
        bed.process.ack_progress.len(),
        1,
        "not handled again meanwhile"
    );
    bed.settler.idle().await;
    assert!(begun.elapsed() < limits::ACK_PATIENCE * 2);
    assert!(bed.process.ack_progress.is_empty());
    for op in [Op::Nak, Op::Term, Op::Discard, Op::Purge] {
        assert!(!bed.server.did(op), "{op:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_redelivery_while_it_is_in_hand_is_acknowledged_and_does_not_run() {
    let bed = Bed::new();
    bed.server.always(Op::Output, LOST);
    bed.settle(done("out")).await;
    tokio::time::sleep(SECOND).await;
    assert!(bed.process.hold(delivery(1, 2), 3).is_none());
    bed.server.heal();
    bed.settler.idle().await;
    let acks = bed.server.state().acks.clone();
    assert_eq!(acks, [("1.2".to_owned(), "+ACK".to_owned())]);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_somebody_else_may_have_is_not_handed_back() {
    let bed = Bed::new();
    bed.server.always(Op::Progress, LOST);
    let lost = bed.process.hold(delivery(1, 1), 3).unwrap();
    tokio::time::sleep(limits::ACK_WAIT).await;
    bed.settler.give_back(lost).await;
    let ours = bed.process.hold(delivery(2, 1), 3).unwrap();
    bed.settler.give_back(ours).await;
    bed.settler.idle().await;
    assert!(bed.process.ack_progress.is_empty());
    assert_eq!(bed.server.naks(), [limits::GIVE_BACK_DELAY]);
    assert_eq!(bed.server.state().acks[0].0, "2.1");
}

#[tokio::test(start_paused = true)]
async fn what_a_fenced_agent_did_is_neither_stored_nor_handed_back() {
    for outcome in [done("out"), failed(), rejected()] {
        let bed = Bed::new();
        let mut held = bed.process.begun(1, 3).await;
        let fence = Fence::new(LeaseTerm::unlimited(), bed.process.agent.clone());
        held.fence = Some(fence.clone());
        fence.revoke();
        bed.settle_held(held, outcome).await;
        bed.settler.idle().await;
        tokio::time::sleep(SECOND).await;
        // Only the beginning of the attempt is recorded.
        assert_eq!(bed.server.done(), [Op::WriteRecord]);
        assert!(bed.server.record(1).contains("cut-off"));
        assert!(bed.process.ack_progress.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_fence_that_closes_meanwhile_ends_the_settling() {
    let bed = Bed::new();
    let mut held = bed.process.begun(1, 3).await;
    let fence = Fence::new(LeaseTerm::unlimited(), bed.process.agent.clone());
    held.fence = Some(fence.clone());
    bed.server.always(Op::Output, LOST);
    bed.settle_held(held, done("out")).await;
    tokio::time::sleep(60 * SECOND).await;
    fence.revoke();
    bed.settler.idle().await;
    bed.server.heal();
    tokio::time::sleep(60 * SECOND).await;
    for op in [Op::Output, Op::Ack, Op::Nak] {
        assert!(!bed.server.did(op), "{op:?}");
    }
    assert!(bed.server.record(1).contains("cut-off"));
}

#[tokio::test(start_paused = true)]
async fn a_message_without_work_is_only_acknowledged() {
    let bed = Bed::new();
    let held = bed.process.hold(delivery(1, 1), 3).unwrap();
    bed.settler.drop_handled(held).await;
    bed.settler.idle().await;
    assert_eq!(bed.server.done(), [Op::Ack]);
}
