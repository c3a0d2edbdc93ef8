//! The pure state machine of a circuit: closed, open, half-open.

/// The state of a circuit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Calls are admitted; this many in a row have failed.
    Closed { failures: u32 },
    /// Calls are rejected.
    Open,
    /// One call is admitted, on the host with the right to the probe: `ours` is whether that is
    /// this host, `begun` whether the call was admitted.
    HalfOpen { ours: bool, begun: bool },
}

/// The outcome of a call, as evidence about the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallResult {
    /// The service is up.
    Well,
    /// The service may be down.
    Failed,
    /// Nothing: the message was at fault, or the cause is unknown.
    Neither,
}

/// A call that was admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ticket {
    /// It probes whether the service is back.
    probe: bool,
    /// The span between two state changes in which it began.
    span: u64,
}

/// One circuit, as seen by this host.
#[derive(Debug, Clone, Copy)]
pub(super) struct Breaker {
    /// Number of failures in a row that opens it.
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

    /// The number of messages that may be waiting or on their way.
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

    /// Admits or rejects a call.
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

    /// Records the end of a call. A call that began in another span does not count in this one.
    pub(super) fn end(&mut self, ticket: Ticket, call_result: CallResult) {
        if ticket.span != self.span {
            return;
        }
        match (self.state, call_result) {
            (State::Closed { .. }, CallResult::Well) => self.state = State::Closed { failures: 0 },
            (State::Closed { failures }, CallResult::Failed) => {
                let failures = failures.saturating_add(1);
                if failures >= self.most {
                    self.turn(State::Open);
                } else {
                    self.state = State::Closed { failures };
                }
            }
            (State::HalfOpen { .. }, _) if ticket.probe => match call_result {
                CallResult::Well => self.turn(State::Closed { failures: 0 }),
                CallResult::Failed => self.turn(State::Open),
                // Another message may be conclusive.
                CallResult::Neither => self.turn(State::HalfOpen {
                    ours: true,
                    begun: false,
                }),
            },
            _ => {}
        }
    }

    /// Follows the state that the hosts have agreed on. Not called for a change that this host
    /// made.
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

    fn run(breaker: &mut Breaker, results: &[CallResult]) {
        for call_result in results {
            if let Some(ticket) = breaker.begin() {
                breaker.end(ticket, *call_result);
            }
        }
    }

    #[test]
    fn failures_in_a_row_open_it() {
        use CallResult::{Failed, Neither, Well};
        let cases: [(&[CallResult], State); 5] = [
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
        for (call_result, state) in [
            (CallResult::Well, State::Closed { failures: 0 }),
            (CallResult::Failed, State::Open),
            (CallResult::Neither, OURS),
        ] {
            let mut breaker = Breaker::new(1);
            run(&mut breaker, &[CallResult::Failed]);
            assert_eq!(breaker.room(), 0);
            breaker.follow(OURS);
            assert_eq!(breaker.room(), 1);
            let probe = breaker.begin();
            assert_eq!(breaker.begin(), None, "one alone");
            assert_eq!(breaker.room(), 0);
            // The record is read again while the probe runs.
            breaker.follow(OURS);
            assert_eq!(breaker.begin(), None);
            if let Some(probe) = probe {
                breaker.end(probe, call_result);
            }
            assert_eq!(breaker.state(), state, "{call_result:?}");
        }
    }

    #[test]
    fn what_began_before_says_nothing_now() {
        let mut breaker = Breaker::new(1);
        let (early, other) = (breaker.begin(), breaker.begin());
        run(&mut breaker, &[CallResult::Failed]);
        breaker.follow(OURS);
        for ticket in [early, other].into_iter().flatten() {
            breaker.end(ticket, CallResult::Well);
        }
        assert_eq!(breaker.state(), OURS);
        breaker.follow(State::HalfOpen {
            ours: false,
            begun: false,
        });
        assert_eq!(breaker.begin(), None, "another host's probe");
    }

    proptest! {
        /// No call begins while the circuit is open, and never two while it is half-open.
        #[test]
        fn never_two_probes(steps in prop::collection::vec((0..6_u8, 0..3_u8), 1..200)) {
            let mut breaker = Breaker::new(2);
            let mut out: Vec<Ticket> = Vec::new();
            for (step, which) in steps {
                let call_result = match which {
                    0 => CallResult::Well,
                    1 => CallResult::Failed,
                    _ => CallResult::Neither,
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
                            breaker.end(ticket, call_result);
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
