//! A process may die before and after each call: no item is lost, and none has two results.
use super::*;
use proptest::prelude::*;

use crate::delivery::attempts::Admission;

/// The number of leading calls that may have a fault.
const FAULTS: usize = 24;
/// The time after which the item has left its stream in every case.
const SOON: Duration = Duration::from_secs(2 * 3600);

/// One item with its faults and handler outcomes.
#[derive(Debug, Clone)]
struct Case {
    /// The faults of the first calls, in their order.
    faults: Vec<Option<Fault>>,
    /// The outcomes of the first handler calls; later ones succeed.
    runs: Vec<Run>,
    most: u32,
    /// Whether results are recorded.
    idempotent: bool,
    /// Whether another host continues after a death.
    elsewhere: bool,
}

#[derive(Debug, Clone, Copy)]
enum Run {
    Done,
    Failed,
    Rejected,
}

fn fault() -> impl Strategy<Value = Option<Fault>> {
    let after = (0_u64..6).prop_map(Duration::from_secs);
    prop_oneof![
        6 => Just(None),
        2 => after.clone().prop_map(|after| Some(Fault::Lost(after))),
        2 => after.prop_map(|after| Some(Fault::AnswerLost(after))),
        1 => Just(Some(Fault::DiesBefore)),
        1 => Just(Some(Fault::DiesAfter)),
    ]
}

fn case() -> impl Strategy<Value = Case> {
    let run = prop_oneof![4 => Just(Run::Done), 3 => Just(Run::Failed), 1 => Just(Run::Rejected)];
    (
        prop::collection::vec(fault(), 0..FAULTS),
        prop::collection::vec(run, 0..4),
        1_u32..4,
        any::<bool>(),
        any::<bool>(),
    )
        .prop_map(|(faults, runs, most, idempotent, elsewhere)| Case {
            faults,
            runs,
            most,
            idempotent,
            elsewhere,
        })
}

impl Bed {
    /// Admits and handles a delivery as intake and the event loop do.
    async fn take(
        &self,
        mut held: Box<HeldMessage>,
        case: &Case,
        runs: &parking_lot::Mutex<usize>,
    ) {
        let arrived = tokio::time::Instant::now().into_std();
        let admission = self.process.attempts.admit(held.counted(), arrived).await;
        match admission {
            Admission::Granted => {}
            Admission::Refused(reason) => {
                return self.settler.dead_letter(call(), held, reason).await;
            }
            Admission::Later(delay) => return self.settler.put_off(held, delay).await,
        }
        if case.idempotent {
            match self.settler.guard().find("key", SOON).await {
                Ok(None) => held.idempotence_key = Some("key".to_owned()),
                Ok(Some(found)) => {
                    let outcome = Outcome::Done(Some(found.reply));
                    return self.settle_held(held, outcome).await;
                }
                Err(_) => return self.settler.put_off(held, SECOND).await,
            }
        }
        if self.process.begin(&mut held).await.is_err() {
            return self.settler.put_off(held, SECOND).await;
        }
        let run = {
            let mut runs = runs.lock();
            *runs += 1;
            *runs
        };
        let handled = self.process.client.call(Op::Handle, |_| Ok(())).await;
        let outcome = match (handled, case.runs.get(run - 1)) {
            (Err(_), _) | (_, Some(Run::Failed)) => failed(),
            (_, Some(Run::Rejected)) => rejected(),
            (_, Some(Run::Done) | None) => done(&format!("run {run}")),
        };
        self.settle_held(held, outcome).await;
    }
}

/// Delivers the item until it is out of its stream; returns how often the handler ran.
async fn deliver(server: &Server, case: &Case) -> usize {
    server.schedule(case.faults.clone());
    let runs = Arc::new(parking_lot::Mutex::new(0));
    let mut beds: Vec<Arc<Bed>> = Vec::new();
    let begun = tokio::time::Instant::now();
    while !server.state().gone {
        assert!(begun.elapsed() < SOON, "the item is stuck");
        tokio::time::sleep(SECOND / 2).await;
        let Some(info) = server.deliver() else {
            continue;
        };
        let alive = beds.last().is_some_and(|bed| bed.process.client.is_alive());
        if !alive {
            let other = case.elsewhere && beds.len() % 2 == 1;
            let host = if other { "host-b" } else { "host-a" };
            beds.push(Arc::new(Bed::of(server.clone(), host)));
        }
        let bed = beds.last().unwrap().clone();
        if let Some(held) = bed.process.hold(info, case.most) {
            let (case, runs) = (case.clone(), runs.clone());
            tokio::spawn(async move { bed.take(held, &case, &runs).await });
        }
    }
    // Late effects of pending calls must not change the result.
    tokio::time::sleep(60 * SECOND).await;
    *runs.lock()
}

fn check(server: &Server, case: &Case, runs: usize) {
    let done = server.done();
    let first = |op| done.iter().position(|done| *done == op);
    let before = |op, at| first(op).is_some_and(|earlier| earlier < at);
    if let Some(ack) = first(Op::Ack) {
        assert!(before(Op::Output, ack), "acknowledged without an output");
    }
    if let Some(term) = first(Op::Term) {
        assert!(before(Op::Letter, term), "removed without a letter");
        assert!(before(Op::Report, term), "removed without a report");
    }
    if let Some(output) = first(Op::Output).filter(|_| case.idempotent) {
        assert!(before(Op::WriteResult, output), "stored without a record");
    }
    if let (Some(letter), Some(output)) = (first(Op::Letter), first(Op::Output)) {
        assert!(output < letter, "begun again although it has a letter");
    }
    let state = server.state();
    assert!(state.outputs.len() + state.letters.len() >= 1);
    assert!(state.outputs.len() <= 1 && state.letters.len() <= 1);
    if case.idempotent {
        let all_alike = state.writes.windows(2).all(|pair| pair[0] == pair[1]);
        assert!(all_alike, "a second run was stored: {:?}", state.writes);
    }
    // The very first attempt may be missed, unless it may be the last one.
    let most = case.most as usize + usize::from(case.most > 1);
    assert!(runs <= most, "{runs} runs, {} allowed", case.most);
}

fn run(case: &Case) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let server = Server::default();
        let runs = deliver(&server, case).await;
        check(&server, case, runs);
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_item_is_lost_and_none_has_two_results(case in case()) {
        run(&case);
    }
}

#[test]
fn a_process_may_die_at_each_single_call() {
    for outcome in [Run::Done, Run::Failed, Run::Rejected] {
        for place in 0..FAULTS {
            for fault in [Fault::DiesBefore, Fault::DiesAfter] {
                for (most, idempotent, elsewhere) in [(1, false, true), (3, true, false)] {
                    let mut faults = vec![None; place];
                    faults.push(Some(fault));
                    run(&Case {
                        faults,
                        runs: vec![outcome; 2],
                        most,
                        idempotent,
                        elsewhere,
                    });
                }
            }
        }
    }
}
