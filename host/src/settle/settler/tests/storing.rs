//! Tests of outputs: stored before the message is acknowledged, with retries without limit.
use super::*;

#[tokio::test(start_paused = true)]
async fn an_output_is_stored_before_the_ack() {
    let bed = Bed::new();
    bed.settle(done("out")).await;
    bed.settler.idle().await;
    assert_eq!(bed.server.done(), [Op::IsCancelled, Op::Output, Op::Ack]);
    assert!(bed.process.ack_progress.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_result_is_recorded_first_and_what_the_message_left_goes_last() {
    let bed = Bed::new();
    let mut held = bed.process.begun(1, 3).await;
    held.idempotence_key = Some("probe.r-1.0".to_owned());
    held.claimed = Some(claimed());
    // Long enough for a record of the open attempt.
    tokio::time::sleep(limits::ATTEMPT_OLD + limits::ATTEMPT_SWEEP).await;
    bed.settle_held(held, done("out")).await;
    bed.settler.idle().await;
    assert_eq!(
        bed.server.done(),
        [
            Op::WriteRecord,
            Op::IsCancelled,
            Op::WriteResult,
            Op::Output,
            Op::Ack,
            Op::Purge,
            Op::Discard
        ]
    );
    let found = bed.settler.guard().find("probe.r-1.0", HOUR).await.unwrap();
    assert_eq!(found.unwrap().reply.payload, "out");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_stored_before_the_result_is_recorded() {
    let bed = Bed::new();
    let mut held = bed.process.begun(1, 3).await;
    held.idempotence_key = Some("probe.r-1.0".to_owned());
    bed.server.always(Op::WriteResult, LOST);
    bed.settle_held(held, done("out")).await;
    tokio::time::sleep(HOUR).await;
    assert!(!bed.server.did(Op::Output));
    bed.server.heal();
    bed.settler.idle().await;
    assert!(bed.server.did(Op::Output) && bed.server.did(Op::Ack));
    // An output that is too large for a recorded result is stored all the same.
    let mut large = bed.process.begun(2, 3).await;
    large.idempotence_key = Some("probe.r-2.0".to_owned());
    bed.server.next(Op::WriteResult, Fault::Refused);
    bed.settle_held(large, done("large")).await;
    bed.settler.idle().await;
    assert_eq!(bed.server.state().outputs.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_output_is_kept_and_tried_again_while_the_server_is_in_trouble() {
    let bed = Bed::new();
    bed.server.always(Op::Output, LOST);
    let begun = tokio::time::Instant::now();
    bed.settle(done("out")).await;
    tokio::time::sleep(HOUR).await;
    bed.assert_kept(begun);
    for op in [Op::Ack, Op::Nak, Op::Term, Op::Letter] {
        assert!(!bed.server.did(op), "{op:?}");
    }
    let asked = bed.server.asked(Op::Output);
    let gaps: Vec<Duration> = asked.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let mut whole = limits::STORE_PAUSE_FIRST;
    let slack = Duration::from_millis(12);
    for gap in &gaps {
        assert!(*gap >= whole / 2 && *gap <= whole + slack, "{gap:?}");
        whole = (whole * 2).min(limits::STORE_PAUSE_MOST);
    }
    let late = &gaps[gaps.len() - 100..];
    let spread = *late.iter().max().unwrap() - *late.iter().min().unwrap();
    assert!(spread > SECOND, "hosts would try in step: {spread:?}");
    bed.server.heal();
    bed.settler.idle().await;
    assert!(
        bed.server
            .done()
            .ends_with(&[Op::Output, Op::Ack, Op::Purge])
    );
    assert_eq!(bed.server.state().writes.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_output_whose_answer_is_lost_is_stored_again_under_the_same_id() {
    let bed = Bed::new();
    for _ in 0..3 {
        bed.server.next(Op::Output, Fault::AnswerLost(SECOND));
    }
    bed.settle(done("out")).await;
    bed.settler.idle().await;
    let state = bed.server.state();
    let write = ("WORK_QUEUE:1:7:result".to_owned(), Bytes::from("out"));
    assert_eq!(state.writes, vec![write; 4]);
    assert_eq!(state.acks, [("1.1".to_owned(), "+ACK".to_owned())]);
}

#[tokio::test(start_paused = true)]
async fn an_output_that_can_never_be_stored_makes_a_dead_letter() {
    let bed = Bed::new();
    bed.server.always(Op::Output, Fault::Refused);
    bed.settle(done("out")).await;
    bed.settler.idle().await;
    assert!(!bed.server.did(Op::Ack));
    assert!(bed.server.did(Op::Term));
    let letters = bed.server.state().letters.clone();
    assert_eq!(letters["WORK_QUEUE:1:7:dlq"], "too-large");
}

#[tokio::test(start_paused = true)]
async fn the_outcome_of_a_cancelled_message_is_not_stored() {
    for outcome in [done("out"), failed(), rejected()] {
        let bed = Bed::new();
        bed.server.state().cancelled = true;
        bed.server.next(Op::IsCancelled, LOST);
        bed.settle(outcome).await;
        bed.settler.idle().await;
        assert_eq!(bed.server.done(), [Op::IsCancelled, Op::Ack]);
    }
}
