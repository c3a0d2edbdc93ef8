//! Work items and inputs of stages: durable pull consumers, weighted by priority, handed to
//! whichever agent is free.
//!
//! One [`WorkQueue`] per plugin and host pulls from all consumers of the plugin. It asks for what
//! its agents can start now, and a little ahead when they are fast ([`schedule`]); a consumer that
//! is empty has one poll standing, so that new work is seen at once. When no agent is free the
//! polls are not renewed: work must not wait here while another host is idle. They are taken back
//! when the agents are paused or gone, and not whenever they are busy: where somebody listens to
//! everything, the server may give an item to a poll that was just taken back, and it would come
//! again only after the ack wait. Waiting is done by not pulling, because an item that is given
//! back again and again costs the server more than one that stays in its stream.

mod failing;
mod item;
mod lane;

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio_util::sync::CancellationToken;

use crate::config::Schema;
use crate::limits;
use crate::names::Priority;
use crate::transport::{Delivered, Link, Message, Pull, Puller, TransportError};

use super::attempts::Tries;
use super::claims::{Arrival, Fetching, Found, take_in};
use super::crew::Crew;
use super::delivery::{Answer, Delivery, Held, Output};
use super::disposition::Settler;
use super::keeper::Keeper;
use super::schedule::{self, Turn};
use lane::{LaneState, Pulling};

pub use failing::FailingPulls;
pub use lane::{Lane, Source};

/// Messages of a pull that are taken in before the rest has its turn.
const AT_HAND: usize = 64;

/// Everything that pulling needs beside the lanes.
#[derive(Debug, Clone)]
pub struct Feed {
    /// The connection for work.
    pub link: Link,
    /// Who takes the items.
    pub crew: Arc<Crew>,
    /// Keeps the items in hand from being delivered again.
    pub keeper: Arc<Keeper>,
    /// Ends items that must not wake the plugin.
    pub settler: Settler,
    /// Largest payload that wakes the plugin, in bytes.
    pub payload: usize,
}

/// Pulls the work of one plugin.
pub struct WorkQueue {
    feed: Feed,
    lanes: Vec<LaneState>,
    turns: Vec<Turn>,
    pulls: FuturesUnordered<BoxFuture<'static, Step>>,
    /// Messages that are taken in: it takes a moment to know what they are.
    arriving: usize,
    fetching: Fetching,
    /// Since when items wait and no agent takes any.
    deserted: Option<Instant>,
}

/// What came of waiting for one pull.
enum Step {
    Item(usize, Box<Pull>, Box<Delivered>, CancellationToken),
    End(usize),
    Failed(usize, TransportError),
    Arrived(Option<Box<Arrival>>),
}

impl WorkQueue {
    /// A queue that pulls nothing yet.
    pub fn new(feed: Feed, lanes: Vec<Lane>) -> Self {
        let turns = lanes.iter().map(|lane| Turn::new(lane.source.priority()));
        let turns = turns.collect();
        let lanes = lanes.into_iter();
        let lanes = lanes.map(|lane| LaneState::new(lane, &feed.link)).collect();
        Self {
            feed,
            lanes,
            turns,
            pulls: FuturesUnordered::new(),
            arriving: 0,
            fetching: Fetching::default(),
            deserted: None,
        }
    }

    /// Pulls until cancelled; then takes its pulls back. What was handed to the crew stays there.
    pub async fn run(mut self, cancel: CancellationToken) {
        let crew = self.feed.crew.clone();
        let mut gate = crew.circuit.changes();
        let mut clock = tokio::time::interval(Duration::from_secs(1));
        clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            // Made before the look at the crew, so that no change between the two is missed.
            let changed = crew.changed();
            tokio::pin!(changed);
            changed.as_mut().enable();
            self.top_up();
            crew.set_pulls(self.pulls.len() + self.fetching.len());
            tokio::select! {
                biased;
                () = cancel.cancelled() => break,
                Some(step) = self.pulls.next() => self.step(step).await,
                Some((arrival, found)) = self.fetching.next() => take_in(arrival, found, &self.feed).await,
                () = &mut changed => {}
                Ok(()) = gate.changed() => {}
                _ = clock.tick() => self.look_after_waiting().await,
            }
        }
        self.take_back();
        while let Some(step) = self.pulls.next().await {
            self.step(step).await;
        }
        self.fetching.stop();
        while let Some((arrival, found)) = self.fetching.next().await {
            take_in(arrival, found, &self.feed).await;
        }
        crew.set_pulls(0);
        crew.failing_pulls.clear();
    }

    /// Starts the pulls that the agents have room for, or takes back those that they have not.
    fn top_up(&mut self) {
        let crew = &self.feed.crew;
        if crew.taking() == 0 || crew.circuit.room() == 0 || self.feed.settler.is_stuck() {
            return self.take_back_standing();
        }
        let asked = self
            .lanes
            .iter()
            .map(|l| if let Pulling::Batch(n) = l.pull { n } else { 0 })
            .sum();
        let room = schedule::room(
            crew.taking(),
            crew.idle(),
            crew.waiting() + self.fetching.len() + self.arriving,
            asked,
            crew.mean_call(),
        );
        let held = crew.waiting().saturating_add(asked);
        let room = room.min(crew.circuit.room().saturating_sub(held));
        if room == 0 {
            return;
        }
        let now = Instant::now();
        let open: Vec<bool> = self.lanes.iter().map(|lane| lane.is_open(now)).collect();
        let mut backlog = Vec::with_capacity(self.lanes.len());
        for ((lane, turn), open) in self.lanes.iter().zip(&mut self.turns).zip(&open) {
            turn.waited(lane.waited(now));
            backlog.push(if *open { lane.backlog } else { 0 });
        }
        let shares = schedule::allot(&mut self.turns, &backlog, room);
        for (index, (share, open)) in shares.into_iter().zip(open).enumerate() {
            if !open {
                continue;
            }
            if share > 0 {
                self.start(index, Pulling::Batch(share));
            } else if backlog.get(index) == Some(&0) {
                self.start(index, Pulling::Standing);
            }
        }
    }

    fn start(&mut self, index: usize, pulling: Pulling) {
        let Some(lane) = self.lanes.get_mut(index) else {
            return;
        };
        lane.pull = pulling;
        lane.waiting = Instant::now();
        lane.stop = CancellationToken::new();
        let (puller, stop) = (lane.puller.clone(), lane.stop.clone());
        let suspicious = lane.is_suspicious().then(|| self.feed.settler.clone());
        self.pulls.push(Box::pin(async move {
            if let Some(settler) = suspicious {
                clear(&puller, &settler).await;
            }
            let pull = match pulling {
                Pulling::Batch(most) => puller.pull(most, Duration::ZERO).await,
                _ => puller.pull(1, limits::STANDING_POLL).await,
            };
            match pull {
                Ok(pull) => next(index, Box::new(pull), stop).await,
                Err(error) => Step::Failed(index, error),
            }
        }));
    }

    async fn step(&mut self, step: Step) {
        match step {
            Step::Item(index, mut pull, delivered, stop) => {
                self.arrived(index, *delivered).await;
                // What is here already is taken in without a wait for each.
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
            Step::Arrived(arrival) => {
                self.arriving = self.arriving.saturating_sub(1);
                if let Some(arrival) = arrival {
                    self.take_in(*arrival).await;
                }
            }
            Step::End(index) => self.ended(index),
            Step::Failed(index, error) => self.failed(index, &error),
        }
    }

    /// A pull is over.
    fn ended(&mut self, index: usize) {
        if let Some(lane) = self.lanes.get_mut(index) {
            // A batch that ends with something missing found the consumer empty.
            if matches!(lane.pull, Pulling::Batch(1..)) {
                lane.backlog = 0;
            }
            lane.pull = Pulling::No;
            lane.succeeded(&self.feed.crew.failing_pulls);
        }
    }

    fn failed(&mut self, index: usize, error: &TransportError) {
        if let Some(lane) = self.lanes.get_mut(index) {
            lane.failed(error, &self.feed.crew.failing_pulls);
            lane.pull = Pulling::No;
            lane.not_before = Some(Instant::now() + limits::PULL_RETRY_DELAY);
            if error.is_transient() {
                lane.failures.push(Instant::now());
            }
        }
    }

    async fn arrived(&mut self, index: usize, delivered: Delivered) {
        let Some(state) = self.lanes.get_mut(index) else {
            return;
        };
        state.backlog = delivered.meta.pending;
        state.succeeded(&self.feed.crew.failing_pulls);
        if let Pulling::Batch(left) = &mut state.pull {
            *left = left.saturating_sub(1);
        }
        let (rule, source) = (state.lane.rule.clone(), state.lane.source.clone());
        // What is in hand already came again because the server was not told so in time.
        let Some(kept) = self.feed.keeper.keep(&delivered.meta, &delivered.fate) else {
            return;
        };
        let held = Box::new(Held {
            kept,
            fate: delivered.fate,
            meta: delivered.meta,
            rule,
            tries: Tries::default(),
            output: Output::Nothing,
            claimed: None,
            record: None,
        });
        match source {
            Source::Work { priority, schema } => {
                self.item((priority, schema), delivered.message, held).await;
            }
            Source::Stage(stage) => {
                let settler = self.feed.settler.clone();
                let message = delivered.message;
                self.arriving += 1;
                self.pulls.push(Box::pin(async move {
                    let received = stage.receive(message, held, settler).await;
                    Step::Arrived(received.map(Box::new))
                }));
            }
        }
    }

    async fn item(
        &mut self,
        (priority, schema): (Priority, Option<Schema>),
        message: Message,
        mut held: Box<Held>,
    ) {
        held.output = Output::Result;
        if held.meta.deliveries <= 1 {
            let call = item::call_of(priority, message, &held);
            return self.take_in(Arrival { call, held, schema }).await;
        }
        self.arriving += 1;
        let settler = self.feed.settler.clone();
        self.pulls.push(Box::pin(async move {
            let admitted = item::admit((priority, schema), message, held, settler).await;
            Step::Arrived(admitted.map(Box::new))
        }));
    }

    /// Hands a message to the agents once it has its payload.
    async fn take_in(&mut self, arrival: Arrival) {
        if let Some(arrival) = self.fetching.start(arrival, &self.feed) {
            take_in(arrival, Found::Whole, &self.feed).await;
        }
    }

    /// Items that wait for agents that are all paused or failing go to another host.
    async fn look_after_waiting(&mut self) {
        if self.feed.crew.taking() > 0 || self.feed.crew.waiting() == 0 {
            self.deserted = None;
            return;
        }
        let since = *self.deserted.get_or_insert_with(Instant::now);
        if since.elapsed() >= limits::DESERTED {
            give_back_waiting(&self.feed.crew, &self.feed.settler).await;
        }
    }

    /// Takes back the polls that wait for work, and leaves the batches that are on their way.
    fn take_back_standing(&mut self) {
        for lane in &self.lanes {
            if lane.pull == Pulling::Standing {
                lane.stop.cancel();
            }
        }
    }

    fn take_back(&mut self) {
        for lane in &self.lanes {
            lane.stop.cancel();
        }
    }
}

/// Takes messages out of the way that break the connection whenever they are delivered.
async fn clear(puller: &Puller, settler: &Settler) {
    match puller.unreadable(limits::MAX_LOOK).await {
        Ok(found) => {
            for message in &found {
                settler.quarantine(message).await;
            }
        }
        Err(error) => tracing::debug!(%error, "not looked for unreadable messages"),
    }
}

async fn next(index: usize, mut pull: Box<Pull>, stop: CancellationToken) -> Step {
    let came = tokio::select! {
        biased;
        came = pull.next() => came,
        () = stop.cancelled() => {
            // What is on its way is still taken in: left there, it would come again after the ack
            // wait.
            pull.stop().await;
            pull.next().await
        }
    };
    match came {
        Some(Ok(delivered)) => Step::Item(index, pull, Box::new(delivered), stop),
        Some(Err(error)) => Step::Failed(index, error),
        None => Step::End(index),
    }
}

/// Hands back the items that wait for an agent when none will come soon. Messages of
/// subscriptions stay: nobody else would get them.
pub async fn give_back_waiting(crew: &Crew, settler: &Settler) {
    for _ in 0..crew.waiting() {
        let Some(delivery) = crew.try_take() else {
            return;
        };
        match delivery.answer {
            Answer::Held(held) => settler.give_back(held).await,
            answer => crew.offer(Delivery { answer, ..delivery }),
        }
    }
}
