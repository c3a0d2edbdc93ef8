//! Tables, and three candidates against a server whose answers get lost.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::time::Duration;

use proptest::prelude::*;

use super::*;

/// How long the key lives at the server: the ttl of AGENT_LEASES.
const TTL: Duration = Duration::from_secs(15);

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[test]
fn what_follows_from_each_write() {
    let zero = Instant::now();
    let at = |seconds: u64| zero + Duration::from_secs(seconds);
    let tenure = |revision, sent| Tenure {
        term: 7,
        revision,
        until: at(sent) + limits::LEASE_SAFE,
    };
    assert_eq!(
        Standing::created(at(0), Written::Done(7)),
        Standing::Acquired(tenure(7, 0))
    );
    for nothing in [Written::Conflict, Written::Unknown] {
        assert_eq!(Standing::created(at(0), nothing), Standing::Follows);
    }
    let acquired = Standing::Acquired(tenure(7, 0));
    let leads = Standing::Leads(tenure(9, 0));
    let cases = [
        // The term is that of the first write, whatever comes.
        (
            acquired,
            1,
            2,
            Written::Done(8),
            Standing::Leads(tenure(8, 1)),
        ),
        (
            leads,
            5,
            6,
            Written::Done(12),
            Standing::Leads(tenure(12, 5)),
        ),
        (acquired, 1, 2, Written::Unknown, acquired),
        (leads, 5, 9, Written::Unknown, leads),
        (acquired, 1, 2, Written::Conflict, Standing::Follows),
        (leads, 1, 2, Written::Conflict, Standing::Follows),
        // Too late, also where it was well done.
        (leads, 5, 10, Written::Unknown, Standing::Follows),
        (leads, 5, 10, Written::Done(12), Standing::Follows),
        (Standing::Follows, 1, 2, Written::Done(8), Standing::Follows),
    ];
    for (before, sent, now, written, after) in cases {
        assert_eq!(
            before.renewed(at(sent), at(now), written),
            after,
            "{before:?} {written:?} sent at {sent}, answered at {now}"
        );
    }
}

/// A key of a server: who wrote it, its revision, and when it was stored.
#[derive(Default)]
struct Server {
    key: Option<(u64, Instant)>,
    revision: u64,
}

impl Server {
    fn newest(&self, now: Instant) -> u64 {
        match self.key {
            Some((revision, stored)) if now < stored + TTL => revision,
            _ => 0,
        }
    }

    fn write(&mut self, now: Instant, expected: u64) -> Written {
        if self.newest(now) != expected {
            return Written::Conflict;
        }
        self.revision += 1;
        self.key = Some((self.revision, now));
        Written::Done(self.revision)
    }
}

/// One candidate, and the write that it waits for: sent when, to arrive when, with what expected.
#[derive(Clone, Copy)]
struct Candidate {
    standing: Standing,
    sleeps_until: Instant,
}

/// What happens to one write: how long it takes to the server, how long the answer takes back,
/// whether it arrives at all, and how long the candidate then stands still (SIGSTOP, a slow machine).
#[derive(Debug, Clone)]
struct Step {
    who: usize,
    there: u64,
    back: u64,
    lost: bool,
    answer_lost: bool,
    pause: u64,
}

fn step() -> impl Strategy<Value = Step> {
    (
        0..3_usize,
        prop_oneof![0..200_u64, 0..9_000_u64],
        prop_oneof![0..200_u64, 0..20_000_u64],
        prop::bool::weighted(0.1),
        prop::bool::weighted(0.2),
        prop_oneof![Just(0_u64), 0..3_000_u64, 10_000..40_000_u64],
    )
        .prop_map(|(who, there, back, lost, answer_lost, pause)| Step {
            who,
            there,
            back,
            lost,
            answer_lost,
            pause,
        })
}

proptest! {
    /// Three candidates, writes that are slow, lost, or whose answers are lost, and machines that
    /// stand still: at no moment do two believe that they lead, and terms only grow.
    #[test]
    fn never_two_leaders(steps in prop::collection::vec(step(), 1..60)) {
        let zero = Instant::now();
        let mut server = Server::default();
        let mut all = [Candidate { standing: Standing::Follows, sleeps_until: zero }; 3];
        let mut spans: Vec<(usize, u64, Instant, Instant)> = Vec::new();
        let mut now = zero;
        for step in steps {
            // The server sees writes in the order of time; each candidate has one on its way.
            let sent = now.max(all[step.who].sleeps_until);
            let arrives = sent + ms(step.there);
            let before = all[step.who].standing.at(sent);
            let expected = before.tenure().map_or(0, |tenure| tenure.revision);
            let outcome = if step.lost { Written::Unknown } else { server.write(arrives, expected) };
            let told = if step.answer_lost { Written::Unknown } else { outcome };
            let answered = arrives + ms(step.back);
            let after = match before {
                Standing::Follows => Standing::created(sent, told),
                _ => before.renewed(sent, answered, told),
            };
            if let Standing::Leads(tenure) = after {
                // It believes from the answer on until its end.
                spans.push((step.who, tenure.term, answered, tenure.until));
            }
            all[step.who] = Candidate { standing: after, sleeps_until: answered + ms(step.pause) };
            now = arrives;
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
