//! The host process: build everything that configuration can break, run, drain.
//!
//! [`Host::build`] connects (or starts a server), provisions JetStream and takes the host's lease;
//! [`Host::load`] starts the agents of the plugins folder. [`Host::run`] runs until a signal or
//! `broadcast.emergency.shutdown`, and then drains: stop taking, finish or return what is in
//! flight, publish `stopped`, give up the lease, flush, close.

mod build;
pub(crate) mod claims;
mod data;
mod drain;
mod healing;
mod healing_record;
pub(crate) mod heartbeat;
mod holding;
mod lease;
mod leftovers;
mod maintenance;
mod payloads;
mod seen_server;
pub(crate) mod shared;

use std::path::Path;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::plugins::PluginManager;
use mistersmith_core::config::HostSpec;
use mistersmith_core::limits;
use mistersmith_nats::server::OwnServer;
use mistersmith_nats::{Role, Transport};

use shared::Shared;

pub use build::{Connected, connect};
pub use data::DataFolder;

/// A host that is ready to run.
pub struct Host {
    shared: Arc<Shared>,
    plugins: PluginManager,
    lease: lease::Lease,
    background: Vec<tokio::task::JoinHandle<()>>,
    /// Shut down last, after everything that is connected to it.
    server: Option<OwnServer>,
    _data: DataFolder,
}

/// The state of a host that has come up, for its status line.
#[derive(Debug, Clone)]
pub struct Summary {
    /// The name of the host.
    pub name: String,
    /// Its id, kept in the data folder.
    pub host_id: String,
    /// Number of plugins that run.
    pub plugins: usize,
    /// Number of their agents.
    pub agents: usize,
    /// Number of plugins that are still loading: their components take long to compile.
    pub loading: usize,
    /// Number of plugins that could not be loaded.
    pub broken: usize,
}

/// The way a host ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Ended {
    /// It drained on request.
    Drained,
    /// Its own nats-server exited; the sentence says how, with the server's last output.
    ServerDied(String),
}

impl Ended {
    /// The result of the process for its caller.
    ///
    /// # Errors
    /// The host ended without having been asked to.
    pub fn into_result(self) -> anyhow::Result<()> {
        match self {
            Self::Drained => Ok(()),
            Self::ServerDied(how) => anyhow::bail!("{how}"),
        }
    }
}

impl Host {
    /// Builds a host that drains when `shutdown` is cancelled; once this has returned, no
    /// configuration error can surface. Returns `None` if it was cancelled before there was
    /// anything to drain.
    pub async fn build(
        spec: HostSpec,
        shutdown: &CancellationToken,
    ) -> anyhow::Result<Option<Self>> {
        build::build(spec, shutdown.child_token()).await
    }

    /// Loads the plugins without waiting for components that take long to compile. Agents work as
    /// soon as their component is loaded. Returns early if the host is asked to stop, its server
    /// exits, or the lease is lost; [`Host::run`] then does what is due.
    pub async fn load(&mut self) {
        self.load_with(false).await;
    }

    /// As [`Host::load`], but waits for all components.
    pub async fn load_all(&mut self) {
        self.load_with(true).await;
    }

    async fn load_with(&mut self, every: bool) {
        tokio::select! {
            biased;
            () = self.shared.draining.cancelled() => {}
            _ = died(self.server.as_ref()) => {}
            held = self.lease.turned() => self.lease_turned(held).await,
            () = self.plugins.load(every) => {}
        }
    }

    /// The state after loading.
    pub async fn summary(&self) -> Summary {
        let [plugins, loading, broken] = self.plugins.count();
        Summary {
            name: self.shared.name.clone(),
            host_id: self.shared.id.to_string(),
            plugins,
            agents: self.shared.directory.all().len(),
            loading,
            broken,
        }
    }

    /// The connections, for status lines.
    pub fn transport(&self) -> &Transport {
        &self.shared.transport
    }

    /// The program of the host's own nats-server; `None` if the configuration names servers.
    pub fn server_program(&self) -> Option<&Path> {
        self.server.as_ref().map(OwnServer::program)
    }

    /// Asks the host to drain, as a signal does.
    pub fn stopper(&self) -> CancellationToken {
        self.shared.draining.clone()
    }

    /// Runs until asked to stop, then drains. Returns when everything has ended.
    pub async fn run(mut self) -> Ended {
        let server = self.server.take();
        let ended = loop {
            // In this order: the folder is the least urgent, and may hang.
            tokio::select! {
                biased;
                () = self.shared.draining.cancelled() => break Ended::Drained,
                how = died(server.as_ref()) => break Ended::ServerDied(how),
                held = self.lease.turned() => self.lease_turned(held).await,
                () = self.plugins.scan() => {}
            }
        };
        drain::drain(self).await;
        // Last, after everything that is connected to it.
        if let Some(server) = server {
            server.stop().await;
        }
        ended
    }

    /// Ends all agents when the lease is lost, before another host can claim their ids; claims the
    /// ids and starts the agents again when it is back.
    async fn lease_turned(&mut self, held: bool) {
        if !held {
            tracing::error!("the host cannot renew its lease: its agents stop before it expires");
        }
        let why = async {
            if !held {
                why_not_held(&self.shared, self.server.as_ref()).await;
            }
        };
        // Also when the lease is back: it may have been lost and won again during one scan of the
        // folder. The agents have no longer than the lease; their fences close after it.
        let left = self.shared.term.left();
        let time = left.clamp(limits::SUSPEND_LEAST, limits::SUSPEND_MOST);
        tokio::join!(self.plugins.suspend(time), why);
        if held {
            tracing::info!("the lease is back: agents are started again");
            self.plugins.wake();
        }
    }
}

/// Logs the state of JetStream and the log of the host's own server when the lease is not stored.
async fn why_not_held(shared: &Shared, server: Option<&OwnServer>) {
    let connection = shared.transport.connection(Role::Control);
    let lease = format!("$KV.AGENT_LEASES.{}", lease::key(shared.id.as_str()));
    let error = tokio::time::timeout(limits::SUSPEND_MOST, connection.why_silent(&lease)).await;
    let error = error.map_or_else(
        |_| "JetStream does not answer".to_owned(),
        |e| e.to_string(),
    );
    let server_log = server.and_then(OwnServer::complaint);
    tracing::warn!(error, server_log, "the lease is not stored");
}

/// Resolves when the host's own server has exited without having been asked to.
async fn died(server: Option<&OwnServer>) -> String {
    match server {
        Some(server) => server.died().await,
        None => std::future::pending().await,
    }
}
