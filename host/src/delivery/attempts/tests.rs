//! Tests of attempts in paused time, with failing writes and dying processes.
#![allow(clippy::unwrap_used, clippy::panic)]

use super::super::testing::{Fault, Op, Process, Server, delivery};
use super::super::{HeldMessage, ReasonKind};
use super::*;

const SECOND: Duration = Duration::from_secs(1);
const LOST: Fault = Fault::Lost(Duration::from_millis(10));

fn process(server: &Server) -> Process {
    Process::start(server, "host-a")
}

async fn admit(process: &Process, held: &mut HeldMessage) -> Admission {
    let arrived = Instant::now().into_std();
    process.attempts.admit(held.counted(), arrived).await
}

/// A later delivery of item 1, and its admission.
async fn again(process: &Process, deliveries: u64, most: u32) -> (Box<HeldMessage>, Admission) {
    let mut held = process.hold(delivery(1, deliveries), most).unwrap();
    let admission = admit(process, &mut held).await;
    (held, admission)
}

fn failure() -> Reason {
    Reason::new(ReasonKind::Failed, "no luck")
}

#[tokio::test(start_paused = true)]
async fn a_first_attempt_that_ends_soon_costs_no_call() {
    let server = Server::default();
    let process = process(&server);
    let mut held = process.hold(delivery(1, 1), 3).unwrap();
    let admission = admit(&process, &mut held).await;
    assert!(matches!(admission, Admission::Granted));
    process.begin(&mut held).await.unwrap();
    assert_eq!((held.tries.begun(), held.retries()), (1, 1));
    process.attempts.done(held.counted()).await;
    drop(held);
    tokio::time::sleep(60 * SECOND).await;
    for op in [
        Op::ReadRecord,
        Op::ReadRegisters,
        Op::WriteRecord,
        Op::WriteRegister,
        Op::Purge,
    ] {
        assert_eq!(server.asked(op), [], "{op:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_takes_longer_is_in_the_register_and_then_in_the_record() {
    let server = Server::default();
    let process = process(&server);
    let mut held = process.begun(1, 3).await;
    tokio::time::sleep(limits::ATTEMPT_DELAY * 3).await;
    assert!(server.registers().concat().contains("WORK_QUEUE.1.7"));
    assert_eq!(server.record(1), "");
    tokio::time::sleep(limits::ATTEMPT_OLD + limits::ATTEMPT_SWEEP).await;
    assert!(server.record(1).contains("\"begun\":1"));
    process.attempts.done(held.counted()).await;
    assert_eq!(server.record(1), "", "its item is done with");
}

#[tokio::test(start_paused = true)]
async fn what_may_be_the_last_attempt_is_stored_before_it_begins() {
    let server = Server::default();
    let process = process(&server);
    for _ in 0..4 {
        server.next(Op::WriteRegister, LOST);
    }
    let begun = Instant::now();
    let held = process.begun(1, 1).await;
    assert!(begun.elapsed() >= limits::ATTEMPT_RETRY * 4, "not stored");
    assert!(server.registers().concat().contains("WORK_QUEUE.1.7"));
    drop(held);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_cannot_be_stored_is_not_begun() {
    let server = Server::default();
    let process = process(&server);
    for fault in [Fault::Silence, LOST] {
        server.always(Op::WriteRegister, fault);
        let mut held = process.hold(delivery(1, 1), 1).unwrap();
        let begun = Instant::now();
        let error = process.begin(&mut held).await.unwrap_err();
        assert!(matches!(error, TransportError::Timeout), "{error}");
        assert_eq!(begun.elapsed(), limits::ATTEMPT_WAIT);
        assert_eq!(held.tries.begun(), 0);
        drop(held);
        server.heal();
        // A call without an answer blocks the register.
        if fault == Fault::Silence {
            return;
        }
        tokio::time::sleep(SECOND).await;
        assert!(!server.registers().concat().contains("WORK_QUEUE.1.7"));
        assert_eq!(server.record(1), "");
    }
}

#[tokio::test(start_paused = true)]
async fn an_attempt_whose_agent_is_ended_counts() {
    let server = Server::default();
    let process = process(&server);
    server.always(Op::WriteRecord, LOST);
    drop(process.begun(1, 3).await);
    tokio::time::sleep(60 * SECOND).await;
    assert_eq!(server.record(1), "");
    assert!(
        server.registers().concat().contains("WORK_QUEUE.1.7"),
        "the register says so while the record cannot be written"
    );
    server.heal();
    tokio::time::sleep(limits::ATTEMPT_SWEEP + SECOND).await;
    assert!(server.record(1).contains("cut-off"));
    let (held, admission) = again(&process, 2, 3).await;
    assert!(matches!(admission, Admission::Granted));
    assert_eq!(held.tries.begun(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_failed_attempt_is_recorded_once_whatever_answers_get_lost() {
    let server = Server::default();
    let process = process(&server);
    let mut held = process.begun(1, 3).await;
    server.next(Op::WriteRecord, Fault::AnswerLost(SECOND));
    let failed = process.attempts.failed(held.counted(), &failure()).await;
    assert!(failed.is_err());
    assert!(held.tries.running().is_some(), "it is not ended yet");
    let failed = process.attempts.failed(held.counted(), &failure()).await;
    failed.unwrap();
    assert_eq!(held.tries.begun(), 1);
    drop(held);
    tokio::time::sleep(60 * SECOND).await;
    let record = server.record(1);
    assert!(record.contains("\"begun\":1"), "{record}");
    assert!(record.contains("no luck") && !record.contains("cut-off"));
}

#[tokio::test(start_paused = true)]
async fn an_item_that_was_begun_as_often_as_allowed_is_refused() {
    let server = Server::default();
    let process = process(&server);
    let mut held = process.begun(1, 2).await;
    let failed = process.attempts.failed(held.counted(), &failure()).await;
    failed.unwrap();
    drop(held);
    let (mut held, admission) = again(&process, 2, 2).await;
    assert!(matches!(admission, Admission::Granted));
    process.begin(&mut held).await.unwrap();
    drop(held);
    tokio::time::sleep(SECOND).await;
    let (held, admission) = again(&process, 3, 2).await;
    let Admission::Refused(reason) = admission else {
        panic!("{admission:?}");
    };
    assert_eq!(reason.kind, ReasonKind::MaxDeliver);
    assert_eq!(held.tries.begun(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_item_that_failed_for_good_is_refused_for_the_same_reason() {
    let server = Server::default();
    let process = process(&server);
    let mut held = process.begun(1, 5).await;
    let sealed = process.attempts.seal(held.counted(), &failure()).await;
    sealed.unwrap();
    drop(held);
    let (_held, admission) = again(&process, 2, 5).await;
    let Admission::Refused(reason) = admission else {
        panic!("{admission:?}");
    };
    assert_eq!(reason, failure());
}

#[tokio::test(start_paused = true)]
async fn another_host_that_may_still_be_at_it_has_one_more_chance() {
    let server = Server::default();
    let gone = Process::start(&server, "host-b");
    let held = gone.begun(1, 1).await;
    gone.client.die();
    let here = process(&server);
    let (later, admission) = again(&here, 2, 1).await;
    assert!(matches!(admission, Admission::Later(at) if at == limits::ATTEMPT_GRACE));
    drop(later);
    let (_refused, admission) = again(&here, 3, 1).await;
    assert!(matches!(admission, Admission::Refused(_)), "{admission:?}");
    drop(held);
}

#[tokio::test(start_paused = true)]
async fn the_registers_of_a_process_that_died_are_looked_through_once_for_all() {
    let server = Server::default();
    let gone = Process::start(&server, "host-a");
    let (_one, _two) = (gone.begun(1, 3).await, gone.begun(2, 3).await);
    tokio::time::sleep(SECOND).await;
    gone.client.die();
    let here = process(&server);
    let mut all = [1, 2, 3].map(|sequence| here.hold(delivery(sequence, 2), 3).unwrap());
    let [one, two, three] = &mut all;
    tokio::join!(admit(&here, one), admit(&here, two), admit(&here, three));
    let begun = all.each_ref().map(|held| held.tries.begun());
    assert_eq!(begun, [1, 1, 0], "a delivery without an attempt was none");
    assert_eq!(server.asked(Op::ReadRegisters).len(), 1);
    // A record that explains all deliveries suffices.
    let [one, ..] = &mut all;
    let failed = here.attempts.failed(one.counted(), &failure()).await;
    failed.unwrap();
    drop(all);
    let (_held, admission) = again(&here, 2, 3).await;
    assert!(matches!(admission, Admission::Granted));
    assert_eq!(server.asked(Op::ReadRegisters).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_item_of_which_nothing_can_be_read_comes_again() {
    let server = Server::default();
    let process = process(&server);
    for op in [Op::ReadRecord, Op::ReadRegisters] {
        server.always(op, LOST);
        let (held, admission) = again(&process, 2, 3).await;
        assert!(matches!(admission, Admission::Later(at) if at == limits::STORE_RETRY_DELAY));
        assert!(server.asked(op).len() > 10, "{op:?} is tried again");
        drop(held);
        server.heal();
    }
}

#[tokio::test(start_paused = true)]
async fn registers_that_say_nothing_are_removed_at_the_end() {
    let server = Server::default();
    let process = process(&server);
    let held = process.begun(1, 1).await;
    process.attempts.close().await;
    assert_eq!(server.registers().len(), 1, "somebody needs it");
    drop(held);
    tokio::time::sleep(SECOND).await;
    process.attempts.close().await;
    assert_eq!(server.registers(), [] as [String; 0]);
}
