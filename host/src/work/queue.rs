//! The work queue of a plugin: weighted pulls from its durable consumers.
//!
//! Work items and stage inputs are pulled by priority and handed to any free agent.
//!
//! One [`WorkQueue`] per plugin and host pulls from all consumers of the plugin. It requests as
//! many messages as its agents can start now, and a few more when they are fast ([`schedule`]);
//! each empty consumer has one standing poll, so that new work arrives at once. While no agent is
//! free, polls are not renewed: work must not wait here while another host is idle. Polls are
//! cancelled when the agents are paused or gone, and not whenever they are busy: where a client
//! subscribes to everything, the server may give an item to a poll that was just cancelled, and
//! would deliver it again only after the ack wait. A host without capacity does not pull, because
//! an item that is given back again and again costs the server more than one that stays in its
//! stream.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use mistersmith_core::limits;
use mistersmith_nats::TransportError;

use super::consumer::WorkConsumer;
use super::consumer_state::ConsumerState;
use super::port::{PullPort, RunningPull};
use super::schedule::{self, Candidate, Demand, Pulling, Turn};

/// Most messages of one pull that are received before the other consumers have their turn.
const AT_HAND: usize = 64;

/// Pulls the work of one plugin.
pub(super) struct WorkQueue<P: PullPort> {
    port: Arc<P>,
    consumers: Vec<ConsumerState<P>>,
    turns: Vec<Turn>,
    pulls: FuturesUnordered<BoxFuture<'static, PullOutcome<P::Pull>>>,
    /// Messages in intake: being classified, or waiting for their payloads.
    arriving: FuturesUnordered<BoxFuture<'static, ()>>,
    /// Start of the time in which items wait and no agent takes any.
    deserted: Option<Instant>,
}

/// Outcome of waiting for one pull.
enum PullOutcome<R: RunningPull> {
    Item(usize, Box<R>, Box<R::Message>, CancellationToken),
    End(usize),
    Failed(usize, TransportError),
}

impl<P: PullPort> WorkQueue<P> {
    /// A queue without running pulls.
    pub(super) fn new(port: P, consumers: Vec<WorkConsumer>) -> Self {
        let turns = consumers
            .iter()
            .map(|consumer| Turn::new(consumer.source.priority()));
        let turns = turns.collect();
        let consumers = consumers.into_iter();
        let consumers = consumers
            .map(|consumer| ConsumerState::new(consumer, &port))
            .collect();
        Self {
            port: Arc::new(port),
            consumers,
            turns,
            pulls: FuturesUnordered::new(),
            arriving: FuturesUnordered::new(),
            deserted: None,
        }
    }

    /// Pulls until cancelled; then cancels its pulls. Messages already in the plugin queue stay
    /// there.
    pub(super) async fn run(mut self, cancel: CancellationToken) {
        let plugin_queue = self.port.plugin_queue().clone();
        let mut gate = plugin_queue.circuit.changes();
        let mut connection = self.port.changes();
        let mut clock = tokio::time::interval(Duration::from_secs(1));
        clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            // Created before the plugin queue is read, so that no change in between is missed.
            let changed = plugin_queue.changed();
            tokio::pin!(changed);
            changed.as_mut().enable();
            self.top_up();
            plugin_queue.set_pulls(self.pulls.len() + self.arriving.len());
            tokio::select! {
                biased;
                () = cancel.cancelled() => break,
                Some(step) = self.pulls.next() => self.step(step).await,
                Some(()) = self.arriving.next() => {}
                () = &mut changed => {}
                Ok(()) = gate.changed() => {}
                Ok(()) = connection.changed() => {}
                _ = clock.tick() => self.look_after_waiting().await,
            }
        }
        self.take_back();
        while let Some(step) = self.pulls.next().await {
            self.step(step).await;
        }
        self.port.stop_receiving();
        while let Some(()) = self.arriving.next().await {}
        plugin_queue.set_pulls(0);
        plugin_queue.failing_pulls.clear();
    }

    /// Starts the pulls that the agents have room for, or cancels standing polls when they have
    /// none.
    fn top_up(&mut self) {
        let asked = self
            .consumers
            .iter()
            .map(|l| if let Pulling::Batch(n) = l.pull { n } else { 0 })
            .sum();
        let Some(room) = self.demand().room(asked) else {
            return self.take_back_standing();
        };
        if room == 0 {
            return;
        }
        let now = Instant::now();
        let consumers = self.consumers.iter();
        let candidates: Vec<Candidate> = consumers
            .map(|one| one.candidate(&self.port, now))
            .collect();
        let mut turns = std::mem::take(&mut self.turns);
        for (index, pulling) in schedule::starts(&mut turns, &candidates, room) {
            self.start(index, pulling);
        }
        self.turns = turns;
    }

    fn demand(&self) -> Demand {
        let plugin_queue = self.port.plugin_queue();
        Demand {
            taking: plugin_queue.taking(),
            idle: plugin_queue.idle(),
            waiting: plugin_queue.waiting(),
            arriving: self.arriving.len(),
            mean_call: plugin_queue.mean_call(),
            circuit: plugin_queue.circuit.room(),
            is_stuck: self.port.is_stuck(),
        }
    }

    fn start(&mut self, index: usize, pulling: Pulling) {
        let Some(consumer) = self.consumers.get_mut(index) else {
            return;
        };
        consumer.pull = pulling;
        consumer.waiting = Instant::now();
        consumer.stop = CancellationToken::new();
        consumer.not_before = None;
        let (puller, stop) = (consumer.puller.clone(), consumer.stop.clone());
        let suspicious = consumer.is_suspicious(&self.port);
        let clearing = suspicious.then(|| self.port.clear(&puller));
        self.pulls.push(Box::pin(async move {
            if let Some(clearing) = clearing {
                clearing.await;
            }
            let pull = match pulling {
                Pulling::Batch(most) => P::pull(&puller, most, Duration::ZERO).await,
                _ => P::pull(&puller, 1, limits::STANDING_POLL).await,
            };
            match pull {
                Ok(pull) => next(index, Box::new(pull), stop).await,
                Err(error) => PullOutcome::Failed(index, error),
            }
        }));
    }

    async fn step(&mut self, step: PullOutcome<P::Pull>) {
        match step {
            PullOutcome::Item(index, mut pull, delivered, stop) => {
                self.arrived(index, *delivered).await;
                // Messages that have arrived already are received without a wait for each.
                for _ in 0..AT_HAND {
                    let Some(came) = pull.next().now_or_never() else {
                        break;
                    };
                    match came {
                        Some(Ok(delivered)) => self.arrived(index, delivered).await,
                        Some(Err(error)) => return self.failed(index, &error),
                        None => return self.ended(index),
                    }
                }
                self.pulls.push(Box::pin(next(index, pull, stop)));
            }
            PullOutcome::End(index) => self.ended(index),
            PullOutcome::Failed(index, error) => self.failed(index, &error),
        }
    }

    /// Handles the end of a pull.
    fn ended(&mut self, index: usize) {
        if let Some(consumer) = self.consumers.get_mut(index) {
            // A batch that ends short found the consumer empty.
            if matches!(consumer.pull, Pulling::Batch(1..)) {
                consumer.backlog = 0;
            }
            consumer.pull = Pulling::No;
            consumer.succeeded(&self.port.plugin_queue().failing_pulls);
        }
    }

    fn failed(&mut self, index: usize, error: &TransportError) {
        if let Some(consumer) = self.consumers.get_mut(index) {
            consumer.failed(error, &self.port.plugin_queue().failing_pulls);
            consumer.pull = Pulling::No;
            consumer.not_before = Some(Instant::now() + limits::PULL_RETRY_DELAY);
            if error.is_transient() {
                consumer.failures.push(Instant::now());
            }
        }
    }

    async fn arrived(&mut self, index: usize, message: <P::Pull as RunningPull>::Message) {
        let Some(state) = self.consumers.get_mut(index) else {
            return;
        };
        state.backlog = P::Pull::backlog(&message);
        state.succeeded(&self.port.plugin_queue().failing_pulls);
        if let Pulling::Batch(left) = &mut state.pull {
            *left = left.saturating_sub(1);
        }
        if let Some(arriving) = self.port.receive(&state.work, message).await {
            self.arriving.push(arriving);
        }
    }

    /// Gives items back to other hosts when all agents here are paused or failing.
    async fn look_after_waiting(&mut self) {
        let plugin_queue = self.port.plugin_queue();
        if plugin_queue.taking() > 0 || plugin_queue.waiting() == 0 {
            self.deserted = None;
            return;
        }
        let since = *self.deserted.get_or_insert_with(Instant::now);
        if since.elapsed() >= limits::DESERTED {
            self.port.give_back_waiting().await;
        }
    }

    /// Cancels standing polls and leaves running batches.
    fn take_back_standing(&mut self) {
        for consumer in &self.consumers {
            if consumer.pull == Pulling::LongPoll {
                consumer.stop.cancel();
            }
        }
    }

    fn take_back(&mut self) {
        for consumer in &self.consumers {
            consumer.stop.cancel();
        }
    }
}

async fn next<R: RunningPull>(
    index: usize,
    mut pull: Box<R>,
    stop: CancellationToken,
) -> PullOutcome<R> {
    let came = tokio::select! {
        biased;
        came = pull.next() => came,
        () = stop.cancelled() => {
            // Messages in flight are still received: left there, they would be delivered again only
            // after the ack wait.
            pull.stop().await;
            pull.next().await
        }
    };
    match came {
        Some(Ok(message)) => PullOutcome::Item(index, pull, Box::new(message), stop),
        Some(Err(error)) => PullOutcome::Failed(index, error),
        None => PullOutcome::End(index),
    }
}

#[cfg(test)]
mod tests;
