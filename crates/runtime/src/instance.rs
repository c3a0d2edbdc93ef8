//! One instance of a component: a store that handles one call at a time until it ends.
//!
//! Whatever ends a call early (a trap, a limit, an error of the host, or a caller that stops
//! waiting) ends the instance: the state of its memory is unknown.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::OwnedSemaphorePermit;
use wasmtime::{Engine, Store};

use super::call::{Call, Failure, Health, Notice, Outcome, Reply, answer};
use super::component::Component;
use super::cpu::{ComputeSlots, CpuMeter};
use super::exit_reason::ExitReason;
use super::running::{CallBudget, Stopped, run};
use super::state::{State, batch_fuel, hostcall_fuel};
use super::ticker::EpochSignal;
use crate::bindings::Agent;
use crate::bindings::exports::mistersmith::agent::handler as wit;
use crate::capabilities::{AgentContext, Scope, Source};

/// A running agent component.
pub struct Instance {
    /// None while a call runs, and after the end: a call that is dropped takes the store with it.
    live: Option<Box<Live>>,
    context: Arc<AgentContext>,
    /// Its memory, as it was last added to the agent's counter.
    reported_memory: usize,
    /// Its slot among the instances of the host, where no pool counts them.
    place: Option<OwnedSemaphorePermit>,
}

struct Live {
    store: Store<State>,
    agent: Agent,
    meter: Arc<CpuMeter>,
    slots: ComputeSlots,
}

impl Instance {
    /// Makes an instance. Its own initialisation runs now, within what `start` may use.
    pub(super) async fn new(
        engine: &Engine,
        component: &Component,
        context: Arc<AgentContext>,
        (slots, epochs): (ComputeSlots, EpochSignal),
    ) -> Result<Self, ExitReason> {
        let wall = context.limits.start_timeout;
        let budget = CallBudget::new(wall, wall);
        let mut store = State::store(engine, Arc::clone(&context), slots.clone(), epochs);
        enter(&mut store, Scope::outside(budget.deadline), budget);
        let meter = Arc::clone(&store.data().cpu.meter);
        let made = {
            let made = pin!(component.pre.instantiate_async(&mut store));
            run(budget, &meter, &slots, made).await
        };
        let agent = made.map_err(|stopped| stopped.exit_reason(&mut store))?;
        let live = Some(Box::new(Live {
            store,
            agent,
            meter,
            slots,
        }));
        let mut made = Self {
            live,
            context,
            reported_memory: 0,
            place: None,
        };
        made.report_memory();
        Ok(made)
    }

    /// Keeps its slot among the instances of the host until its end.
    pub(super) fn holds(&mut self, place: Option<OwnedSemaphorePermit>) {
        self.place = place;
    }

    /// Lets the agent prepare itself. Called once, before anything else.
    pub async fn start(&mut self) -> Outcome<()> {
        self.try_start().await.into()
    }

    async fn try_start(&mut self) -> Result<Result<(), Failure>, ExitReason> {
        let wall = self.context.limits.start_timeout;
        // Preparing is rare and may be heavy: it may compute for as long as it may take.
        let budget = CallBudget::new(wall, wall);
        let mut live = self.begin(budget, Scope::outside(budget.deadline))?;
        let handler = live.agent.mistersmith_agent_handler();
        let returned = {
            let called = pin!(handler.call_start(&mut live.store));
            run(budget, &live.meter, &live.slots, called).await
        };
        let started = self.end(live, returned)?;
        Ok(started.map_err(Failure::from))
    }

    /// Hands over one message.
    pub async fn handle(&mut self, call: &Call) -> Outcome {
        self.handle_since(Instant::now(), call).await
    }

    /// As [`Instance::handle`], for a caller that has just read the clock.
    pub async fn handle_since(&mut self, begun: Instant, call: &Call) -> Outcome {
        self.try_handle(begun, call).await.into()
    }

    async fn try_handle(
        &mut self,
        begun: Instant,
        call: &Call,
    ) -> Result<Result<Option<Reply>, Failure>, ExitReason> {
        let limits = &self.context.limits;
        let budget = CallBudget::since(begun, limits.timeout, limits.cpu);
        let scope = Scope {
            deadline: budget.deadline,
            waits_until: call.waits_until,
            trace: Some(call.trace.clone()),
            headers: call.headers.clone(),
            more_headers: Vec::new(),
        };
        let kind = wit::Kind::from(call.kind.clone());
        let mut live = self.begin(budget, scope)?;
        let handler = live.agent.mistersmith_agent_handler();
        let returned = {
            let called =
                pin!(handler.call_handle(&mut live.store, &kind, &call.subject, &call.payload));
            run(budget, &live.meter, &live.slots, called).await
        };
        let answered = self.end(live, returned)?;
        Ok(answer(&self.context, answered))
    }

    /// Hands over several messages at once; one answer for each, in order. They continue the trace
    /// of the first. A future of this that is dropped has emptied them.
    pub async fn handle_batch(
        &mut self,
        calls: &mut [Box<Call>],
    ) -> Outcome<Vec<Result<Option<Reply>, Failure>>> {
        self.try_handle_batch(calls).await.into()
    }

    async fn try_handle_batch(
        &mut self,
        calls: &mut [Box<Call>],
    ) -> Result<Result<Vec<Result<Option<Reply>, Failure>>, Failure>, ExitReason> {
        let budget = self.budget();
        let mut scope = Scope::outside(budget.deadline);
        scope.waits_until = longest(calls.iter().map(|call| call.waits_until));
        let mut live = self.live.take().ok_or_else(ExitReason::gone)?;
        let each = calls.iter_mut();
        let items: Vec<wit::Item> = each.map(|call| lent(call, &mut scope)).collect();
        enter(&mut live.store, scope, budget);
        let fuel = batch_fuel(items.len(), self.context.limits.payload);
        live.store.set_hostcall_fuel(fuel);
        let handler = live.agent.mistersmith_agent_handler();
        let returned = {
            let called = pin!(handler.call_handle_batch(&mut live.store, &items));
            run(budget, &live.meter, &live.slots, called).await
        };
        for (call, item) in calls.iter_mut().zip(items) {
            (call.subject, call.payload) = (item.subject, item.payload.into());
        }
        let answers = self.end(live, returned)?;
        if answers.len() != calls.len() {
            let problem = format!(
                "the agent gave {} answers to {} messages",
                answers.len(),
                calls.len()
            );
            return Ok(Err(Failure::Other(problem)));
        }
        let context = &self.context;
        Ok(Ok(answers
            .into_iter()
            .map(|answered| answer(context, answered))
            .collect()))
    }

    /// Notifies the agent.
    pub async fn notify(&mut self, notice: Notice) -> Outcome<()> {
        self.try_notify(notice.into()).await.map(Ok).into()
    }

    async fn try_notify(&mut self, notice: wit::Notice) -> Result<(), ExitReason> {
        let budget = self.budget();
        let mut live = self.begin(budget, Scope::outside(budget.deadline))?;
        let handler = live.agent.mistersmith_agent_handler();
        let returned = {
            let called = pin!(handler.call_notify(&mut live.store, &notice));
            run(budget, &live.meter, &live.slots, called).await
        };
        self.end(live, returned)
    }

    /// Checks the health of the agent.
    pub async fn health(&mut self) -> Outcome<Health> {
        self.try_health()
            .await
            .map(|report| Ok(report.into()))
            .into()
    }

    async fn try_health(&mut self) -> Result<wit::HealthReport, ExitReason> {
        let budget = self.budget();
        let mut live = self.begin(budget, Scope::outside(budget.deadline))?;
        let handler = live.agent.mistersmith_agent_handler();
        let returned = {
            let called = pin!(handler.call_health(&mut live.store));
            run(budget, &live.meter, &live.slots, called).await
        };
        self.end(live, returned)
    }

    /// Lets the agent finish, and ends the instance. `reason` is `shutdown`, `reload` or `drain`.
    pub async fn stop(mut self, reason: &str) -> Outcome<()> {
        self.try_stop(reason).await.map(Ok).into()
    }

    async fn try_stop(&mut self, reason: &str) -> Result<(), ExitReason> {
        let limits = &self.context.limits;
        let budget = CallBudget::new(limits.stop_timeout, limits.cpu);
        let mut live = self.begin(budget, Scope::outside(budget.deadline))?;
        let handler = live.agent.mistersmith_agent_handler();
        let returned = {
            let called = pin!(handler.call_stop(&mut live.store, reason));
            run(budget, &live.meter, &live.slots, called).await
        };
        self.end(live, returned)
    }

    /// Whether it can be called; once false, always false.
    pub fn is_alive(&self) -> bool {
        self.live.is_some()
    }

    /// Whether this instance has made this subscription or watch and not ended it. Messages of
    /// others are to be dropped.
    pub fn wants(&self, source: &Source) -> bool {
        let live = self.live.as_ref();
        live.is_some_and(|live| live.store.data().guest.wants(source))
    }

    /// Bytes of its memories and tables; 0 after its end.
    pub fn memory(&self) -> usize {
        self.live
            .as_ref()
            .map_or(0, |live| live.store.data().memory.used())
    }

    /// How long its last call took, from its begin to its end; none after the end of the instance.
    pub fn took(&self) -> Option<Duration> {
        let live = self.live.as_ref()?;
        Some(live.meter.took())
    }

    fn budget(&self) -> CallBudget {
        CallBudget::new(self.context.limits.timeout, self.context.limits.cpu)
    }

    fn begin(&mut self, budget: CallBudget, scope: Scope) -> Result<Box<Live>, ExitReason> {
        let mut live = self.live.take().ok_or_else(ExitReason::gone)?;
        enter(&mut live.store, scope, budget);
        Ok(live)
    }

    /// Keeps the instance if the call came back.
    fn end<T>(
        &mut self,
        mut live: Box<Live>,
        returned: Result<T, Stopped>,
    ) -> Result<T, ExitReason> {
        let computed = u64::try_from(live.meter.total().as_nanos()).unwrap_or(u64::MAX);
        self.context.counters.computed_ns.add(computed);
        let ended = match returned {
            Ok(value) => {
                self.live = Some(live);
                Ok(value)
            }
            Err(stopped) => Err(stopped.exit_reason(&mut live.store)),
        };
        self.report_memory();
        ended
    }

    fn report_memory(&mut self) {
        let now = self.memory();
        self.context
            .counters
            .memory
            .change(self.reported_memory, now);
        self.reported_memory = now;
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.live = None;
        self.report_memory();
        self.place = None;
    }
}

impl std::fmt::Debug for Instance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Instance")
            .field("agent", &self.context.agent)
            .field("alive", &self.is_alive())
            .finish()
    }
}

impl<T> From<Result<Result<T, Failure>, ExitReason>> for Outcome<T> {
    fn from(result: Result<Result<T, Failure>, ExitReason>) -> Self {
        match result {
            Ok(Ok(value)) => Self::Done(value),
            Ok(Err(failure)) => Self::Failed(failure),
            Err(death) => Self::Exited(death),
        }
    }
}

/// Makes the store ready for a call.
fn enter(store: &mut Store<State>, scope: Scope, budget: CallBudget) {
    let state = store.data_mut();
    state.guest.enter(scope);
    state.cpu.budget = budget.cpu;
    state.cpu.deadline = budget.deadline;
    state.cpu.stood = budget.stood;
    state.cpu.meter.restart(budget.begun);
    state.memory.take_refused();
    let fuel = hostcall_fuel(state.guest.context.limits.payload);
    store.set_hostcall_fuel(fuel);
    // It starts at zero, where the first check would end the call.
    store.set_epoch_deadline(1);
}

/// The latest end of their waits; none when one has no end.
fn longest(mut waits: impl Iterator<Item = Option<Instant>>) -> Option<Instant> {
    let first = waits.next()?;
    waits.try_fold(first?, |longest, next| Some(longest.max(next?)))
}

/// A message of a batch as the guest gets it, lent by its call and not copied; what it may ask for
/// goes to the scope.
fn lent(call: &mut Call, scope: &mut Scope) -> wit::Item {
    if scope.trace.is_none() {
        scope.trace = Some(call.trace.clone());
        scope.headers = call.headers.clone();
    } else {
        scope.more_headers.push(call.headers.clone());
    }
    wit::Item {
        kind: call.kind.clone().into(),
        subject: std::mem::take(&mut call.subject),
        payload: std::mem::take(&mut call.payload).into(),
    }
}
