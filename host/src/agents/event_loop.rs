//! The agent event loop: selects the next message or control message and handles it to its end.
//!
//! An agent handles one thing at a time, and takes control messages before messages. Otherwise a
//! stop, a reload or a lost lease would wait behind the queue.

mod answering;
mod batch;
mod circuit;
mod control;
mod fast_path;
mod instantiate;
mod leadership;
mod reload;
mod runtime_messages;
mod shutdown;

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::mpsc;
use tokio::time::Instant as Moment;

use super::candidate::Leadership;
use super::directory::{AgentHandle, Control};
use super::plugin_queue::ActiveGuard;
use super::plugin_queue::PluginQueue;
use crate::circuit::call_result;
use crate::delivery::{Delivery, Destination, Reason};
use crate::events::lifecycle::LifecycleEvent;
use crate::scatter::asks;
use crate::status::{AgentStatus, StopReason};
use mistersmith_core::config::InstanceMode;
use mistersmith_core::limits;
use mistersmith_core::permissions::SubjectFilterCache;
use mistersmith_runtime::{Call, Failure, Kind, Outcome, RateLimits, RuntimeMessage};

use super::answer::{is_overdue, reply_overdue};
use instantiate::Instantiated;
use mistersmith_core::backoff::Backoff;

use super::inboxes::{Inboxes, Reload};
use super::loop_port::{AgentInstance, AgentPort, Revision};

pub(super) struct EventLoop<P: AgentPort> {
    host: P,
    handle: AgentHandle,
    inboxes: Inboxes,
    reloads: Swaps<P::Revision>,
    /// Messages of the instance's run-time subscriptions. Each instance has its own channel,
    /// because subscriptions end with their instance.
    runtime_messages: mpsc::UnboundedReceiver<Box<RuntimeMessage>>,
    revision: P::Revision,
    plugin_queue: Arc<PluginQueue>,
    instance: Option<P::Instance>,
    backoff: Backoff,
    /// The earliest restart after an instance ended.
    not_before: Option<Moment>,
    /// Present while the agent takes messages; none while it is paused or waits for a restart.
    taking: Option<ActiveGuard>,
    /// The rate limits for publishing and logging. They outlive the instance, so that a new one
    /// gets no fresh allowance.
    rates: RateLimits,
    /// Cached answers of whether the permissions let this agent receive a subject.
    subjects: SubjectFilterCache,
    /// The leadership that the instance was last notified of.
    leadership: Option<Leadership>,
    _vacating: leadership::StepsDown,
    /// Changes when the circuit opens or closes.
    gate: tokio::sync::watch::Receiver<u64>,
    /// Whether the first instance was announced; with `instance = "message"` later ones are not.
    announced: bool,
    /// Rotates which inbox is polled first.
    turn: usize,
}

/// Receives requests to replace the agent's revision.
type Swaps<R> = mpsc::Receiver<Box<Reload<R>>>;

/// The next thing to handle.
enum Next<R> {
    Control(Control),
    Replaced(Box<Reload<R>>),
    Handle(Delivery),
    RuntimeMessage(Box<RuntimeMessage>),
    /// A condition changed: evaluate the loop's conditions again.
    Look,
    /// All senders of control messages are gone.
    Orphaned,
}

impl<P: AgentPort> EventLoop<P> {
    pub(super) fn new(
        host: P,
        revision: P::Revision,
        handle: AgentHandle,
        (inboxes, reloads): (Inboxes, Swaps<P::Revision>),
    ) -> Self {
        let plugin_queue = handle.plugin_queue.clone();
        let rates = RateLimits::new(&revision.spec().limits);
        Self {
            subjects: SubjectFilterCache::new(revision.permissions(&handle.id)),
            host,
            _vacating: leadership::StepsDown(handle.state.clone()),
            leadership: None,
            gate: plugin_queue.circuit.changes(),
            handle,
            inboxes,
            reloads,
            runtime_messages: mpsc::unbounded_channel().1,
            revision,
            plugin_queue,
            instance: None,
            backoff: restarts(),
            not_before: None,
            taking: None,
            rates,
            announced: false,
            turn: 0,
        }
    }

    /// Runs until the agent is stopped.
    ///
    /// Rare branches are boxed futures: inlined, they would enlarge the task of every agent.
    pub(super) async fn run(mut self) {
        self.adopt();
        self.announce(&LifecycleEvent::Created);
        loop {
            self.revive().await;
            if !self.knows_its_leadership() {
                Box::pin(self.tell_of_leadership()).await;
            }
            match self.next().await {
                Next::Handle(delivery) => {
                    self.handle(delivery).await;
                    self.drain_ready().await;
                }
                Next::RuntimeMessage(message) => {
                    self.handle_runtime_message(message).await;
                    self.drain_ready().await;
                }
                Next::Replaced(reload) => Box::pin(self.replaced(reload)).await,
                Next::Look => {}
                Next::Orphaned => return Box::pin(self.end(StopReason::Abandoned)).await,
                Next::Control(Control::Stop { reason, done }) => {
                    Box::pin(self.finish_waiting(reason)).await;
                    Box::pin(self.end(reason)).await;
                    let _ = done.send(());
                    return;
                }
                Next::Control(control) => Box::pin(self.handle_control(control)).await,
            }
        }
    }

    /// Starts an instance if one is due, and keeps the plugin queue's count of active agents in
    /// step.
    async fn revive(&mut self) {
        let due = self.not_before.is_none_or(|at| at <= Moment::now());
        if self.instance.is_none() && due {
            let revision = self.revision.clone();
            match Box::pin(self.instantiate(&revision, self.rates.clone())).await {
                Ok(instantiated) => self.ready(instantiated),
                Err(reason) => self.failed(reason),
            }
        }
        let state = &self.handle.state;
        let takes = self.instance.is_some() && !state.is_paused() && state.fence.is_open();
        match (takes, self.taking.is_some()) {
            (true, false) => self.taking = Some(self.plugin_queue.join()),
            (false, true) => self.taking = None,
            _ => {}
        }
        self.gate.mark_unchanged();
        self.handle.state.set_takes(takes);
    }

    fn ready(&mut self, instantiated: Instantiated<P::Instance>) {
        self.instance = Some(instantiated.instance);
        self.runtime_messages = instantiated.runtime_messages;
        self.handle.state.set_config(instantiated.config);
        self.not_before = None;
        self.handle.state.set_status(AgentStatus::Ready);
        if self.is_worth_telling() {
            self.announce(&LifecycleEvent::Ready);
        }
        self.announced = true;
    }

    /// With `instance = "message"` only the first instance is announced.
    fn is_worth_telling(&self) -> bool {
        !self.announced || self.revision.spec().instance == InstanceMode::Agent
    }

    async fn next(&mut self) -> Next<P::Revision> {
        let state = self.handle.state.clone();
        let changed = state.changed.notified();
        let gated = self.gate.changed();
        let takes = self.taking.is_some() && self.plugin_queue.circuit.lets_through();
        let idle = takes.then(|| self.plugin_queue.wait());
        let wake = async {
            match self.not_before {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        let control = async {
            tokio::select! {
                biased;
                control = self.inboxes.control.recv() => {
                    control.map_or(Next::Orphaned, Next::Control)
                }
                Some(reload) = self.reloads.recv() => Next::Replaced(reload),
                () = changed => Next::Look,
                Ok(()) = gated => Next::Look,
                () = wake => Next::Look,
            }
        };
        // `select!` polls the inboxes in random order, so that none starves.
        let message = async {
            tokio::select! {
                Some(delivery) = self.inboxes.mailbox.recv(), if takes => Next::Handle(delivery),
                Some(message) = self.runtime_messages.recv(), if takes => {
                    Next::RuntimeMessage(message)
                }
                delivery = self.plugin_queue.take(), if takes => Next::Handle(delivery),
                else => std::future::pending().await,
            }
        };
        let next = tokio::select! {
            biased;
            next = control => next,
            next = message => next,
        };
        drop(idle);
        next
    }

    async fn handle(&mut self, mut delivery: Delivery) {
        if let Some(rest) = delivery.rest.take() {
            return Box::pin(self.handle_batch(delivery, rest)).await;
        }
        let Delivery {
            call,
            destination,
            charge,
            rest: _,
        } = delivery;
        drop(charge);
        if !self.receives(&call) {
            return;
        }
        if is_overdue(&call) {
            return Box::pin(reply_overdue(&self.handle, &call, destination)).await;
        }
        let Some(pass) = self.plugin_queue.circuit.begin() else {
            return Box::pin(self.requeue(call, destination)).await;
        };
        let (call, destination) = match (self.revision.spec().idempotence, destination) {
            (Some(window), Destination::HeldMessage(held)) => {
                match Box::pin(self.host.unless_done(&self.handle, window, call, held)).await {
                    Some((call, held)) => (call, Destination::HeldMessage(held)),
                    None => return,
                }
            }
            (_, destination) => (call, destination),
        };
        let destination = match destination {
            Destination::HeldMessage(held) => {
                match self.host.begin(&self.handle.id, &call, held).await {
                    Some(held) => Destination::HeldMessage(held),
                    None => return,
                }
            }
            destination => destination,
        };
        let begun = Instant::now();
        self.handle.state.begin(begun);
        let outcome = self.called(begun, &call).await;
        // The instance measures the call itself; if it is gone, the loop's own measurement is used.
        let took = self.instance.as_ref().and_then(AgentInstance::took);
        let took = took.unwrap_or_else(|| begun.elapsed());
        self.plugin_queue.called(took);
        self.host.handled(&call, &destination, begun, took);
        let reason = Reason::of(&outcome);
        let error = reason.as_ref().map(|reason| reason.message.as_str());
        pass.ended(self.handle.id.as_str(), call_result(&outcome), error);
        self.handle
            .state
            .end(&call.kind, took, reason.as_ref().map(|r| r.message.clone()));
        if let Outcome::Exited(_) = &outcome {
            if let Some(reason) = reason {
                self.failed(reason);
            }
        } else {
            self.backoff.succeeded();
        }
        self.dispatch(call, destination, outcome).await;
    }

    /// Calls the handler, in the agent's instance or, with `instance = "message"`, in a fresh one.
    async fn called(&mut self, begun: Instant, call: &Call) -> Outcome {
        let Some(instance) = &mut self.instance else {
            // Unreachable: the loop takes messages only while there is an instance.
            return Outcome::Failed(Failure::Retry {
                message: "the agent has no instance".to_owned(),
                delay: None,
            });
        };
        let outcome = instance.handle(begun, call).await;
        self.after(matches!(outcome, Outcome::Exited(_))).await;
        outcome
    }

    /// Drops the instance if the call ended it, or if the manifest asks for one per message.
    async fn after(&mut self, ended: bool) {
        let fresh = self.revision.spec().instance == InstanceMode::Message;
        if (ended || fresh)
            && let Some(used) = self.instance.take()
            && !ended
        {
            Box::pin(used.stop(StopReason::Shutdown.as_str())).await;
        }
    }

    /// Whether this agent's permissions let it receive the message. Deliveries to every agent of a
    /// plugin check neither a `deny` of a single agent nor a group that this agent itself asks.
    fn receives(&mut self, call: &Call) -> bool {
        match call.kind {
            Kind::Subscription { id: None, .. } => self.subjects.may_receive(&call.subject),
            Kind::Scatter(_) => {
                self.subjects.may_receive(&call.subject) && !asks(&self.handle.id, &call.headers)
            }
            _ => true,
        }
    }

    /// Records that the instance ended or failed to start, and schedules a restart.
    fn failed(&mut self, reason: Reason) {
        self.resign();
        let wait = self.backoff.failed();
        tracing::warn!(agent = %self.handle.id, plugin = %self.handle.plugin, kind = %reason.kind,
            restart_ms = wait.as_millis() as u64, "{}", reason.message);
        self.instance = None;
        self.taking = None;
        self.announced = false;
        self.not_before = Some(Moment::now() + wait);
        self.handle.state.failed(reason.message.clone());
        self.handle.state.set_status(AgentStatus::Error);
        self.announce(&LifecycleEvent::Error(reason));
    }

    fn adopt(&self) {
        self.handle.state.set_running(self.revision.spec());
    }

    fn announce(&self, step: &LifecycleEvent) {
        self.host
            .announce(&self.handle.id, self.revision.spec(), step);
    }
}

/// The backoff between restarts of an ended instance.
const fn restarts() -> Backoff {
    Backoff::new(limits::RESTART_FIRST, limits::RESTART_MOST)
}

#[cfg(test)]
mod tests;
