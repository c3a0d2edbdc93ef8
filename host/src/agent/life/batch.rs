//! Several messages of a subscription in one call; each has an answer of its own.

use std::time::{Duration, Instant};

use crate::patterns::circuit::{Verdict, verdict};
use crate::patterns::disposition::Reason;
use crate::patterns::{Answer, Delivery};
use crate::runtime::{Call, Failure, Outcome, Reply};

use super::super::answer::{answer, is_overdue, tell_overdue};
use super::Life;

impl Life {
    /// Hands a batch over. What ends the call is told to each who waits for an answer.
    pub(super) async fn handle_batch(&mut self, first: Delivery, rest: Vec<Delivery>) {
        let most = 1 + rest.len();
        let (mut calls, mut waiting) = (Vec::with_capacity(most), Vec::with_capacity(most));
        for delivery in std::iter::once(first).chain(rest) {
            if is_overdue(&delivery.call) {
                let Delivery { call, answer, .. } = delivery;
                tell_overdue(&self.port, &call, answer).await;
            } else if self.hears(&delivery.call) {
                calls.push(delivery.call);
                waiting.push(delivery.answer);
            }
        }
        let Ok(count) = u32::try_from(calls.len()) else {
            return;
        };
        if count == 0 {
            return;
        }
        let Some(pass) = self.crew.circuit.begin() else {
            for (call, waiting) in calls.into_iter().zip(waiting) {
                self.hold(call, waiting).await;
            }
            return;
        };
        let begun = Instant::now();
        self.port.cell.begin(begun);
        let outcome = self.called_together(&mut calls).await;
        let took = begun.elapsed();
        self.crew.called(took / count);
        let died = match &outcome {
            Outcome::Died(death) => Some(Reason::died(death)),
            _ => None,
        };
        let outcomes = each(outcome, calls.len());
        let (verdict, error) = together(&outcomes);
        pass.ended(self.port.id.as_str(), verdict, error.as_deref());
        self.count(&calls, took, &outcomes);
        match died {
            Some(reason) => self.fell(reason),
            None => self.backoff.lived(),
        }
        self.answer_each(calls, waiting, outcomes).await;
    }

    async fn called_together(
        &mut self,
        calls: &mut [Box<Call>],
    ) -> Outcome<Vec<Result<Option<Reply>, Failure>>> {
        let Some(instance) = &mut self.instance else {
            // The loop takes messages only while there is an instance.
            let message = "the agent has no instance".to_owned();
            return Outcome::Failed(Failure::Other(message));
        };
        let outcome = instance.handle_batch(calls).await;
        self.after(matches!(outcome, Outcome::Died(_))).await;
        outcome
    }

    /// The numbers are those of messages, however many came at once.
    fn count(&self, calls: &[Box<Call>], took: Duration, outcomes: &[Outcome]) {
        let share = took / u32::try_from(outcomes.len()).unwrap_or(u32::MAX).max(1);
        for (call, outcome) in calls.iter().zip(outcomes) {
            let error = Reason::of(outcome).map(|reason| reason.message);
            self.port.cell.end(&call.kind, share, error);
        }
    }

    #[allow(clippy::vec_box, reason = "they came boxed, and go on so")]
    async fn answer_each(
        &mut self,
        calls: Vec<Box<Call>>,
        waiting: Vec<Answer>,
        outcomes: Vec<Outcome>,
    ) {
        for ((call, waiting), outcome) in calls.into_iter().zip(waiting).zip(outcomes) {
            let (settler, work) = (&self.around.settler, &self.around.work);
            answer(&self.port, settler, work, call, waiting, outcome).await;
        }
    }
}

/// What a batch says of the service: one message that went well is enough to know that it is there.
fn together(outcomes: &[Outcome]) -> (Verdict, Option<String>) {
    let all: Vec<Verdict> = outcomes.iter().map(verdict).collect();
    let failed = outcomes.iter().filter(|o| verdict(o) == Verdict::Failed);
    let error = failed.filter_map(Reason::of).next();
    let said = [Verdict::Well, Verdict::Failed]
        .into_iter()
        .find(|v| all.contains(v));
    (
        said.unwrap_or(Verdict::Neither),
        error.map(|reason| reason.message),
    )
}

/// What became of each of `count` messages.
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
        Outcome::Died(death) => vec![Outcome::Died(death); count],
    }
}
