//! Tests of failed attempts: recorded before the message is given back, dead-lettered before it is
//! removed.
use super::*;
use crate::delivery::attempts::Admission;

#[tokio::test(start_paused = true)]
async fn a_failed_attempt_is_recorded_before_the_message_is_given_back_with_the_rules_delay() {
    let bed = Bed::new();
    bed.settle(failed()).await;
    bed.settler.idle().await;
    let once = [Op::IsCancelled, Op::WriteRecord, Op::Nak];
    assert_eq!(bed.server.done(), once);
    let held = bed.begun_again(2).await;
    bed.settle_held(held, failed()).await;
    bed.settler.idle().await;
    assert_eq!(bed.server.naks(), [SECOND, 5 * SECOND]);
    let held = bed.begun_again(3).await;
    bed.settle_held(held, failed()).await;
    bed.settler.idle().await;
    assert_eq!(
        bed.server.done()[once.len() * 2 + 2..],
        [
            Op::IsCancelled,
            Op::Letter,
            Op::Report,
            Op::Term,
            Op::Audit,
            Op::Purge
        ]
    );
    assert_eq!(bed.server.naks().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_handlers_own_delay_counts() {
    let bed = Bed::new();
    let failure = Failure::Retry {
        message: "later".to_owned(),
        delay: Some(60 * SECOND),
    };
    bed.settle(Outcome::Failed(failure)).await;
    bed.settler.idle().await;
    assert_eq!(bed.server.naks(), [60 * SECOND]);
}

#[tokio::test(start_paused = true)]
async fn a_message_is_not_given_back_while_its_failure_is_not_recorded() {
    let bed = Bed::new();
    bed.server.always(Op::WriteRecord, LOST);
    let begun = tokio::time::Instant::now();
    bed.settle(failed()).await;
    tokio::time::sleep(HOUR).await;
    bed.assert_kept(begun);
    assert!(!bed.server.did(Op::Nak));
    bed.server.heal();
    bed.settler.idle().await;
    assert_eq!(bed.server.naks(), [SECOND]);
    let record = bed.server.record(1);
    assert!(record.contains("\"begun\":1"), "{record}");
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_is_stored_and_reported_before_the_message_is_removed() {
    let bed = Bed::new();
    bed.server.next(Op::Letter, Fault::AnswerLost(SECOND));
    bed.server.next(Op::Report, LOST);
    bed.settle(rejected()).await;
    bed.settler.idle().await;
    assert_eq!(
        bed.server.done(),
        [
            Op::IsCancelled,
            // It has attempts left: sealed, so that it does not begin beside its letter.
            Op::WriteRecord,
            Op::Letter,
            Op::Letter,
            Op::Letter,
            Op::Report,
            Op::Term,
            Op::Audit,
            Op::Purge
        ]
    );
    assert_eq!(bed.server.state().letters.len(), 1);
    assert!(bed.process.ack_progress.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_message_whose_letter_cannot_be_stored_is_sealed_and_given_back() {
    for fault in [LOST, Fault::Refused] {
        let bed = Bed::new();
        bed.server.always(Op::Letter, fault);
        let begun = tokio::time::Instant::now();
        bed.settle(rejected()).await;
        bed.settler.idle().await;
        let patient = begun.elapsed() >= limits::LETTER_PATIENCE;
        assert_eq!(patient, fault == LOST, "{fault:?}");
        assert!(bed.server.done().ends_with(&[Op::WriteRecord, Op::Nak]));
        assert!(!bed.server.did(Op::Term) && !bed.server.did(Op::Report));
        assert_eq!(bed.server.naks(), [limits::STORE_RETRY_DELAY]);
        refused_and_buried(&bed).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_whose_removal_is_not_confirmed_is_not_begun_again() {
    let bed = Bed::new();
    bed.server.always(Op::Term, LOST);
    bed.settle(rejected()).await;
    bed.settler.idle().await;
    assert!(bed.server.did(Op::Letter));
    assert!(!bed.server.did(Op::Purge) && !bed.server.did(Op::Nak));
    refused_and_buried(&bed).await;
    assert_eq!(bed.server.state().letters.len(), 1);
}

/// Asserts that a redelivery of item 1 is refused with the handler's reason.
async fn refused_and_buried(bed: &Bed) {
    bed.server.heal();
    let mut held = bed.process.hold(delivery(1, 2), 3).unwrap();
    let arrived = tokio::time::Instant::now().into_std();
    let attempts = &bed.process.attempts;
    let admission = attempts.admit(held.counted(), arrived).await;
    let Admission::Refused(reason) = admission else {
        panic!("{admission:?}");
    };
    assert_eq!(reason.kind, ReasonKind::Rejected);
    bed.settler.dead_letter(call(), held, reason).await;
    bed.settler.idle().await;
    let done = bed.server.done();
    let last = [Op::Letter, Op::Report, Op::Term, Op::Audit, Op::Purge];
    assert!(done.ends_with(&last), "{done:?}");
}

#[tokio::test(start_paused = true)]
async fn a_refused_message_makes_a_dead_letter_without_an_attempt() {
    let bed = Bed::new();
    let held = bed.process.hold(delivery(1, 1), 3).unwrap();
    let reason = Reason::new(ReasonKind::Schema, "not what it should be");
    bed.settler.dead_letter(call(), held, reason).await;
    bed.settler.idle().await;
    let expected = [Op::Letter, Op::Report, Op::Term, Op::Audit];
    assert_eq!(bed.server.done(), expected);
}
