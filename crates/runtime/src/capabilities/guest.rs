//! The host's state of one instance of an agent.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::task::AbortOnDropHandle;

use super::{AgentContext, Source};
use mistersmith_nats::{RequestId, SharedHeaders, Trace};

/// Time reserved for the guest after a host function that waited: without it a slow answer would
/// end the instance instead of giving it an error.
const MARGIN: Duration = Duration::from_millis(50);

/// The call that is running.
pub(crate) struct Scope {
    /// When it must be over.
    pub(crate) deadline: Instant,
    /// When the sender stops waiting for the answer, if it said so.
    pub(crate) waits_until: Option<Instant>,
    /// The trace of the message that is handled; none outside `handle`.
    pub(crate) trace: Option<Trace>,
    /// The headers of the message that is handled; of the first one of a batch.
    pub(crate) headers: SharedHeaders,
    /// The headers of the other messages of a batch.
    pub(crate) more_headers: Vec<SharedHeaders>,
}

impl Scope {
    /// A call that handles no message: start, stop, health, notices.
    pub(crate) fn outside(deadline: Instant) -> Self {
        Self {
            deadline,
            waits_until: None,
            trace: None,
            headers: SharedHeaders::default(),
            more_headers: Vec::new(),
        }
    }
}

/// The state behind the capabilities of one instance; it ends with the instance, and its
/// subscriptions with it.
pub(crate) struct Guest {
    pub(crate) context: Arc<AgentContext>,
    scope: Scope,
    /// The trace of calls that handle no message.
    own_trace: Option<Trace>,
    pub(super) subscriptions: HashMap<u64, AbortOnDropHandle<()>>,
    /// The workflows that it watches.
    pub(super) watches: HashMap<String, AbortOnDropHandle<()>>,
    /// The workflows that it started, the oldest first; a bounded number.
    pub(super) started: VecDeque<String>,
}

impl Guest {
    pub(crate) fn new(context: Arc<AgentContext>) -> Self {
        Self {
            context,
            scope: Scope::outside(Instant::now()),
            own_trace: None,
            subscriptions: HashMap::new(),
            watches: HashMap::new(),
            started: VecDeque::new(),
        }
    }

    /// A call begins.
    pub(crate) fn enter(&mut self, scope: Scope) {
        self.scope = scope;
        self.own_trace = None;
    }

    /// Whether this instance still has this subscription or watch.
    pub(crate) fn wants(&self, source: &Source) -> bool {
        match source {
            Source::Subscription(id) => self.subscriptions.contains_key(id),
            Source::Workflow(workflow) => self.watches.contains_key(&**workflow),
        }
    }

    pub(super) fn scope(&self) -> &Scope {
        &self.scope
    }

    /// The trace and the agent of the messages that are sent now.
    pub(super) fn speaks(&mut self) -> (&Trace, &AgentContext) {
        let trace = match &self.scope.trace {
            Some(trace) => trace,
            None => self
                .own_trace
                .get_or_insert_with(|| Trace::begin(RequestId::new())),
        };
        (trace, &self.context)
    }

    /// The time left of the call, and of the sender's wait.
    pub(super) fn remaining(&self) -> Duration {
        left(self.answer_by())
    }

    /// When a host function must stop waiting.
    pub(super) fn patience(&self) -> Instant {
        shortly_before(self.scope.deadline)
    }

    /// When a request must stop waiting: its answer must still be of use to the sender.
    pub(super) fn request_patience(&self) -> Instant {
        shortly_before(self.answer_by())
    }

    /// When an answer stops being of use.
    fn answer_by(&self) -> Instant {
        let deadline = self.scope.deadline;
        self.scope
            .waits_until
            .map_or(deadline, |until| until.min(deadline))
    }
}

fn shortly_before(deadline: Instant) -> Instant {
    let margin = MARGIN.min(left(deadline) / 10);
    deadline.checked_sub(margin).unwrap_or(deadline)
}

fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}
