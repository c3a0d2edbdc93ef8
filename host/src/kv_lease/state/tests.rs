//! Tests of the lease's state: tables, and three candidates against a server whose answers get
//! lost.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use proptest::prelude::*;

use super::*;

/// How long the key lives at the server: the ttl of AGENT_LEASES.
const TTL: Duration = Duration::from_secs(15);

const RULES: Rules = Rules {
    safe: Duration::from_secs(10),
    renewal: Duration::from_secs(5),
    retry: Duration::from_millis(500),
    late: Late::StaysOver,
    conflict: Conflict::Ends,
};

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A lease taken with revision 7, sent at second 0.
fn holding(rules: Rules) -> LeaseState {
    let mut state = LeaseState::new(rules);
    state.sends();
    state.took(s(0), Written::Done(7));
    state
}

#[test]
fn a_key_is_held_from_before_the_write_that_took_it() {
    let held = holding(RULES);
    assert_eq!(
        held.held().map(|held| (held.first, held.revision)),
        Some((7, 7))
    );
    assert!(held.is_held(ms(9_999)));
    assert!(!held.is_held(s(10)));
    for nothing in [Written::Conflict, Written::Unknown] {
        let mut state = LeaseState::new(RULES);
        state.sends();
        state.took(s(0), nothing);
        assert_eq!(state.held(), None);
        assert_eq!(state.in_doubt(), nothing == Written::Unknown);
    }
}

#[test]
fn what_follows_from_each_renewal() {
    let patient = Rules {
        late: Late::GoesOn,
        conflict: Conflict::IsExamined,
        ..RULES
    };
    // Columns: the rules; sent, answered, the answer; the next step, whether the lease is held at
    // the answer, and the revision given up in the end.
    let cases = [
        (RULES, 5, 6, Written::Done(9), Next::Renewed, true, Some(9)),
        (RULES, 5, 9, Written::Unknown, Next::Retry, true, Some(7)),
        (RULES, 1, 2, Written::Conflict, Next::Lost, false, None),
        // Too late, even for a stored write.
        (RULES, 5, 10, Written::Unknown, Next::Retry, false, Some(7)),
        (RULES, 5, 10, Written::Done(9), Next::Retry, false, Some(9)),
        (
            patient,
            5,
            11,
            Written::Done(9),
            Next::Renewed,
            true,
            Some(9),
        ),
        (
            patient,
            5,
            15,
            Written::Done(9),
            Next::Renewed,
            false,
            Some(9),
        ),
        (
            patient,
            5,
            6,
            Written::Conflict,
            Next::Examine,
            true,
            Some(7),
        ),
        (
            patient,
            5,
            11,
            Written::Unknown,
            Next::Retry,
            false,
            Some(7),
        ),
    ];
    for (rules, sent, now, written, next, is_held, revision) in cases {
        let mut state = holding(rules);
        state.sends();
        let what = format!(
            "{:?} {written:?} sent at {sent}, answered at {now}",
            rules.late
        );
        assert_eq!(state.renewed(s(sent), s(now), written), next, "{what}");
        assert_eq!(state.is_held(s(now)), is_held, "{what}");
        assert_eq!(state.held().map(|held| held.revision), revision, "{what}");
        let first = state.held().map(|held| held.first);
        assert_eq!(first, revision.map(|_| 7), "the first write stays: {what}");
    }
}

#[test]
fn a_conflict_after_a_lost_answer_is_not_somebody_elses_write() {
    let after_a_lost_answer = || {
        let mut state = holding(RULES);
        state.sends();
        assert_eq!(state.renewed(s(5), s(6), Written::Unknown), Next::Retry);
        state.sends();
        assert_eq!(state.renewed(s(6), s(7), Written::Conflict), Next::Examine);
        state
    };
    let mut state = after_a_lost_answer();
    assert_eq!(state.examined(Found::Ours(8)), Next::Retry);
    assert_eq!(state.held().map(|held| held.revision), Some(8));
    assert!(!state.is_held(s(10)), "a read does not move the end");
    state.sends();
    assert_eq!(state.renewed(s(8), s(9), Written::Done(9)), Next::Renewed);
    assert!(state.is_held(s(17)));
    // From here on no write of ours is in doubt.
    state.sends();
    assert_eq!(state.renewed(s(13), s(14), Written::Conflict), Next::Lost);

    assert_eq!(after_a_lost_answer().examined(Found::Another), Next::Lost);
    assert_eq!(after_a_lost_answer().examined(Found::Nothing), Next::Gone);
}

#[test]
fn a_write_that_is_not_waited_for_stays_in_doubt() {
    let mut state = holding(RULES);
    assert!(!state.in_doubt());
    state.sends();
    assert!(state.in_doubt());
    // Its future was dropped; the next write conflicts, perhaps with it.
    state.sends();
    assert_eq!(state.renewed(s(6), s(7), Written::Conflict), Next::Examine);
}

/// A key on a server: its revision, and when it was stored.
#[derive(Default)]
struct Server {
    key: Option<(u64, Duration)>,
    revision: u64,
}

impl Server {
    fn newest(&self, now: Duration) -> u64 {
        match self.key {
            Some((revision, stored)) if now < stored + TTL => revision,
            _ => 0,
        }
    }

    fn write(&mut self, now: Duration, expected: u64) -> Written {
        if self.newest(now) != expected {
            return Written::Conflict;
        }
        self.revision += 1;
        self.key = Some((self.revision, now));
        Written::Done(self.revision)
    }
}

/// One candidate with its writes, and the time until which it is stopped.
struct Candidate {
    state: LeaseState,
    wrote: Vec<u64>,
    leads: bool,
    sleeps_until: Duration,
}

/// The course of one write: how long it takes to the server, how long the answer takes back,
/// whether it arrives at all, and how long the candidate is then stopped (SIGSTOP, a slow machine).
#[derive(Debug, Clone)]
struct Write {
    who: usize,
    there: u64,
    back: u64,
    lost: bool,
    answer_lost: bool,
    pause: u64,
}

fn step() -> impl Strategy<Value = Write> {
    (
        0..3_usize,
        prop_oneof![0..200_u64, 0..9_000_u64],
        prop_oneof![0..200_u64, 0..20_000_u64],
        prop::bool::weighted(0.1),
        prop::bool::weighted(0.2),
        prop_oneof![Just(0_u64), 0..3_000_u64, 10_000..40_000_u64],
    )
        .prop_map(|(who, there, back, lost, answer_lost, pause)| Write {
            who,
            there,
            back,
            lost,
            answer_lost,
            pause,
        })
}

fn rules() -> impl Strategy<Value = Rules> {
    (any::<bool>(), any::<bool>()).prop_map(|(late, conflict)| Rules {
        late: if late { Late::GoesOn } else { Late::StaysOver },
        conflict: if conflict {
            Conflict::Ends
        } else {
            Conflict::IsExamined
        },
        ..RULES
    })
}

/// A candidate's next write; returns the time in which it relies on the lease after the answer.
fn play(
    server: &mut Server,
    candidate: &mut Candidate,
    step: &Write,
    sent: Duration,
) -> Option<(u64, Duration, Duration)> {
    let arrives = sent + ms(step.there);
    let answered = arrives + ms(step.back);
    let state = &mut candidate.state;
    if !state.is_held(sent) && state.rules().late == Late::StaysOver {
        state.lost();
    }
    let renews = state.held();
    state.sends();
    let outcome = if step.lost {
        Written::Unknown
    } else {
        server.write(arrives, renews.map_or(0, |held| held.revision))
    };
    if let Written::Done(revision) = outcome {
        candidate.wrote.push(revision);
    }
    let told = if step.answer_lost {
        Written::Unknown
    } else {
        outcome
    };
    if renews.is_none() {
        state.took(sent, told);
        // The key does not name the term yet, so the candidate leads nobody.
        candidate.leads = false;
    } else {
        match state.renewed(sent, answered, told) {
            Next::Renewed => candidate.leads = true,
            Next::Examine => {
                let newest = server.newest(answered);
                let found = match newest {
                    0 => Found::Nothing,
                    newest if candidate.wrote.contains(&newest) => Found::Ours(newest),
                    _ => Found::Another,
                };
                if state.examined(found) == Next::Gone {
                    state.lost();
                }
            }
            _ => {}
        }
    }
    candidate.sleeps_until = answered + ms(step.pause);
    let held = state.held().filter(|_| candidate.leads)?;
    Some((held.first, answered, held.sent + RULES.safe))
}

proptest! {
    /// Three candidates, writes that are slow or lost or whose answers are lost, and machines that
    /// stop: at no moment do two candidates lead, and terms only grow.
    #[test]
    fn never_two_leaders(rules in rules(), steps in prop::collection::vec(step(), 1..60)) {
        let mut server = Server::default();
        let mut all = [(); 3].map(|()| Candidate {
            state: LeaseState::new(rules),
            wrote: Vec::new(),
            leads: false,
            sleeps_until: Duration::ZERO,
        });
        let mut spans: Vec<(usize, u64, Duration, Duration)> = Vec::new();
        let mut now = Duration::ZERO;
        for step in steps {
            // The server receives writes in order of time; each candidate has one in flight.
            let candidate = &mut all[step.who];
            let sent = now.max(candidate.sleeps_until);
            let span = play(&mut server, candidate, &step, sent);
            spans.extend(span.map(|(term, from, until)| (step.who, term, from, until)));
            now = sent + ms(step.there);
        }
        for (index, (who, term, from, until)) in spans.iter().enumerate() {
            for (other, their_term, their_from, their_until) in &spans[index + 1..] {
                if who == other {
                    prop_assert!(term <= their_term, "terms of one candidate grow");
                } else {
                    prop_assert_ne!(term, their_term, "a term has one leader");
                    let apart = until <= their_from || their_until <= from;
                    let believes = from < until && their_from < their_until;
                    prop_assert!(apart || !believes, "{who} and {other} lead at the same time");
                }
            }
        }
    }
}
