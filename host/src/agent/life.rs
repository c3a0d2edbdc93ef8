//! The loop of an agent: which of the things that can happen next is done next.

mod batch;
mod beginning;
mod circuit;
mod ending;
mod going;
mod heard;
mod leadership;
mod once;
mod raising;
mod replacing;
mod told;

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::mpsc;

use crate::config::InstanceMode;
use crate::patterns::attempts::Register;
use crate::patterns::circuit::verdict;
use crate::patterns::crew::Taking;
use crate::patterns::disposition::Reason;
use crate::patterns::election::Office;
use crate::patterns::lifecycle::Step;
use crate::patterns::scatter::asks;
use crate::patterns::{AgentPort, Answer, Control, Crew, Delivery};
use crate::permissions::Ear;
use crate::runtime::{Call, Failure, Heard, Instance, Kind, Meters, Outcome};
use crate::status::AgentStatus;

use super::answer::{answer, is_overdue, tell_overdue};
use super::backoff::Backoff;
use raising::Raised;

use super::{Inboxes, Surroundings, Swap, Version};

pub(super) struct Life {
    port: AgentPort,
    inboxes: Inboxes,
    swaps: mpsc::Receiver<Box<Swap>>,
    /// Messages of the instance's run-time subscriptions. Each instance has a channel of its own:
    /// what its predecessor subscribed to means nothing to it.
    heard: mpsc::UnboundedReceiver<Box<Heard>>,
    version: Version,
    crew: Arc<Crew>,
    around: Surroundings,
    instance: Option<Instance>,
    backoff: Backoff,
    /// Not before, after a death.
    not_before: Option<Instant>,
    /// Held while messages are taken: not while paused or waiting to be started again.
    taking: Option<Taking>,
    /// What the agent may still send and log this second: a new instance does not begin with more.
    meters: Meters,
    /// What may be handed to it.
    ear: Ear,
    /// What the instance was told that it leads.
    office: Option<Office>,
    _vacating: leadership::Vacating,
    /// Tells when the circuit lets through, or does not.
    gate: tokio::sync::watch::Receiver<u64>,
    /// The first instance was announced; with `instance = "message"` the others are not.
    announced: bool,
    /// Which of its inboxes is looked at first for the next message.
    turn: usize,
    /// Where it says which messages it has begun.
    register: Arc<Register>,
}

/// What happens next.
enum Next {
    Told(Control),
    Replaced(Box<Swap>),
    Handle(Delivery),
    Heard(Box<Heard>),
    /// Something changed: look again.
    Look,
    /// Nobody can tell this agent anything any more.
    Orphaned,
}

impl Life {
    pub(super) fn new(
        port: AgentPort,
        inboxes: Inboxes,
        swaps: mpsc::Receiver<Box<Swap>>,
        version: Version,
        crew: Arc<Crew>,
        around: Surroundings,
    ) -> Self {
        let meters = Meters::new(&version.spec.limits);
        Self {
            register: around.settler.attempts().register(&port.id),
            ear: Ear::new(version.permissions.agent(&port.id)),
            _vacating: leadership::Vacating(port.cell.clone()),
            office: None,
            gate: crew.circuit.changes(),
            port,
            inboxes,
            swaps,
            heard: mpsc::unbounded_channel().1,
            version,
            crew,
            around,
            instance: None,
            backoff: Backoff::default(),
            not_before: None,
            taking: None,
            meters,
            announced: false,
            turn: 0,
        }
    }

    /// Lives until told to stop.
    ///
    /// What is rare goes into a place of its own: it would make the task of every agent larger.
    pub(super) async fn run(mut self) {
        self.adopt();
        self.announce(&Step::Created);
        loop {
            self.revive().await;
            if !self.knows_its_office() {
                Box::pin(self.tell_of_leadership()).await;
            }
            match self.next().await {
                Next::Handle(delivery) => {
                    self.handle(delivery).await;
                    self.go_on().await;
                }
                Next::Heard(heard) => {
                    self.handle_heard(heard).await;
                    self.go_on().await;
                }
                Next::Replaced(swap) => Box::pin(self.replaced(swap)).await,
                Next::Look => {}
                Next::Orphaned => return Box::pin(self.end("abandoned")).await,
                Next::Told(Control::Stop { reason, done }) => {
                    Box::pin(self.finish_waiting(reason)).await;
                    Box::pin(self.end(reason)).await;
                    let _ = done.send(());
                    return;
                }
                Next::Told(control) => Box::pin(self.told(control)).await,
            }
        }
    }

    /// Sees to it that there is an instance if one is due, and that the crew knows whether this
    /// agent takes messages.
    async fn revive(&mut self) {
        let due = self.not_before.is_none_or(|at| at <= Instant::now());
        if self.instance.is_none() && due {
            let version = self.version.clone();
            match Box::pin(self.raise(&version, self.meters.clone())).await {
                Ok(raised) => self.ready(raised),
                Err(reason) => self.fell(reason),
            }
        }
        let takes = self.instance.is_some() && !self.port.cell.is_paused();
        match (takes, self.taking.is_some()) {
            (true, false) => self.taking = Some(self.crew.join()),
            (false, true) => self.taking = None,
            _ => {}
        }
        self.gate.mark_unchanged();
        self.port.cell.set_takes(takes);
    }

    fn ready(&mut self, raised: Raised) {
        self.instance = Some(raised.instance);
        self.heard = raised.heard;
        self.port.cell.reads(raised.config);
        self.not_before = None;
        self.port.cell.set_status(AgentStatus::Ready);
        if self.is_worth_telling() {
            self.announce(&Step::Ready);
        }
        self.announced = true;
    }

    /// An instance for every message is not an event for every message.
    fn is_worth_telling(&self) -> bool {
        !self.announced || self.version.spec.instance == InstanceMode::Agent
    }

    async fn next(&mut self) -> Next {
        let cell = self.port.cell.clone();
        let turned = cell.turned.notified();
        let gated = self.gate.changed();
        let takes = self.taking.is_some() && self.crew.circuit.lets_through();
        let idle = takes.then(|| self.crew.wait());
        let wake = async {
            match self.not_before {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        let control = async {
            tokio::select! {
                biased;
                told = self.inboxes.control.recv() => told.map_or(Next::Orphaned, Next::Told),
                Some(swap) = self.swaps.recv() => Next::Replaced(swap),
                () = turned => Next::Look,
                Ok(()) = gated => Next::Look,
                () = wake => Next::Look,
            }
        };
        let next = tokio::select! {
            next = control => next,
            Some(delivery) = self.inboxes.mailbox.recv(), if takes => Next::Handle(delivery),
            Some(heard) = self.heard.recv(), if takes => Next::Heard(heard),
            delivery = self.crew.take(), if takes => Next::Handle(delivery),
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
            answer: waiting,
            weight,
            rest: _,
        } = delivery;
        drop(weight);
        if !self.hears(&call) {
            return;
        }
        if is_overdue(&call) {
            return Box::pin(tell_overdue(&self.port, &call, waiting)).await;
        }
        let Some(pass) = self.crew.circuit.begin() else {
            return Box::pin(self.hold(call, waiting)).await;
        };
        let (call, waiting) = match (self.version.spec.idempotence, waiting) {
            (Some(window), Answer::Held(held)) => {
                match Box::pin(self.unless_done(window, call, held)).await {
                    Some((call, held)) => (call, Answer::Held(held)),
                    None => return,
                }
            }
            (_, waiting) => (call, waiting),
        };
        let Some(waiting) = self.record(&call, waiting).await else {
            return;
        };
        let begun = Instant::now();
        self.port.cell.begin(begun);
        let outcome = self.called(begun, &call).await;
        // The instance has looked at the clock, if it is still there.
        let took = self.instance.as_ref().and_then(Instance::took);
        let took = took.unwrap_or_else(|| begun.elapsed());
        self.crew.called(took);
        self.around.settler.times().handled(&waiting, begun, took);
        let reason = Reason::of(&outcome);
        let error = reason.as_ref().map(|reason| reason.message.as_str());
        pass.ended(self.port.id.as_str(), verdict(&outcome), error);
        self.port
            .cell
            .end(&call.kind, took, reason.as_ref().map(|r| r.message.clone()));
        if let Outcome::Died(_) = &outcome {
            if let Some(reason) = reason {
                self.fell(reason);
            }
        } else {
            self.backoff.lived();
        }
        answer(
            &self.port,
            &self.around.settler,
            &self.around.work,
            call,
            waiting,
            outcome,
        )
        .await;
    }

    /// Calls the handler, in this agent's instance or, where the manifest wants it, in one of its own.
    async fn called(&mut self, begun: Instant, call: &Call) -> Outcome {
        let Some(instance) = &mut self.instance else {
            // The loop takes messages only while there is an instance.
            return Outcome::Failed(Failure::Retry {
                message: "the agent has no instance".to_owned(),
                delay: None,
            });
        };
        let outcome = instance.handle_since(begun, call).await;
        self.after(matches!(outcome, Outcome::Died(_))).await;
        outcome
    }

    /// Lets go of the instance, if the call ended it or the manifest wants a new one for the next.
    async fn after(&mut self, ended: bool) {
        let fresh = self.version.spec.instance == InstanceMode::Message;
        if (ended || fresh)
            && let Some(used) = self.instance.take()
            && !ended
        {
            Box::pin(used.stop("shutdown")).await;
        }
    }

    /// What delivers to every agent of the plugin cannot know a `deny` that names this one, nor a
    /// group that the agent itself asks.
    fn hears(&mut self, call: &Call) -> bool {
        match call.kind {
            Kind::Subscription { id: None, .. } => self.ear.hears(&call.subject),
            Kind::Scatter(_) => {
                self.ear.hears(&call.subject) && !asks(&self.port.id, &call.headers)
            }
            _ => true,
        }
    }

    /// The instance is dead, or was never alive.
    fn fell(&mut self, reason: Reason) {
        self.resign();
        let wait = self.backoff.died();
        tracing::warn!(agent = %self.port.id, plugin = %self.port.plugin, kind = %reason.kind,
            restart_ms = wait.as_millis() as u64, "{}", reason.message);
        self.instance = None;
        self.taking = None;
        self.announced = false;
        self.not_before = Some(Instant::now() + wait);
        self.port.cell.failed(reason.message.clone());
        self.port.cell.set_status(AgentStatus::Error);
        self.announce(&Step::Error(reason));
    }

    fn adopt(&self) {
        self.port.cell.runs(&self.version.spec);
    }

    fn announce(&self, step: &Step) {
        let spec = &self.version.spec;
        let outbox = &self.around.outbox;
        let body = step.body(
            &self.port.id,
            spec.name.as_str(),
            &spec.version,
            outbox.host(),
        );
        outbox.event(&self.port.id, step.subject(&self.port.id), body);
    }
}
