//! A test bench: one agent with its instances and its host in memory.

use std::collections::BTreeSet;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use mistersmith_core::config::PluginSpec;
use mistersmith_core::names::AgentId;
use mistersmith_core::permissions::{Permissions, PluginPermissions};
use mistersmith_nats::{Headers, Message, RequestId, Trace};
use mistersmith_runtime::{ExitKind, ExitReason, Fence, Health, LeaseTerm, Notice, Reply, Source};

use super::super::super::inboxes::handle;
use super::super::super::loop_port::InstanceSeat;
use super::super::super::state::AgentState;
use super::super::*;
use crate::delivery::{HeldMessage, call_until};
use crate::testing::plugin_spec;

/// A running agent and everything a test observes of it.
pub(super) struct Lab {
    pub(super) handle: AgentHandle,
    pub(super) reloads: mpsc::Sender<Box<Reload<MemoryRevision>>>,
    calls: mpsc::UnboundedReceiver<Running>,
    host: Arc<Host>,
    task: JoinHandle<()>,
}

/// The calls that the agent made to its host.
#[derive(Default)]
struct Host {
    /// The outcomes sent: the subject, and whether the handler succeeded.
    sent: Mutex<Vec<(String, bool)>>,
    /// When each version was instantiated.
    made: Mutex<Vec<(u32, Moment)>>,
    /// Versions whose instances do not start.
    broken: Mutex<BTreeSet<u32>>,
    /// The notices to instances: version and text.
    told: Mutex<Vec<(u32, String)>>,
    steps: Mutex<Vec<&'static str>>,
    calls: Mutex<Option<mpsc::UnboundedSender<Running>>>,
}

#[derive(Clone)]
pub(super) struct MemoryPort(Arc<Host>);

/// A version of the plugin, by its number.
#[derive(Clone)]
pub(super) struct MemoryRevision {
    number: u32,
    spec: Arc<PluginSpec>,
}

/// A message whose handler call is open.
pub(super) struct Running {
    /// The version of the instance.
    pub(super) version: u32,
    /// The subject of the message.
    pub(super) subject: String,
    outcome: oneshot::Sender<Outcome>,
}

pub(super) struct MemoryInstance {
    version: u32,
    host: Arc<Host>,
}

pub(super) fn version(number: u32) -> MemoryRevision {
    with(number, |_| ())
}

/// A version with a changed manifest.
pub(super) fn with(number: u32, change: impl FnOnce(&mut PluginSpec)) -> MemoryRevision {
    let mut spec = plugin_spec("probe", &number.to_string());
    change(&mut spec);
    let spec = Arc::new(spec);
    MemoryRevision { number, spec }
}

/// A message on this subject whose result is stored.
pub(super) fn message(subject: &str) -> Delivery {
    message_until(subject, None)
}

/// A message whose sender waits until `until`.
pub(super) fn message_until(subject: &str, until: Option<Instant>) -> Delivery {
    let message = Message {
        subject: subject.to_owned(),
        reply: None,
        headers: Headers::new(),
        payload: "x".into(),
    };
    let trace = Trace::received(&message.headers, RequestId::new);
    Delivery {
        call: call_until(Kind::Execute, message, trace, until),
        destination: Destination::Stored,
        charge: None,
        rest: None,
    }
}

impl Running {
    /// Ends the call with success.
    pub(super) fn done(self) {
        assert!(self.outcome.send(Outcome::Done(None)).is_ok());
    }

    /// Ends the call with a trap.
    pub(super) fn dies(self) {
        let death = ExitReason {
            kind: ExitKind::Trap,
            message: "it panicked".to_owned(),
            backtrace: Vec::new(),
        };
        assert!(self.outcome.send(Outcome::Exited(death)).is_ok());
    }
}

impl Lab {
    /// An agent whose first version is `revision`.
    pub(super) fn of(revision: MemoryRevision) -> Self {
        let id: AgentId = "probe-001".parse().unwrap();
        let plugin = revision.spec.name.clone();
        let fence = Fence::new(LeaseTerm::unlimited(), id.clone());
        let state = Arc::new(AgentState::new("h1", "id", &plugin, fence));
        let (handle, inboxes) = handle(id, plugin, state, Arc::default());
        let (calls_in, calls) = mpsc::unbounded_channel();
        let host = Arc::new(Host::default());
        *host.calls.lock() = Some(calls_in);
        let (reloads, swaps_in) = mpsc::channel(1);
        let ends = (inboxes, swaps_in);
        let agent = EventLoop::new(MemoryPort(host.clone()), revision, handle.clone(), ends);
        Self {
            handle,
            reloads,
            calls,
            host,
            task: tokio::spawn(agent.run()),
        }
    }

    /// The next call that begins.
    pub(super) async fn begun(&mut self) -> Running {
        let begun = tokio::time::timeout(Duration::from_secs(600), self.calls.recv());
        begun.await.unwrap().unwrap()
    }

    /// Asserts that no call begins.
    pub(super) async fn nothing_begins(&mut self) {
        settled().await;
        if let Ok(running) = self.calls.try_recv() {
            panic!("{} was begun", running.subject);
        }
    }

    /// Asks the agent to replace its version.
    pub(super) async fn replace(&self, version: MemoryRevision) -> Replaced {
        let (done, replaced) = oneshot::channel();
        let reload = Box::new(Reload {
            revision: version,
            done,
        });
        assert!(self.reloads.send(reload).await.is_ok());
        settled().await;
        replaced
    }

    /// Sends a stop.
    pub(super) async fn stop(&self, reason: StopReason) -> oneshot::Receiver<()> {
        let (done, stopped) = oneshot::channel();
        let stop = Control::Stop { reason, done };
        self.handle.control.send(stop).await.unwrap();
        settled().await;
        stopped
    }

    pub(super) fn breaks(&self, version: u32) {
        self.host.broken.lock().insert(version);
    }

    pub(super) fn mends(&self, version: u32) {
        self.host.broken.lock().remove(&version);
    }

    /// The outcomes sent since the last call of this function.
    pub(super) fn sent(&self) -> Vec<(String, bool)> {
        std::mem::take(&mut self.host.sent.lock())
    }

    /// When instances of a version were made.
    pub(super) fn made(&self, version: u32) -> Vec<Moment> {
        let made = self.host.made.lock();
        let of = made.iter().filter(|(number, _)| *number == version);
        of.map(|(_, at)| *at).collect()
    }

    /// The notices since the last call of this function.
    pub(super) fn told(&self) -> Vec<(u32, String)> {
        std::mem::take(&mut self.host.told.lock())
    }

    pub(super) fn steps(&self) -> Vec<&'static str> {
        self.host.steps.lock().clone()
    }

    pub(super) fn is_gone(&self) -> bool {
        self.task.is_finished()
    }
}

pub(super) type Replaced = oneshot::Receiver<Result<(), Reason>>;

/// Lets all ready tasks run.
pub(super) async fn settled() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

impl AgentPort for MemoryPort {
    type Revision = MemoryRevision;
    type Instance = MemoryInstance;

    async fn instantiate(
        &self,
        _: &AgentHandle,
        revision: &MemoryRevision,
        _: InstanceSeat,
    ) -> Result<MemoryInstance, Reason> {
        let made = (revision.number, Moment::now());
        self.0.made.lock().push(made);
        Ok(MemoryInstance {
            version: revision.number,
            host: self.0.clone(),
        })
    }

    fn announce(&self, _: &AgentId, _: &PluginSpec, step: &LifecycleEvent) {
        self.0.steps.lock().push(step.name());
    }

    async fn unless_done(
        &self,
        _: &AgentHandle,
        _: Duration,
        call: Box<Call>,
        held: Box<HeldMessage>,
    ) -> Option<(Box<Call>, Box<HeldMessage>)> {
        Some((call, held))
    }

    async fn begin(
        &self,
        _: &AgentId,
        _: &Call,
        held: Box<HeldMessage>,
    ) -> Option<Box<HeldMessage>> {
        Some(held)
    }

    fn handled(&self, _: &Call, _: &Destination, _: Instant, _: Duration) {}

    async fn settle(&self, _: &AgentId, _: Box<Call>, _: Box<HeldMessage>, _: Outcome) {}

    async fn send(&self, _: &AgentHandle, call: &Call, _: Destination, outcome: Outcome) {
        let done = matches!(outcome, Outcome::Done(_));
        self.0.sent.lock().push((call.subject.clone(), done));
    }

    async fn give_back(&self, _: Box<HeldMessage>) {}
}

impl Revision for MemoryRevision {
    fn spec(&self) -> &Arc<PluginSpec> {
        &self.spec
    }

    fn permissions(&self, agent: &AgentId) -> Permissions {
        PluginPermissions::compile(&self.spec.permissions, &self.spec.name).agent(agent)
    }

    fn subscribed(&self, id: u64, _: &mut Message) -> (Kind, Destination) {
        let kind = Kind::Subscription {
            id: Some(id),
            wants_reply: false,
        };
        (kind, Destination::Nobody)
    }
}

impl MemoryInstance {
    fn told(&self, what: &str) {
        self.host.told.lock().push((self.version, what.to_owned()));
    }

    async fn call(&self, call: &Call) -> Outcome {
        let (outcome, ended) = oneshot::channel();
        let running = Running {
            version: self.version,
            subject: call.subject.clone(),
            outcome,
        };
        let calls = self.host.calls.lock().clone().unwrap();
        let _ = calls.send(running);
        ended.await.unwrap_or(Outcome::Done(None))
    }
}

impl AgentInstance for MemoryInstance {
    async fn start(&mut self) -> Outcome<()> {
        match self.host.broken.lock().contains(&self.version) {
            true => Outcome::Failed(Failure::Other("it is broken".to_owned())),
            false => Outcome::Done(()),
        }
    }

    async fn handle(&mut self, _: Instant, call: &Call) -> Outcome {
        self.call(call).await
    }

    async fn handle_batch(
        &mut self,
        calls: &mut [Box<Call>],
    ) -> Outcome<Vec<Result<Option<Reply>, Failure>>> {
        let outcome = self.call(&calls[0]).await;
        match outcome {
            Outcome::Exited(death) => Outcome::Exited(death),
            _ => Outcome::Done(calls.iter().map(|_| Ok(None)).collect()),
        }
    }

    async fn notify(&mut self, notice: Notice) -> Outcome<()> {
        self.told(match notice {
            Notice::Leadership { .. } => "leadership",
            Notice::Configuration => "configuration",
            Notice::Coordination { .. } => "coordination",
        });
        Outcome::Done(())
    }

    async fn health(&mut self) -> Outcome<Health> {
        self.told("health");
        Outcome::Done(Health {
            ok: true,
            detail: None,
            load: None,
        })
    }

    async fn stop(self, reason: &str) {
        self.told(reason);
    }

    fn wants(&self, _: &Source) -> bool {
        true
    }

    fn took(&self) -> Option<Duration> {
        None
    }
}
