//! In-memory consumers, agents and settler for the tests of the work queue.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use mistersmith_core::config::CircuitSpec;

use super::super::*;
use super::settled;
use crate::agents::PluginQueue;
use crate::circuit::CallResult;
use crate::delivery::RetryRule;
use crate::work::consumer::Source;
use mistersmith_core::names::Priority;

/// A transient error.
pub(super) fn unavailable(text: &str) -> TransportError {
    TransportError::Unavailable(text.to_owned())
}

/// A running work queue and its surroundings.
pub(super) struct Queue {
    pub(super) port: MemoryPort,
    pub(super) plugin_queue: Arc<PluginQueue>,
    pub(super) stop: CancellationToken,
    asks: mpsc::UnboundedReceiver<Asked>,
    task: JoinHandle<()>,
    consumers: usize,
}

#[derive(Clone)]
pub(super) struct MemoryPort(Arc<Inner>);

struct Inner {
    plugin_queue: Arc<PluginQueue>,
    asks: mpsc::UnboundedSender<Asked>,
    changes: watch::Sender<u64>,
    revivals: AtomicU64,
    stuck: AtomicBool,
    cleared: AtomicUsize,
    received: AtomicUsize,
    given_back: AtomicUsize,
    /// Cancels messages in intake; none where intake completes at once.
    arriving: Mutex<Option<CancellationToken>>,
    stopped: AtomicBool,
}

/// A pull that the queue requested.
pub(super) struct Asked {
    pub(super) consumer: String,
    pub(super) most: usize,
    expires: Duration,
    answer: oneshot::Sender<Result<MemoryPull, TransportError>>,
}

/// The consumer's side of a pull. Dropping it ends the pull.
pub(super) struct Running {
    messages: mpsc::UnboundedSender<u64>,
    taken_back: Arc<AtomicBool>,
}

pub(super) struct MemoryPull {
    messages: mpsc::UnboundedReceiver<u64>,
    taken_back: Arc<AtomicBool>,
}

impl Asked {
    /// The number of messages requested, and the longest wait for them.
    pub(super) fn request(&self) -> (usize, Duration) {
        (self.most, self.expires)
    }

    pub(super) fn fails(self, error: TransportError) {
        assert!(self.answer.send(Err(error)).is_ok());
    }

    pub(super) fn started(self) -> Running {
        let (messages, receiver) = mpsc::unbounded_channel();
        let taken_back = Arc::<AtomicBool>::default();
        let pull = MemoryPull {
            messages: receiver,
            taken_back: taken_back.clone(),
        };
        assert!(self.answer.send(Ok(pull)).is_ok());
        Running {
            messages,
            taken_back,
        }
    }
}

impl Running {
    /// Delivers a message and reports the remaining `backlog`.
    pub(super) fn deliver(&self, backlog: u64) {
        self.messages.send(backlog).unwrap();
    }

    pub(super) fn was_taken_back(&self) -> bool {
        self.taken_back.load(Ordering::Relaxed)
    }

    /// Keeps the pull running until the test ends.
    pub(super) fn keep(self) {
        std::mem::forget(self);
    }
}

impl RunningPull for MemoryPull {
    type Message = u64;

    async fn next(&mut self) -> Option<Result<u64, TransportError>> {
        self.messages.recv().await.map(Ok)
    }

    async fn stop(&mut self) {
        self.taken_back.store(true, Ordering::Relaxed);
    }

    fn backlog(message: &u64) -> u64 {
        *message
    }
}

impl PullPort for MemoryPort {
    type Puller = (MemoryPort, String);
    type Pull = MemoryPull;

    fn puller(&self, consumer: &WorkConsumer) -> Self::Puller {
        (self.clone(), consumer.durable.clone())
    }

    async fn pull(
        (port, consumer): &Self::Puller,
        most: usize,
        expires: Duration,
    ) -> Result<MemoryPull, TransportError> {
        let (answer, answered) = oneshot::channel();
        let asked = Asked {
            consumer: consumer.clone(),
            most,
            expires,
            answer,
        };
        let _ = port.0.asks.send(asked);
        let gone = |_| Err(unavailable("the test is over"));
        answered.await.unwrap_or_else(gone)
    }

    fn clear(&self, _: &Self::Puller) -> impl Future<Output = ()> + Send + 'static {
        let inner = self.0.clone();
        async move {
            inner.cleared.fetch_add(1, Ordering::Relaxed);
        }
    }

    async fn receive(&self, _: &WorkConsumer, _: u64) -> Option<BoxFuture<'static, ()>> {
        self.0.received.fetch_add(1, Ordering::Relaxed);
        let stop = self.0.arriving.lock().clone()?;
        Some(Box::pin(async move { stop.cancelled().await }))
    }

    fn stop_receiving(&self) {
        self.0.stopped.store(true, Ordering::Relaxed);
        if let Some(stop) = &*self.0.arriving.lock() {
            stop.cancel();
        }
    }

    fn plugin_queue(&self) -> &Arc<PluginQueue> {
        &self.0.plugin_queue
    }

    async fn give_back_waiting(&self) {
        while self.0.plugin_queue.try_take().is_some() {
            self.0.given_back.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn is_stuck(&self) -> bool {
        self.0.stuck.load(Ordering::Relaxed)
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }

    fn is_connected(&self) -> bool {
        true
    }

    fn revivals(&self) -> u64 {
        self.0.revivals.load(Ordering::Relaxed)
    }
}

impl MemoryPort {
    pub(super) fn set_stuck(&self, stuck: bool) {
        self.0.stuck.store(stuck, Ordering::Relaxed);
    }

    /// The connection broke on an unreadable message and was replaced.
    pub(super) fn revive(&self) {
        self.0.revivals.fetch_add(1, Ordering::Relaxed);
        self.0.changes.send_modify(|number| *number += 1);
    }

    /// Messages delivered from now on stay in intake until it is cancelled.
    pub(super) fn hold_arriving(&self) {
        *self.0.arriving.lock() = Some(CancellationToken::new());
    }

    pub(super) fn cleared(&self) -> usize {
        self.0.cleared.load(Ordering::Relaxed)
    }

    pub(super) fn given_back(&self) -> usize {
        self.0.given_back.load(Ordering::Relaxed)
    }

    pub(super) fn stopped_receiving(&self) -> bool {
        self.0.stopped.load(Ordering::Relaxed)
    }
}

impl Queue {
    /// A queue with one consumer for each of these priorities, named after it.
    pub(super) fn of(priorities: &[Priority]) -> Self {
        let (asks_in, asks) = mpsc::unbounded_channel();
        let plugin_queue = Arc::<PluginQueue>::default();
        let port = MemoryPort(Arc::new(Inner {
            plugin_queue: plugin_queue.clone(),
            asks: asks_in,
            changes: watch::channel(0).0,
            revivals: AtomicU64::new(0),
            stuck: AtomicBool::new(false),
            cleared: AtomicUsize::new(0),
            received: AtomicUsize::new(0),
            given_back: AtomicUsize::new(0),
            arriving: Mutex::default(),
            stopped: AtomicBool::new(false),
        }));
        let consumer = |priority: &Priority| WorkConsumer {
            stream: "WORK_QUEUE",
            durable: priority.to_string(),
            source: Source::Work {
                priority: *priority,
                schema: None,
            },
            rule: Arc::new(RetryRule {
                max_deliver: 3,
                backoff: Vec::new(),
            }),
        };
        let consumers = priorities.iter().map(consumer).collect();
        let stop = CancellationToken::new();
        let task = tokio::spawn(WorkQueue::new(port.clone(), consumers).run(stop.clone()));
        Self {
            port,
            plugin_queue,
            stop,
            asks,
            task,
            consumers: priorities.len(),
        }
    }

    /// The next pull that the queue requests.
    pub(super) async fn asked(&mut self) -> Asked {
        let asked = tokio::time::timeout(Duration::from_secs(60), self.asks.recv());
        asked.await.unwrap().unwrap()
    }

    /// Asserts that no pull was requested.
    pub(super) fn none(&mut self) {
        if let Ok(asked) = self.asks.try_recv() {
            panic!("pull of {} for {:?}", asked.consumer, asked.request());
        }
    }

    /// Asserts that no pull is requested within `span`.
    pub(super) async fn none_for(&mut self, span: Duration) {
        tokio::time::sleep(span).await;
        self.none();
    }

    /// Each consumer delivers one message to its first poll, and reports a backlog.
    pub(super) async fn has_backlog(&mut self, backlog: u64) {
        let plugin_queue = self.plugin_queue.clone();
        let idle = (plugin_queue.idle() == 0).then(|| plugin_queue.wait());
        let mut polls = Vec::new();
        for _ in 0..self.consumers {
            polls.push(self.asked().await.started());
        }
        drop(idle);
        for poll in polls {
            poll.deliver(backlog);
        }
        settled().await;
    }

    /// Number of messages received.
    pub(super) fn received(&self) -> usize {
        self.port.0.received.load(Ordering::Relaxed)
    }

    /// Fails calls of the plugin until its circuit opens.
    pub(super) fn open_circuit(&self) {
        let spec = CircuitSpec {
            service: "llm".parse().unwrap(),
            failures: 1,
            reset: Duration::from_secs(30),
        };
        self.plugin_queue.circuit.configure(Some(spec));
        let pass = self.plugin_queue.circuit.begin().unwrap();
        pass.ended("a-1", CallResult::Failed, None);
        assert!(!self.plugin_queue.circuit.lets_through());
    }

    pub(super) fn is_done(&self) -> bool {
        self.task.is_finished()
    }
}
