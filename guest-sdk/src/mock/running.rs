//! A running agent on a mock bus, and the deliveries of a test.

use serde_json::Value;

use super::Bus;
use super::imports::{self, Handling};
use super::payload::Payload;
use crate::agent::{Agent, Event, Health, Leadership};
use crate::error::Result;
use crate::handler::{self, Kind, Notice};
use crate::message::stage::stage_name;
use crate::message::work::WorkName;
use crate::reply::Reply;

/// An agent that [`Bus::start`] started. Its run-time subscriptions, and what it watches, end when
/// it is dropped.
pub struct Running<A: Agent> {
    bus: Bus,
    id: String,
    agent: A,
}

impl<A: Agent> Running<A> {
    pub(super) fn start(bus: &Bus) -> Result<Self> {
        let id = bus.state().next_agent_id();
        let agent = imports::enter(bus, &id, Handling::default(), A::start)?;
        Ok(Self {
            bus: bus.clone(),
            id,
            agent,
        })
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The agent itself, to look at what it remembers.
    #[must_use]
    pub fn agent(&self) -> &A {
        &self.agent
    }

    /// The agent itself, to change what it remembers. A method called on it here has no host to
    /// call.
    pub fn agent_mut(&mut self) -> &mut A {
        &mut self.agent
    }

    /// Delivers a message, with all that [`Delivery`] can say of it.
    ///
    /// # Errors
    /// What the agent returns.
    pub fn deliver(&mut self, delivery: Delivery) -> Result<Reply> {
        let (handling, mut deliveries) = self.arrive(vec![delivery]);
        let Some(delivery) = deliveries.pop() else {
            return Ok(Reply::none());
        };
        self.enter(handling, |agent| handler::dispatch(agent, delivery, 0))
    }

    /// Delivers the command `execute`.
    ///
    /// # Errors
    /// What the agent returns.
    pub fn execute(&mut self, payload: impl Into<Payload>) -> Result<Reply> {
        self.deliver(Delivery::execute(payload))
    }

    /// Delivers a work item; `subject` is one of the forms of `work.<domain>.<priority>.<task>`.
    ///
    /// # Errors
    /// What the agent returns; a rejection when `subject` is not one of a work item.
    pub fn work(&mut self, subject: &str, payload: impl Into<Payload>) -> Result<Reply> {
        self.deliver(Delivery::work(subject, payload))
    }

    /// Delivers the input of a stage; `subject` is `pipeline.<workflow>.<NN>.<stage>`.
    ///
    /// # Errors
    /// What the agent returns; a rejection when `subject` is not one of a stage.
    pub fn stage(&mut self, subject: &str, payload: impl Into<Payload>) -> Result<Reply> {
        self.deliver(Delivery::stage(subject, payload))
    }

    /// Delivers the question `scatter.<request>.task`.
    ///
    /// # Errors
    /// What the agent returns.
    pub fn scatter(&mut self, request: &str, payload: impl Into<Payload>) -> Result<Reply> {
        self.deliver(Delivery::scatter(request, payload))
    }

    /// Delivers a message of a subscription, whose sender waits for a reply: of one that the agent
    /// made, if that matches, and of the manifest otherwise.
    ///
    /// # Errors
    /// What the agent returns.
    pub fn message(&mut self, subject: &str, payload: impl Into<Payload>) -> Result<Reply> {
        self.deliver(Delivery::message(subject, payload))
    }

    /// Delivers several messages at once. The request id and the trace id are those of the first.
    ///
    /// # Errors
    /// What the agent returns for each.
    pub fn batch(&mut self, deliveries: Vec<Delivery>) -> Vec<Result<Reply>> {
        let (handling, deliveries) = self.arrive(deliveries);
        self.enter(handling, |agent| handler::dispatch_batch(agent, deliveries))
    }

    /// Replaces the configuration, and notifies the agent. An error that it returns is in the log.
    pub fn configure(&mut self, config: Value) {
        self.bus.state().config = config;
        self.notify(&Notice::Configuration);
    }

    /// Tells the agent that it leads a domain, or no longer does. An error is in the log.
    pub fn lead(&mut self, domain: &str, leading: bool, term: u64) {
        self.notify(&Notice::Leadership(Leadership {
            domain: domain.to_owned(),
            leading,
            term,
        }));
    }

    /// Tells the agent of `coord.<workflow>.<event>`. An error is in the log.
    pub fn coordinate(&mut self, workflow: &str, event: &str, payload: impl Into<Payload>) {
        self.notify(&Notice::Coordination(Event {
            workflow: workflow.to_owned(),
            event: event.to_owned(),
            payload: payload.into().bytes,
        }));
    }

    /// Notifies the agent of something else. An error is in the log.
    pub fn notice(&mut self, name: &str, json: &str) {
        self.notify(&Notice::Other(name.to_owned(), json.to_owned()));
    }

    /// Checks the health of the agent.
    pub fn health(&mut self) -> Health {
        self.enter(Handling::default(), Agent::health)
    }

    /// Ends the agent; an error that it returns is in the log.
    pub fn stop(mut self, reason: &str) {
        self.enter(Handling::default(), |agent| handler::stop(agent, reason));
    }

    fn notify(&mut self, notice: &Notice) {
        self.enter(Handling::default(), |agent| handler::notify(agent, notice));
    }

    fn enter<R>(&mut self, handling: Handling, body: impl FnOnce(&mut A) -> R) -> R {
        let agent = &mut self.agent;
        imports::enter(&self.bus, &self.id, handling, || body(agent))
    }

    /// Fills in what the test left open.
    fn arrive(&self, deliveries: Vec<Delivery>) -> (Handling, Vec<handler::Delivery>) {
        let mut state = self.bus.state();
        let number = state.next_delivery();
        let mut handling = Handling {
            request_id: format!("wq-{number}"),
            trace_id: format!("{number:032x}"),
            items: Vec::new(),
        };
        let mut arrived = Vec::new();
        for (index, mut delivery) in deliveries.into_iter().enumerate() {
            if index == 0 {
                let Handling {
                    request_id,
                    trace_id,
                    ..
                } = &mut handling;
                *request_id = delivery.request_id.take().unwrap_or(request_id.clone());
                *trace_id = delivery.trace_id.take().unwrap_or(trace_id.clone());
            }
            match &mut delivery.inner.kind {
                Kind::Execute => {
                    delivery.inner.subject = format!("agent.{}.cmd.execute", self.id);
                }
                Kind::Subscription { id, .. } => {
                    *id = state.subscription_of(&self.id, &delivery.inner.subject);
                }
                _ => {}
            }
            handling.items.push(delivery.headers);
            arrived.push(delivery.inner);
        }
        (handling, arrived)
    }
}

impl<A: Agent> Drop for Running<A> {
    fn drop(&mut self) {
        let mut state = self.bus.state();
        state.subscriptions.retain(|s| s.agent != self.id);
        let watched = &mut state.workflows.watched;
        watched.retain(|(agent, _)| *agent != self.id);
    }
}

/// A delivery of a test.
#[derive(Debug)]
#[must_use = "a delivery does nothing until it is given to `Running::deliver`"]
pub struct Delivery {
    inner: handler::Delivery,
    headers: Vec<(String, String)>,
    request_id: Option<String>,
    trace_id: Option<String>,
}

impl Delivery {
    fn new(kind: Kind, subject: &str, payload: impl Into<Payload>) -> Self {
        let payload = payload.into();
        let headers = payload
            .content_type
            .map(|value| ("Content-Type".to_owned(), value.to_owned()));
        Self {
            inner: handler::Delivery {
                kind,
                subject: subject.to_owned(),
                payload: payload.bytes,
            },
            headers: headers.into_iter().collect(),
            request_id: None,
            trace_id: None,
        }
    }

    /// The command `execute`.
    pub fn execute(payload: impl Into<Payload>) -> Self {
        Self::new(Kind::Execute, "", payload)
    }

    /// A work item at its first try; the priority is that of the subject.
    pub fn work(subject: &str, payload: impl Into<Payload>) -> Self {
        let priority = WorkName::parse(subject).map(|name| name.priority);
        let kind = Kind::Work {
            priority: priority.unwrap_or_default(),
            retries: 0,
        };
        Self::new(kind, subject, payload)
    }

    /// The input of a stage at its first try; the number is that of the subject.
    pub fn stage(subject: &str, payload: impl Into<Payload>) -> Self {
        let number = stage_name(subject).map(|(_, number, _)| number);
        let kind = Kind::Stage {
            number: number.unwrap_or_default(),
            retries: 0,
        };
        Self::new(kind, subject, payload)
    }

    /// The question `scatter.<request>.task`.
    pub fn scatter(request: &str, payload: impl Into<Payload>) -> Self {
        let kind = Kind::Scatter {
            request: request.to_owned(),
        };
        Self::new(kind, &format!("scatter.{request}.task"), payload)
    }

    /// A message of a subscription, whose sender waits for a reply.
    pub fn message(subject: &str, payload: impl Into<Payload>) -> Self {
        let kind = Kind::Subscription {
            id: None,
            wants_reply: true,
        };
        Self::new(kind, subject, payload)
    }

    /// A kind of delivery that the SDK has no method for.
    pub fn other(kind: &str, subject: &str, payload: impl Into<Payload>) -> Self {
        Self::new(Kind::Other(kind.to_owned()), subject, payload)
    }

    /// Says how many times a work item or a stage was tried before.
    pub fn retries(mut self, times: u32) -> Self {
        if let Kind::Work { retries, .. } | Kind::Stage { retries, .. } = &mut self.inner.kind {
            *retries = times;
        }
        self
    }

    /// Says whether the sender of a message waits for a reply.
    pub fn wants_reply(mut self, waits: bool) -> Self {
        if let Kind::Subscription { wants_reply, .. } = &mut self.inner.kind {
            *wants_reply = waits;
        }
        self
    }

    /// Adds a header; any name, as a sender may use any.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Sets the request id; `wq-<n>` otherwise.
    pub fn request_id(mut self, id: impl Into<String>) -> Self {
        self.request_id = Some(id.into());
        self
    }

    /// Sets the trace id; 32 hexadecimal digits otherwise.
    pub fn trace_id(mut self, id: impl Into<String>) -> Self {
        self.trace_id = Some(id.into());
        self
    }
}
