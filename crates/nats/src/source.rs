//! Subscriptions that outlive the client on which they were made.
//!
//! Each subscription of a connection is registered here with its pattern and queue group. On a new
//! client every registered subscription is made *before* anybody can publish through it: otherwise
//! an answer could overtake the subscription that waits for it, and be lost.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use async_nats::{Client, Subject, Subscriber};
use futures_util::StreamExt as _;
use futures_util::task::AtomicWaker;
use parking_lot::{Mutex, MutexGuard};

use super::denials::{DenialGuard, Denials};
use super::{TransportError, at_most};

/// How long it may take until the client library has room for one more subscription, or for the end
/// of one.
const WAIT: Duration = Duration::from_secs(2);
/// Subscriptions of former clients that one slow reader may still have to read; the oldest is
/// dropped.
const MAX_UNREAD: usize = 4;

/// Pattern, queue group and owner of a subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SubscriptionSpec {
    pub(super) pattern: String,
    pub(super) queue: Option<String>,
    /// The plugin whose subscription it is; none for the host's own.
    pub(super) owner: Option<Arc<str>>,
}

/// All subscriptions of one connection.
#[derive(Debug)]
pub(super) struct Subscriptions {
    entries: Mutex<Entries>,
    denials: Arc<Denials>,
}

#[derive(Debug, Default)]
struct Entries {
    next: u64,
    registered: BTreeMap<u64, Arc<Registered>>,
    /// The connection was closed for good.
    over: bool,
}

/// One subscription, and what the reader has still to fetch of it.
#[derive(Debug)]
struct Registered {
    wanted: SubscriptionSpec,
    state: Mutex<State>,
    reader: AtomicWaker,
}

#[derive(Debug, Default)]
struct State {
    made: VecDeque<Subscriber>,
    /// The number of the client that it was made on last.
    generation: u64,
    over: bool,
    denied: Option<DenialGuard>,
}

impl Subscriptions {
    pub(super) fn new(denials: Arc<Denials>) -> Arc<Self> {
        Arc::new(Self {
            entries: Mutex::default(),
            denials,
        })
    }

    /// Registers a subscription, and makes it on this client, whose number is `generation`.
    pub(super) async fn open(
        self: &Arc<Self>,
        wanted: SubscriptionSpec,
        client: &Client,
        generation: u64,
    ) -> Result<Source, TransportError> {
        let source = self.register(wanted);
        let made = subscribe(client, &source.registered.wanted).await?;
        source.registered.offer(generation, made);
        Ok(source)
    }

    fn register(self: &Arc<Self>, wanted: SubscriptionSpec) -> Source {
        let mut entries = self.lock();
        let state = State {
            over: entries.over,
            ..State::default()
        };
        let registered = Arc::new(Registered {
            wanted,
            state: Mutex::new(state),
            reader: AtomicWaker::new(),
        });
        entries.next += 1;
        let number = entries.next;
        entries.registered.insert(number, Arc::clone(&registered));
        Source {
            registered,
            now: None,
            registration: Registration {
                number,
                all: Arc::clone(self),
            },
        }
    }

    /// Makes all subscriptions on a new client. Ends early when that one has died as well.
    pub(super) async fn resubscribe_all(&self, client: &Client, generation: u64) {
        let registered: Vec<Arc<Registered>> = self.lock().registered.values().cloned().collect();
        for registered in registered {
            match subscribe(client, &registered.wanted).await {
                Ok(made) => registered.offer(generation, made),
                Err(_) => return,
            }
        }
    }

    /// Marks a subscription as denied; returns the plugins that own it.
    pub(super) fn denied(&self, pattern: &str, queue: Option<&str>) -> Vec<Arc<str>> {
        let entries = self.lock();
        let same = |registered: &&Arc<Registered>| {
            registered.wanted.pattern == pattern
                && queue.is_none_or(|q| registered.queue() == Some(q))
        };
        let mut owners = Vec::new();
        for registered in entries.registered.values().filter(same) {
            let Some(owner) = &registered.wanted.owner else {
                continue;
            };
            registered.lock().denied = Some(self.denials.add(owner, pattern));
            if !owners.contains(owner) {
                owners.push(Arc::clone(owner));
            }
        }
        owners
    }

    /// Forgets all denials: on a new connection the server denies each subscription again.
    pub(super) fn forget_denials(&self) {
        for registered in self.lock().registered.values() {
            registered.lock().denied = None;
        }
    }

    /// Ends all subscriptions once their readers have what has arrived: the connection is closed
    /// for good.
    pub(super) fn end(&self) {
        let mut entries = self.lock();
        entries.over = true;
        for registered in entries.registered.values() {
            registered.lock().over = true;
            registered.reader.wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock()
    }
}

impl Registered {
    fn queue(&self) -> Option<&str> {
        self.wanted.queue.as_deref()
    }

    /// Takes a subscription in, unless it was made on this client already: the one who subscribes
    /// and the one who makes the connection again can meet.
    fn offer(&self, generation: u64, made: Subscriber) {
        let mut state = self.lock();
        if generation <= state.generation {
            return;
        }
        state.generation = generation;
        if state.made.len() >= MAX_UNREAD {
            state.made.pop_front();
        }
        state.made.push_back(made);
        drop(state);
        self.reader.wake();
    }

    fn poll_made(&self, cx: &mut Context<'_>) -> Poll<Option<Subscriber>> {
        self.reader.register(cx.waker());
        let mut state = self.lock();
        match state.made.pop_front() {
            None if !state.over => Poll::Pending,
            made => Poll::Ready(made),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

async fn subscribe(
    client: &Client,
    wanted: &SubscriptionSpec,
) -> Result<Subscriber, TransportError> {
    let pattern = Subject::from(wanted.pattern.as_str());
    let subscribed = async {
        match &wanted.queue {
            Some(queue) => client.queue_subscribe(pattern, queue.clone()).await,
            None => client.subscribe(pattern).await,
        }
    };
    match at_most(WAIT, subscribed).await {
        Some(Ok(subscriber)) => Ok(subscriber),
        // Subjects are checked before; the library itself refuses only when its task has ended.
        Some(Err(error)) => Err(TransportError::Unavailable(format!(
            "cannot subscribe: {error}"
        ))),
        None => Err(TransportError::Unavailable(
            "the send queue to the NATS server is full".to_owned(),
        )),
    }
}

/// The messages of one subscription, over all clients of its connection. Dropping it unsubscribes.
#[derive(Debug)]
pub(super) struct Source {
    registered: Arc<Registered>,
    /// Made on the oldest client of which not everything is read yet.
    now: Option<Subscriber>,
    registration: Registration,
}

/// Keeps a subscription among those that are made again.
#[derive(Debug)]
struct Registration {
    number: u64,
    all: Arc<Subscriptions>,
}

impl Registration {
    fn end(&self) {
        let registered = self.all.lock().registered.remove(&self.number);
        // Outside the lock: its drop unsubscribes, and removes its denial.
        drop(registered);
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.end();
    }
}

impl Source {
    /// The next message; none when the connection was closed for good, or after [`Source::stop`]
    /// when all was read.
    pub(super) async fn next(&mut self) -> Option<async_nats::Message> {
        std::future::poll_fn(|cx| self.poll_next(cx)).await
    }

    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<async_nats::Message>> {
        loop {
            if let Some(now) = &mut self.now {
                match now.poll_next_unpin(cx) {
                    Poll::Ready(None) => self.now = None,
                    other => return other,
                }
            }
            match self.registered.poll_made(cx) {
                Poll::Ready(Some(made)) => self.now = Some(made),
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Unsubscribes. What has arrived by then is still read, and then none. Returns whether the
    /// client library took the request; otherwise nothing more can come.
    pub(super) async fn stop(&mut self) -> bool {
        self.registration.end();
        let newest = {
            let mut state = self.registered.lock();
            state.over = true;
            state.made.pop_back()
        };
        if let Some(mut newest) = newest {
            let told = drain(&mut newest).await;
            self.registered.lock().made.push_back(newest);
            return told;
        }
        match &mut self.now {
            Some(now) => drain(now).await,
            None => false,
        }
    }
}

async fn drain(subscriber: &mut Subscriber) -> bool {
    matches!(at_most(WAIT, subscriber.drain()).await, Some(Ok(())))
}
