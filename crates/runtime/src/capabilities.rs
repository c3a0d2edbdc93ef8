//! The host functions: one file per interface of `wit/`, all of the same shape.
//!
//! Every function treats its arguments as hostile: it checks the permissions, then the limits, and
//! only then acts. A mistake of the guest is a WIT error, never a trap and never a panic.
//! Nothing here knows how a component is run.

mod audit;
mod context;
mod coordination;
mod counters;
pub(crate) mod fence;
#[cfg(test)]
pub(crate) mod fixture;
mod guest;
mod kv;
mod log;
mod messaging;
mod rate;
mod refuse;
mod values;
mod wasi;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{Semaphore, mpsc};
use wasmtime::Result;
use wasmtime::component::{HasSelf, Linker};

pub use audit::{Audit, Refused};
pub use context::SharedConfig;
pub use coordination::{
    CircuitState, Coordination, GatherAnswer, GatherStatus, Gathered, Gathering, Leadership,
    Question,
};
pub use counters::{Counters, Counts};
pub use fence::{Fence, LeaseTerm};
pub(crate) use guest::{Guest, Scope};
pub(crate) use log::clean;
pub use values::ConfigValues;
pub(crate) use wasi::{WASI_INTERFACES, WASI_VERSION, wasi_context};

use crate::bindings::mistersmith::agent;
use audit::Reports;
use mistersmith_core::byte_budget::{ByteBudget, ByteCharge};
use mistersmith_core::limits::{MAX_HEARD_BYTES, PluginLimits, REFUSALS};
use mistersmith_core::names::{AgentId, PluginName};
use mistersmith_core::permissions::Permissions;
use mistersmith_nats::{Connection, Message};
pub use rate::ByteRate;
use rate::Rate;

/// Everything that the capabilities of one agent need. Lives as long as the agent, across its
/// instances.
pub struct AgentContext {
    /// The agent.
    pub agent: AgentId,
    /// The plugin it is an agent of.
    pub plugin: PluginName,
    /// The version in the plugin's manifest.
    pub version: String,
    /// What the agent may do.
    pub permissions: Arc<Permissions>,
    /// How much of it.
    pub limits: Arc<PluginLimits>,
    /// The connection of the agent's messages and subscriptions. Without one every function that
    /// needs NATS returns `unavailable`: so a component can run with no server at all.
    pub connection: Option<Connection>,
    /// Its configuration, replaceable while it runs.
    pub config: Arc<SharedConfig>,
    /// Where the messages of its run-time subscriptions go. Bounded in bytes: each message holds a
    /// part of the budget of the agent; those that get none are dropped and counted before.
    pub inbox: mpsc::UnboundedSender<Box<RuntimeMessage>>,
    /// Requests that may wait for an answer, shared by all agents of the plugin on this host; an
    /// agent alone never has more than one, since it handles one message at a time.
    pub requests: Arc<Semaphore>,
    /// The bytes a second that all agents of the plugin on this host send.
    pub bytes: Arc<ByteRate>,
    /// Counts its actions.
    pub counters: Arc<Counters>,
    /// Receives the refusals.
    pub audit: Arc<dyn Audit>,
    /// Runs scatters, elections and circuits.
    pub coordination: Arc<dyn Coordination>,
    /// Its rate limits.
    pub rates: RateLimits,
    /// Whether it may still act under its id.
    pub fence: Fence,
}

/// The reason why an agent receives a message at run time.
#[derive(Debug, Clone)]
pub enum Source {
    /// The number that `subscribe` returned; never used twice for one agent.
    Subscription(u64),
    /// The workflow that it watches.
    Workflow(Arc<str>),
}

/// A message of a subscription that an agent made at run time. Queued by pointer: a queue keeps
/// room for its elements, and every agent has one.
#[derive(Debug)]
pub struct RuntimeMessage {
    /// The subscription or workflow.
    pub source: Source,
    /// The message; its subject passed the agent's permissions.
    pub message: Message,
    /// Its part of the budget of the agent; held until the message is handled.
    pub charge: ByteCharge,
}

/// The rate limits of one agent. Made once for an agent and shared by its instances as clones: an
/// instance that replaces another, or lives for one message, must not begin with full buckets.
#[derive(Debug, Clone)]
pub struct RateLimits(Arc<Rates>);

#[derive(Debug)]
struct Rates {
    publish: Rate,
    /// How often that rate was used up.
    over_rate: AtomicU64,
    log: Rate,
    unlogged: AtomicU64,
    /// How often dropped lines are reported.
    unlogged_notices: Rate,
    reports: Reports,
    subscriptions: AtomicU64,
    inbound: ByteBudget,
}

impl RateLimits {
    /// Full buckets for these limits.
    pub fn new(limits: &PluginLimits) -> Self {
        Self(Arc::new(Rates {
            publish: Rate::new(limits.publish_rate),
            over_rate: AtomicU64::new(0),
            log: Rate::new(limits.log_rate),
            unlogged: AtomicU64::new(0),
            unlogged_notices: Rate::new(1),
            reports: Reports::new(),
            subscriptions: AtomicU64::new(0),
            inbound: ByteBudget::new(MAX_HEARD_BYTES.max(limits.payload.saturating_mul(2))),
        }))
    }

    /// The budget of the messages that wait in the agent's run-time subscriptions.
    fn inbound(&self) -> &ByteBudget {
        &self.0.inbound
    }

    /// Takes one message from the publish rate, if there is one.
    fn publish(&self) -> bool {
        self.0.publish.take()
    }

    /// Takes so many messages from the publish rate, for a call that has cost as much.
    fn charge(&self, messages: usize) {
        self.0.publish.charge(messages as u64);
    }

    /// Counts a refusal for the rate. Returns whether the guest has to wait for this one: counted
    /// apart from all other refusals, so that a guest cannot put another refusal in its place.
    fn waits_for_rate(&self) -> bool {
        let before = self.0.over_rate.fetch_add(1, Ordering::Relaxed);
        (before + 1).is_multiple_of(REFUSALS)
    }

    /// Takes one line from the log rate, if there is one.
    fn log(&self) -> bool {
        let there_is = self.0.log.take();
        if !there_is {
            self.0.unlogged.fetch_add(1, Ordering::Relaxed);
        }
        there_is
    }

    /// How many lines were dropped since the last notice, if a notice is due.
    fn take_unlogged(&self) -> Option<u64> {
        let any = self.0.unlogged.load(Ordering::Relaxed) > 0;
        (any && self.0.unlogged_notices.take()).then(|| self.0.unlogged.swap(0, Ordering::Relaxed))
    }

    /// Whether a refusal is reported, and how many before it were not.
    fn report(&self) -> Option<u64> {
        self.0.reports.admit()
    }

    /// A number for a subscription.
    fn next_subscription(&self) -> u64 {
        self.0.subscriptions.fetch_add(1, Ordering::Relaxed) + 1
    }
}

impl std::fmt::Debug for AgentContext {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AgentContext")
            .field("agent", &self.agent)
            .finish_non_exhaustive()
    }
}

/// Adds every host function to a linker. `guest` finds the state of the caller in a store.
pub(crate) fn add_to_linker<T: Send + 'static>(
    linker: &mut Linker<T>,
    guest: fn(&mut T) -> &mut Guest,
) -> Result<()> {
    agent::types::add_to_linker::<T, HasSelf<Guest>>(linker, guest)?;
    agent::messaging::add_to_linker::<T, HasSelf<Guest>>(linker, guest)?;
    agent::kv::add_to_linker::<T, HasSelf<Guest>>(linker, guest)?;
    agent::coordination::add_to_linker::<T, HasSelf<Guest>>(linker, guest)?;
    agent::context::add_to_linker::<T, HasSelf<Guest>>(linker, guest)?;
    agent::log::add_to_linker::<T, HasSelf<Guest>>(linker, guest)
}

impl agent::types::Host for Guest {}

#[cfg(test)]
mod tests;
