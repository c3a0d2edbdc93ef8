//! What an agent can ask of the host: one file per interface of `wit/`, all of the same shape.
//!
//! Every function takes its arguments for hostile: it asks `permissions`, then the limits, and only
//! then touches the world. A mistake of the guest is a WIT error, never a trap and never a panic.
//! Nothing here knows how a component is run.

mod audit;
mod context;
mod coordination;
mod counters;
#[cfg(test)]
pub(crate) mod fixture;
mod guest;
mod kv;
mod log;
mod messaging;
mod rate;
mod refuse;
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
pub use counters::{Counter, Counters, Counts};
pub(crate) use guest::{Guest, Scope};
pub(crate) use log::clean;
pub(crate) use wasi::{WASI_INTERFACES, WASI_VERSION, wasi_context};

use crate::bindings::mistersmith::agent;
use crate::limits::{MAX_HEARD_BYTES, PluginLimits, REFUSALS};
use crate::names::{AgentId, PluginName};
use crate::permissions::Permissions;
use crate::transport::{Budget, Charge, Link, Message};
use audit::Reports;
use rate::Rate;

/// Everything that the capabilities of one agent need. Lives as long as the agent, across its instances.
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
    /// The connection for what the agent sends and subscribes. Without one everything that needs
    /// NATS is `unavailable`: so a component can be run with no server at all.
    pub link: Option<Link>,
    /// Its configuration, replaceable while it runs.
    pub config: Arc<SharedConfig>,
    /// Where the messages of its run-time subscriptions go. Bounded in bytes: each has a part of what may
    /// wait for the agent, and those that have none are lost and counted before they come here.
    pub inbox: mpsc::UnboundedSender<Box<Heard>>,
    /// Requests that may wait for an answer, shared by all agents of the plugin on this host; an
    /// agent alone never has more than one, since it handles one message at a time.
    pub requests: Arc<Semaphore>,
    /// What it did.
    pub counters: Arc<Counters>,
    /// Hears what it was refused.
    pub audit: Arc<dyn Audit>,
    /// Runs what agents do together.
    pub coordination: Arc<dyn Coordination>,
    /// What it may still do this second.
    pub meters: Meters,
}

/// By what an agent hears a message at run time.
#[derive(Debug, Clone)]
pub enum Source {
    /// The number that `subscribe` returned; never used twice for one agent.
    Subscription(u64),
    /// The workflow that it watches.
    Workflow(Arc<str>),
}

/// A message that an agent asked to hear at run time. Goes by a pointer: a queue keeps room for its
/// elements, and every agent has one.
#[derive(Debug)]
pub struct Heard {
    /// Why it hears it.
    pub source: Source,
    /// The message; its subject passed the agent's permissions.
    pub message: Message,
    /// Its part of what may wait for the agent; kept until it is handled.
    pub charge: Charge,
}

/// The rates of one agent. Make them once for an agent and give each of its instances a clone, which
/// shares them: an instance that dies, or lives for one message, must not begin with full buckets.
#[derive(Debug, Clone)]
pub struct Meters(Arc<Rates>);

#[derive(Debug)]
struct Rates {
    publish: Rate,
    /// How often there was nothing left of that rate.
    over_rate: AtomicU64,
    log: Rate,
    unlogged: AtomicU64,
    /// How often it is said that lines were dropped.
    unlogged_notices: Rate,
    reports: Reports,
    subscriptions: AtomicU64,
    heard: Budget,
}

impl Meters {
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
            heard: Budget::new(MAX_HEARD_BYTES.max(limits.payload.saturating_mul(2))),
        }))
    }

    /// What may wait in the agent's run-time subscriptions.
    fn heard(&self) -> &Budget {
        &self.0.heard
    }

    /// Takes one message from the publish rate, if there is one.
    fn publish(&self) -> bool {
        self.0.publish.take()
    }

    /// Counts that there was none. Whether whoever asked is to wait for it this time: counted apart from
    /// all other refusals, so that nobody can put one of those where the wait would be.
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

    /// How many lines were not logged since this was last said, if it is to be said now.
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

/// Offers every capability to components. `guest` finds what belongs to the caller in a store.
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
