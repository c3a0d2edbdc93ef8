//! The serve loop of the host's own services: one message at a time, until the host drains.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use mistersmith_core::limits;
use mistersmith_nats::{Message, Subscription};

use crate::agents::AgentHandle;

/// Passes each message to `answer` and awaits it, until cancelled or the subscription ends.
pub(super) async fn serve<F: Future<Output = ()> + Send>(
    mut messages: Subscription,
    cancel: CancellationToken,
    mut answer: impl FnMut(Message) -> F,
) {
    loop {
        let message = tokio::select! {
            message = messages.next() => message,
            () = cancel.cancelled() => None,
        };
        let Some(message) = message else { return };
        answer(message).await;
    }
}

/// As [`serve`], but questions to several agents wait for each other in a queue of their own: their
/// answers are spread in time, and a question to one agent does not wait for that. Beyond
/// [`limits::MAX_BROADCASTS`] they are dropped.
pub(super) async fn serve_both<F: Future<Output = ()> + Send + 'static>(
    messages: Subscription,
    cancel: CancellationToken,
    is_broadcast: fn(&Message) -> bool,
    answer: impl Fn(Message) -> F + Clone + Send + Sync + 'static,
) {
    let (queue, mut waiting) = mpsc::channel(limits::MAX_BROADCASTS);
    let answer_all = answer.clone();
    let turns = tokio::spawn(async move {
        while let Some(message) = waiting.recv().await {
            answer_all(message).await;
        }
    });
    let _ended_with_this = AbortOnDropHandle::new(turns);
    let mut dropped = 0_u64;
    let sort = |message: Message| {
        let direct = match is_broadcast(&message) {
            true => {
                if let Err(error) = queue.try_send(message) {
                    dropped += 1;
                    note_dropped(dropped, &error.into_inner().subject);
                }
                None
            }
            false => Some(answer(message)),
        };
        async move {
            if let Some(direct) = direct {
                direct.await;
            }
        }
    };
    serve(messages, cancel, sort).await;
}

/// Logs dropped questions when their number passes a power of two.
fn note_dropped(dropped: u64, subject: &str) {
    if dropped.is_power_of_two() {
        tracing::warn!(
            dropped,
            subject,
            "questions to all agents come faster than they are answered; some are dropped"
        );
    }
}

/// The turns of many agents that answer one question: spread evenly over [`limits::SPREAD`], so
/// that a short question does not fill the connection with answers.
#[derive(Debug)]
pub(super) struct Turns {
    begun: Instant,
    answers: usize,
}

impl Turns {
    /// The turns of so many answers, from now on.
    pub(super) fn new(answers: usize) -> Self {
        Self {
            begun: Instant::now(),
            answers,
        }
    }

    /// When the answer of this number, from 0, is due.
    fn due(&self, number: usize) -> Duration {
        if self.answers < limits::SPREAD_FROM {
            return Duration::ZERO;
        }
        let part = number as f64 / self.answers as f64;
        limits::SPREAD.mul_f64(part.min(1.0))
    }

    /// Waits for the turn of this number.
    pub(super) async fn wait(&self, number: usize) {
        let due = self.begun + self.due(number);
        // Timers have a resolution of a millisecond: what is due sooner goes at once.
        if due > Instant::now() + Duration::from_millis(1) {
            tokio::time::sleep_until(due).await;
        }
    }
}

/// Limits the agents that answer concurrently to [`limits::MAX_ANSWERING`]: a request to all agents
/// must neither go one agent at a time nor start thousands of tasks.
#[derive(Debug, Clone)]
pub(super) struct Answering(Arc<Semaphore>);

impl Answering {
    /// A full set of permits.
    pub(super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(limits::MAX_ANSWERING)))
    }

    /// Runs `answer` for each agent in a task of its own, which holds its permit until it drops it;
    /// spread in time if no change waits for it.
    pub(super) async fn each<F: Future<Output = ()> + Send + 'static>(
        &self,
        handles: Vec<AgentHandle>,
        spread: bool,
        answer: impl Fn(AgentHandle, OwnedSemaphorePermit) -> F,
    ) {
        let turns = Turns::new(if spread { handles.len() } else { 0 });
        for (number, handle) in handles.into_iter().enumerate() {
            turns.wait(number).await;
            // The semaphore is never closed.
            let Ok(place) = self.0.clone().acquire_owned().await else {
                return;
            };
            tokio::spawn(answer(handle, place));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn many_answers_are_spread_and_few_are_not() {
        for (answers, least) in [(1, 0), (63, 0), (64, 290), (500, 290), (10_000, 290)] {
            let turns = Turns::new(answers);
            let begun = Instant::now();
            for number in 0..answers {
                turns.wait(number).await;
            }
            let took = begun.elapsed();
            assert!(took <= limits::SPREAD, "{answers}: {took:?}");
            assert!(took >= Duration::from_millis(least), "{answers}: {took:?}");
        }
    }
}
