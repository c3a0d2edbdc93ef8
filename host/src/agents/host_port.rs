//! The production implementation of `AgentPort`: the runtime, the settler and the connections.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mistersmith_core::config::PluginSpec;
use mistersmith_core::limits;
use mistersmith_core::names::AgentId;
use mistersmith_core::permissions::Permissions;
use mistersmith_core::permissions::reserved::may_answer;
use mistersmith_nats::Message;
use mistersmith_runtime::{
    AgentContext, Call, Failure, Health, Instance, Kind, Notice, Outcome, Reply, Source,
};

use super::answer;
use super::deps::AgentDeps;
use super::directory::AgentHandle;
use super::loop_port::{AgentInstance, AgentPort, InstanceSeat, Revision};
use super::revision::PluginRevision;
use crate::delivery::attempts::Register;
use crate::delivery::{Destination, HeldMessage, Reason, subscribed};
use crate::events::lifecycle::LifecycleEvent;
use crate::settle::idempotence;

/// The host's side of one agent.
pub(super) struct HostPort {
    deps: AgentDeps,
    /// The register of this agent's running attempts.
    register: Arc<Register>,
}

impl HostPort {
    pub(super) fn new(deps: AgentDeps, agent: &AgentId) -> Self {
        Self {
            register: deps.settler.attempts().register(agent),
            deps,
        }
    }
}

impl AgentPort for HostPort {
    type Revision = PluginRevision;
    type Instance = Instance;

    async fn instantiate(
        &self,
        agent: &AgentHandle,
        revision: &PluginRevision,
        seat: InstanceSeat,
    ) -> Result<Instance, Reason> {
        let spec = &revision.spec;
        let context = Arc::new(AgentContext {
            agent: agent.id.clone(),
            plugin: spec.name.clone(),
            version: spec.version.clone(),
            permissions: Arc::new(revision.permissions.agent(&agent.id)),
            limits: Arc::new(spec.limits.clone()),
            connection: Some(revision.connection.clone()),
            config: seat.config,
            inbox: seat.inbox,
            requests: revision.requests.clone(),
            bytes: revision.bytes.clone(),
            counters: agent.state.counters.clone(),
            audit: self.deps.audit.clone(),
            coordination: self.deps.coordination.clone(),
            rates: seat.rates,
            fence: agent.state.fence.clone(),
        });
        let runtime = &self.deps.runtime;
        let instantiated = runtime.instantiate(&revision.component, context).await;
        instantiated.map_err(|death| Reason::died(&death))
    }

    fn announce(&self, agent: &AgentId, spec: &PluginSpec, step: &LifecycleEvent) {
        let events = &self.deps.events;
        let body = step.body(agent, spec.name.as_str(), &spec.version, events.host());
        events.event(agent, step.subject(agent), body);
    }

    /// Idempotence: a message that was handled within the window is settled with its recorded
    /// result; one whose record cannot be read is given back.
    async fn unless_done(
        &self,
        agent: &AgentHandle,
        window: Duration,
        call: Box<Call>,
        mut held: Box<HeldMessage>,
    ) -> Option<(Box<Call>, Box<HeldMessage>)> {
        let settler = &self.deps.settler;
        let key = idempotence::key(&agent.plugin, &call, &held);
        match settler.guard().find(&key, window).await {
            Ok(None) => {
                held.idempotence_key = Some(key);
                Some((call, held))
            }
            Ok(Some(recorded)) => {
                tracing::debug!(agent = %agent.id, key, "handled before: its result is stored again");
                let outcome = Outcome::Done(Some(recorded.reply));
                settler.settle(&recorded.agent, call, held, outcome).await;
                None
            }
            Err(error) => {
                tracing::warn!(agent = %agent.id, key, %error,
                    "the result in bucket IDEMPOTENCE could not be read; \
                    the item is given back for 30 s");
                settler.put_off(held, limits::STORE_RETRY_DELAY).await;
                None
            }
        }
    }

    /// Begins the attempt; none when it must not begin now. Its message is then delivered again.
    async fn begin(
        &self,
        agent: &AgentId,
        call: &Call,
        mut held: Box<HeldMessage>,
    ) -> Option<Box<HeldMessage>> {
        if !held.in_progress.is_ours() {
            tracing::debug!(%agent, subject = %call.subject,
                "not begun: another host may have it");
            return None;
        }
        let settler = &self.deps.settler;
        let attempts = settler.attempts();
        let begun = attempts.begin(&self.register, agent, held.counted());
        match Box::pin(begun).await {
            Ok(()) => {
                let completion = held.completion.as_ref();
                if let Some(report) = completion.and_then(|c| c.begin(agent, call, &held)) {
                    report.await;
                }
                Some(held)
            }
            Err(error) => {
                tracing::warn!(%agent, %error, subject = %call.subject,
                    "not begun: the attempt could not be stored in bucket ATTEMPTS; \
                    the item is given back for 30 s");
                settler.put_off(held, limits::STORE_RETRY_DELAY).await;
                None
            }
        }
    }

    fn handled(&self, call: &Call, destination: &Destination, begun: Instant, took: Duration) {
        let times = self.deps.settler.times();
        times.handled(call, destination, begun, took);
    }

    async fn settle(
        &self,
        agent: &AgentId,
        call: Box<Call>,
        held: Box<HeldMessage>,
        outcome: Outcome,
    ) {
        let settled = self.deps.settler.settle(agent, call, held, outcome);
        Box::pin(settled).await;
    }

    async fn send(
        &self,
        agent: &AgentHandle,
        call: &Call,
        destination: Destination,
        outcome: Outcome,
    ) {
        match destination {
            Destination::Nobody | Destination::HeldMessage(_) => {}
            Destination::Reply { to, connection } => {
                answer::reply(agent, (&connection, &to), call, outcome).await;
            }
            Destination::Gather { .. } if matches!(outcome, Outcome::Done(None)) => {}
            Destination::Gather { to, connection } => {
                Box::pin(answer::reply(agent, (&connection, &to), call, outcome)).await;
            }
            Destination::Stored => {
                Box::pin(answer::store(&agent.id, &self.deps.work, call, outcome)).await;
            }
        }
    }

    async fn give_back(&self, held: Box<HeldMessage>) {
        self.deps.settler.give_back(held).await;
    }
}

impl Revision for PluginRevision {
    fn spec(&self) -> &Arc<PluginSpec> {
        &self.spec
    }

    fn permissions(&self, agent: &AgentId) -> Permissions {
        self.permissions.agent(agent)
    }

    fn subscribed(&self, subscription: u64, message: &mut Message) -> (Kind, Destination) {
        let may_answer = may_answer(&message.subject);
        subscribed(Some(subscription), message, may_answer, &self.connection)
    }
}

impl AgentInstance for Instance {
    async fn start(&mut self) -> Outcome<()> {
        Self::start(self).await
    }

    async fn handle(&mut self, begun: Instant, call: &Call) -> Outcome {
        self.handle_since(begun, call).await
    }

    async fn handle_batch(
        &mut self,
        calls: &mut [Box<Call>],
    ) -> Outcome<Vec<Result<Option<Reply>, Failure>>> {
        Self::handle_batch(self, calls).await
    }

    async fn notify(&mut self, notice: Notice) -> Outcome<()> {
        Self::notify(self, notice).await
    }

    async fn health(&mut self) -> Outcome<Health> {
        Self::health(self).await
    }

    async fn stop(self, reason: &str) {
        Self::stop(self, reason).await;
    }

    fn wants(&self, source: &Source) -> bool {
        Self::wants(self, source)
    }

    fn took(&self) -> Option<Duration> {
        Self::took(self)
    }
}
