//! The life of the process: build everything that configuration can break, run, drain.
//!
//! [`Host::build`] connects (or starts a server), provisions JetStream and takes the host's lease;
//! [`Host::load`] starts the agents of what lies in the plugins folder. [`Host::run`] keeps going until it is told to stop, by a signal or by
//! `broadcast.emergency.shutdown`, and then drains: stop taking, finish or return what is in
//! flight, `stopped`, give up the lease, flush, close.

mod beat;
mod build;
mod claims;
mod connect;
mod data;
mod drain;
mod fleet;
mod job;
mod lease;
mod loading;
mod payloads;
mod unit;
mod upkeep;
mod watch;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::agent::Surroundings;
use crate::config::HostSpec;
use crate::names::HostId;
use crate::patterns::Directory;
use crate::patterns::coordination::Coordinator;
use crate::patterns::keeper::Keeper;
use crate::provision::ConsumerClaims;
use crate::transport::server::OwnServer;
use crate::transport::{Kv, Role, ServerClock, Transport};

pub use build::{Connected, connect};
pub use data::DataFolder;

/// A host that is ready to run.
pub struct Host {
    shared: Arc<Shared>,
    fleet: fleet::Fleet,
    lease: lease::Lease,
    background: Vec<tokio::task::JoinHandle<()>>,
    /// Ended after everything that talks to it.
    server: Option<OwnServer>,
    _data: DataFolder,
}

/// What every part of the host needs.
pub(crate) struct Shared {
    pub(crate) spec: HostSpec,
    pub(crate) name: String,
    pub(crate) id: HostId,
    pub(crate) transport: Transport,
    pub(crate) directory: Directory,
    pub(crate) keeper: Arc<Keeper>,
    pub(crate) around: Surroundings,
    pub(crate) coordinator: Coordinator,
    pub(crate) kv: Buckets,
    pub(crate) consumers: ConsumerClaims,
    /// By which stored messages are old.
    pub(crate) clock: ServerClock,
    /// Cancelled when the host begins to drain.
    pub(crate) draining: CancellationToken,
}

/// The host's own buckets.
#[derive(Clone)]
pub(crate) struct Buckets {
    pub(crate) state: Kv,
    pub(crate) leases: Kv,
    pub(crate) claims: Kv,
    pub(crate) config: Kv,
    pub(crate) circuits: Kv,
    pub(crate) pipelines: Kv,
    pub(crate) attempts: Kv,
}

/// What is told when the host has come up.
#[derive(Debug, Clone)]
pub struct Summary {
    /// The name of the host.
    pub name: String,
    /// Its id, kept in the data folder.
    pub host_id: String,
    /// Plugins that run.
    pub plugins: usize,
    /// Their agents.
    pub agents: usize,
    /// Plugins that could not be loaded.
    pub broken: usize,
}

/// How a host came to its end.
#[derive(Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was told to stop.
    Drained,
    /// Its own nats-server ended; the sentence says how, with the server's last words.
    ServerDied(String),
    /// A connection has ended for good, and with it what listens by it.
    ConnectionDied,
}

impl Ended {
    /// What it says to whoever started the host.
    ///
    /// # Errors
    /// It was not told to stop.
    pub fn into_result(self) -> anyhow::Result<()> {
        match self {
            Self::Drained => Ok(()),
            Self::ServerDied(how) => anyhow::bail!("{how}"),
            Self::ConnectionDied => anyhow::bail!(
                "a connection to NATS has ended for good: the client library could not go on after a \
                 message that it cannot read; fix: start the host again, as a service manager does"
            ),
        }
    }
}

impl Host {
    /// Builds a host that drains when `shutdown` is cancelled: after this returned, no
    /// configuration can fail. None when it was cancelled before there was anything to bring home.
    pub async fn build(
        spec: HostSpec,
        shutdown: &CancellationToken,
    ) -> anyhow::Result<Option<Self>> {
        build::build(spec, shutdown.child_token()).await
    }

    /// Loads the plugins. Agents work as soon as theirs is loaded, so this ends early, and
    /// [`Host::run`] does what is due, when the host is told to stop, its server dies, or the lease
    /// is lost.
    pub async fn load(&mut self) {
        tokio::select! {
            biased;
            () = self.shared.draining.cancelled() => {}
            _ = died(self.server.as_ref()) => {}
            held = self.lease.turned() => self.lease_turned(held).await,
            () = self.fleet.load() => {}
        }
    }

    /// What came up.
    pub async fn summary(&self) -> Summary {
        let (plugins, broken) = self.fleet.count();
        Summary {
            name: self.shared.name.clone(),
            host_id: self.shared.id.to_string(),
            plugins,
            agents: self.shared.directory.all().len(),
            broken,
        }
    }

    /// The connections, for status lines.
    pub fn transport(&self) -> &Transport {
        &self.shared.transport
    }

    /// The program of its own nats-server; none where servers are named.
    pub fn server_program(&self) -> Option<&Path> {
        self.server.as_ref().map(OwnServer::program)
    }

    /// Asks the host to drain, as a signal does.
    pub fn stopper(&self) -> CancellationToken {
        self.shared.draining.clone()
    }

    /// Runs until told to stop, then drains. Returns when everything has ended.
    pub async fn run(mut self) -> Ended {
        let server = self.server.take();
        let ended = loop {
            // In this order: the folder is the least urgent, and may hang.
            tokio::select! {
                biased;
                () = self.shared.draining.cancelled() => break Ended::Drained,
                how = died(server.as_ref()) => break Ended::ServerDied(how),
                () = self.shared.transport.ended() => break Ended::ConnectionDied,
                held = self.lease.turned() => self.lease_turned(held).await,
                () = self.fleet.scan() => {}
            }
        };
        drain::drain(self).await;
        // Last, after everything that talks to it.
        if let Some(server) = server {
            server.stop().await;
        }
        ended
    }

    /// Without the lease another host may claim the agents' ids: ours end before it can. With the
    /// lease back they are claimed and started again.
    async fn lease_turned(&mut self, held: bool) {
        if !held {
            tracing::error!("the host cannot renew its lease: its agents stop before it expires");
        }
        let why = async {
            if !held {
                why_not_held(&self.shared, self.server.as_ref()).await;
            }
        };
        // Also when it is back: it may have been lost and won again during one look at the folder.
        tokio::join!(self.fleet.suspend(SUSPEND), why);
        if held {
            tracing::info!("the lease is back: agents are started again");
            self.fleet.wake();
        }
    }
}

/// How long agents may take to end when the lease is lost.
const SUSPEND: Duration = Duration::from_secs(2);

/// Says what JetStream, and the log of our own server, make of it that the lease is not stored.
async fn why_not_held(shared: &Shared, server: Option<&OwnServer>) {
    let link = shared.transport.link(Role::Control);
    let lease = format!("$KV.AGENT_LEASES.{}", lease::key(shared.id.as_str()));
    let error = tokio::time::timeout(SUSPEND, link.why_silent(&lease)).await;
    let error = error.map_or_else(
        |_| "JetStream does not answer".to_owned(),
        |e| e.to_string(),
    );
    let server_log = server.and_then(OwnServer::complaint);
    tracing::warn!(error, server_log, "the lease is not stored");
}

/// Resolves when our own server has ended without having been asked to.
async fn died(server: Option<&OwnServer>) -> String {
    match server {
        Some(server) => server.died().await,
        None => std::future::pending().await,
    }
}
