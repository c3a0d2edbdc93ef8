//! Batches: several messages of a subscription in one call, each with its own answer.

use std::time::{Duration, Instant};

use crate::circuit::{CallResult, call_result};
use crate::delivery::{Delivery, Destination, Reason};
use mistersmith_runtime::{Call, Failure, Outcome, Reply};

use super::super::answer::{is_overdue, reply_overdue};
use super::super::event_loop::EventLoop;
use super::super::loop_port::{AgentInstance, AgentPort};

impl<P: AgentPort> EventLoop<P> {
    /// Handles a batch in one call. If the call ends early, every waiting sender gets an error.
    pub(super) async fn handle_batch(&mut self, first: Delivery, rest: Vec<Delivery>) {
        let most = 1 + rest.len();
        let (mut calls, mut waiting) = (Vec::with_capacity(most), Vec::with_capacity(most));
        for delivery in std::iter::once(first).chain(rest) {
            if is_overdue(&delivery.call) {
                let Delivery {
                    call, destination, ..
                } = delivery;
                reply_overdue(&self.handle, &call, destination).await;
            } else if self.receives(&delivery.call) {
                calls.push(delivery.call);
                waiting.push(delivery.destination);
            }
        }
        let Ok(count) = u32::try_from(calls.len()) else {
            return;
        };
        if count == 0 {
            return;
        }
        let Some(pass) = self.plugin_queue.circuit.begin() else {
            for (call, waiting) in calls.into_iter().zip(waiting) {
                self.requeue(call, waiting).await;
            }
            return;
        };
        let begun = Instant::now();
        self.handle.state.begin(begun);
        let outcome = self.called_together(&mut calls).await;
        let took = begun.elapsed();
        self.plugin_queue.called(took / count);
        let died = match &outcome {
            Outcome::Exited(death) => Some(Reason::died(death)),
            _ => None,
        };
        let outcomes = each(outcome, calls.len());
        let (call_result, error) = together(&outcomes);
        pass.ended(self.handle.id.as_str(), call_result, error.as_deref());
        self.count(&calls, took, &outcomes);
        match died {
            Some(reason) => self.failed(reason),
            None => self.backoff.succeeded(),
        }
        self.answer_each(calls, waiting, outcomes).await;
    }

    async fn called_together(
        &mut self,
        calls: &mut [Box<Call>],
    ) -> Outcome<Vec<Result<Option<Reply>, Failure>>> {
        let Some(instance) = &mut self.instance else {
            // Unreachable: the loop takes messages only while there is an instance.
            let message = "the agent has no instance".to_owned();
            return Outcome::Failed(Failure::Other(message));
        };
        let outcome = instance.handle_batch(calls).await;
        self.after(matches!(outcome, Outcome::Exited(_))).await;
        outcome
    }

    /// Counts each message of the batch, with an equal share of the time.
    fn count(&self, calls: &[Box<Call>], took: Duration, outcomes: &[Outcome]) {
        let share = took / u32::try_from(outcomes.len()).unwrap_or(u32::MAX).max(1);
        for (call, outcome) in calls.iter().zip(outcomes) {
            let error = Reason::of(outcome).map(|reason| reason.message);
            self.handle.state.end(&call.kind, share, error);
        }
    }

    #[allow(clippy::vec_box, reason = "they came boxed, and go on so")]
    async fn answer_each(
        &mut self,
        calls: Vec<Box<Call>>,
        waiting: Vec<Destination>,
        outcomes: Vec<Outcome>,
    ) {
        for ((call, waiting), outcome) in calls.into_iter().zip(waiting).zip(outcomes) {
            self.dispatch(call, waiting, outcome).await;
        }
    }
}

/// What a batch says of the service: one message that went well is enough to know that it is there.
fn together(outcomes: &[Outcome]) -> (CallResult, Option<String>) {
    let all: Vec<CallResult> = outcomes.iter().map(call_result).collect();
    let failed = outcomes
        .iter()
        .filter(|o| call_result(o) == CallResult::Failed);
    let error = failed.filter_map(Reason::of).next();
    let said = [CallResult::Well, CallResult::Failed]
        .into_iter()
        .find(|v| all.contains(v));
    (
        said.unwrap_or(CallResult::Neither),
        error.map(|reason| reason.message),
    )
}

/// The outcome of each of `count` messages.
fn each(outcome: Outcome<Vec<Result<Option<Reply>, Failure>>>, count: usize) -> Vec<Outcome> {
    match outcome {
        Outcome::Done(answers) => answers
            .into_iter()
            .map(|answer| match answer {
                Ok(reply) => Outcome::Done(reply),
                Err(failure) => Outcome::Failed(failure),
            })
            .collect(),
        Outcome::Failed(failure) => vec![Outcome::Failed(failure); count],
        Outcome::Exited(death) => vec![Outcome::Exited(death); count],
    }
}
