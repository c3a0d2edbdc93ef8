//! The states of a circuit, and what calls make of them: pure.

/// Whether calls are let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// They are; so many in a row have failed.
    Closed { failures: u32 },
    /// They are not.
    Open,
    /// One is, at the host that has the right to: `ours` says whether that is here, `begun` that it
    /// was let through.
    HalfOpen { ours: bool, begun: bool },
}

/// How a call ended, as far as it says something of the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The service is there.
    Well,
    /// It may not be.
    Failed,
    /// The call says nothing of it: the message was at fault, or nobody knows.
    Neither,
}

/// A call that was let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ticket {
    /// It was let through to see whether the service is back.
    probe: bool,
    /// In this span between two changes of state.
    span: u64,
}

/// One circuit, as this host has it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Breaker {
    /// Failures in a row that open it.
    most: u32,
    state: State,
    span: u64,
}

impl Breaker {
    pub(super) fn new(most: u32) -> Self {
        Self {
            most,
            state: State::Closed { failures: 0 },
            span: 0,
        }
    }

    pub(super) fn state(&self) -> State {
        self.state
    }

    /// The number of the span between two changes of state.
    pub(super) fn span(&self) -> u64 {
        self.span
    }

    /// How many messages may be waiting or on their way.
    pub(super) fn room(&self) -> usize {
        match self.state {
            State::Closed { .. } => usize::MAX,
            State::HalfOpen {
                ours: true,
                begun: false,
            } => 1,
            State::Open | State::HalfOpen { .. } => 0,
        }
    }

    /// Lets a call through, or not.
    pub(super) fn begin(&mut self) -> Option<Ticket> {
        let span = self.span;
        match &mut self.state {
            State::Closed { .. } => Some(Ticket { probe: false, span }),
            State::HalfOpen {
                ours: true,
                begun: begun @ false,
            } => {
                *begun = true;
                Some(Ticket { probe: true, span })
            }
            State::Open | State::HalfOpen { .. } => None,
        }
    }

    /// A call has ended. What began in another span says nothing of this one.
    pub(super) fn end(&mut self, ticket: Ticket, verdict: Verdict) {
        if ticket.span != self.span {
            return;
        }
        match (self.state, verdict) {
            (State::Closed { .. }, Verdict::Well) => self.state = State::Closed { failures: 0 },
            (State::Closed { failures }, Verdict::Failed) => {
                let failures = failures.saturating_add(1);
                if failures >= self.most {
                    self.turn(State::Open);
                } else {
                    self.state = State::Closed { failures };
                }
            }
            (State::HalfOpen { .. }, _) if ticket.probe => match verdict {
                Verdict::Well => self.turn(State::Closed { failures: 0 }),
                Verdict::Failed => self.turn(State::Open),
                // Another message may say more.
                Verdict::Neither => self.turn(State::HalfOpen {
                    ours: true,
                    begun: false,
                }),
            },
            _ => {}
        }
    }

    /// Follows what hosts have agreed upon. Not called for what this host has brought about itself.
    pub(super) fn follow(&mut self, state: State) {
        let same = match (self.state, state) {
            (State::Closed { .. }, State::Closed { .. }) => true,
            (State::HalfOpen { ours, .. }, State::HalfOpen { ours: still, .. }) => ours == still,
            (now, next) => now == next,
        };
        if !same {
            self.turn(state);
        }
    }

    fn turn(&mut self, state: State) {
        self.state = state;
        self.span += 1;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OURS: State = State::HalfOpen {
        ours: true,
        begun: false,
    };

    fn run(breaker: &mut Breaker, verdicts: &[Verdict]) {
        for verdict in verdicts {
            if let Some(ticket) = breaker.begin() {
                breaker.end(ticket, *verdict);
            }
        }
    }

    #[test]
    fn failures_in_a_row_open_it() {
        use Verdict::{Failed, Neither, Well};
        let cases: [(&[Verdict], State); 5] = [
            (&[Failed, Failed], State::Closed { failures: 2 }),
            (&[Failed, Failed, Failed], State::Open),
            (
                &[Failed, Failed, Well, Failed],
                State::Closed { failures: 1 },
            ),
            (&[Failed, Failed, Neither, Failed], State::Open),
            (&[Failed, Failed, Failed, Well], State::Open),
        ];
        for (verdicts, state) in cases {
            let mut breaker = Breaker::new(3);
            run(&mut breaker, verdicts);
            assert_eq!(breaker.state(), state, "{verdicts:?}");
        }
    }

    #[test]
    fn one_probe_decides() {
        for (verdict, state) in [
            (Verdict::Well, State::Closed { failures: 0 }),
            (Verdict::Failed, State::Open),
            (Verdict::Neither, OURS),
        ] {
            let mut breaker = Breaker::new(1);
            run(&mut breaker, &[Verdict::Failed]);
            assert_eq!(breaker.room(), 0);
            breaker.follow(OURS);
            assert_eq!(breaker.room(), 1);
            let probe = breaker.begin();
            assert_eq!(breaker.begin(), None, "one alone");
            assert_eq!(breaker.room(), 0);
            // The record is seen again while the probe runs.
            breaker.follow(OURS);
            assert_eq!(breaker.begin(), None);
            if let Some(probe) = probe {
                breaker.end(probe, verdict);
            }
            assert_eq!(breaker.state(), state, "{verdict:?}");
        }
    }

    #[test]
    fn what_began_before_says_nothing_now() {
        let mut breaker = Breaker::new(1);
        let (early, other) = (breaker.begin(), breaker.begin());
        run(&mut breaker, &[Verdict::Failed]);
        breaker.follow(OURS);
        for ticket in [early, other].into_iter().flatten() {
            breaker.end(ticket, Verdict::Well);
        }
        assert_eq!(breaker.state(), OURS);
        breaker.follow(State::HalfOpen {
            ours: false,
            begun: false,
        });
        assert_eq!(breaker.begin(), None, "another host's probe");
    }

    proptest! {
        /// Whatever happens, no call begins while it is open, and never two while it is half-open.
        #[test]
        fn never_two_probes(steps in prop::collection::vec((0..6_u8, 0..3_u8), 1..200)) {
            let mut breaker = Breaker::new(2);
            let mut out: Vec<Ticket> = Vec::new();
            for (step, which) in steps {
                let verdict = match which {
                    0 => Verdict::Well,
                    1 => Verdict::Failed,
                    _ => Verdict::Neither,
                };
                match step {
                    0 | 1 => {
                        let before = breaker.state();
                        let ticket = breaker.begin();
                        prop_assert_eq!(before == State::Open && ticket.is_some(), false);
                        out.extend(ticket);
                    }
                    2 | 3 => {
                        if !out.is_empty() {
                            let ticket = out.remove(usize::from(which) % out.len());
                            breaker.end(ticket, verdict);
                        }
                    }
                    4 => breaker.follow(OURS),
                    _ => breaker.follow(State::Closed { failures: 0 }),
                }
                let probes = out.iter().filter(|t| t.probe && t.span == breaker.span);
                prop_assert!(probes.count() <= 1);
            }
        }
    }
}
