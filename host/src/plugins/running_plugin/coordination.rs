//! A plugin's part in agreements between hosts: the election of its domain, the circuit of its
//! service.

use std::time::Duration;

use anyhow::Context;
use tokio::sync::oneshot;

use crate::agents::PluginRevision;
use crate::circuit::{Sharing, share};
use crate::election::{Election, ElectionConfig};
use mistersmith_core::limits;
use mistersmith_core::names::Token;
use mistersmith_nats::Role;

use super::{FeedTask, RunningPlugin};

/// How long the first read of a circuit's record is awaited; without an answer the circuit counts
/// as closed.
const LOOK: Duration = Duration::from_secs(2);

/// The election domain of a revision.
pub(super) fn domain(revision: &PluginRevision) -> Option<Token> {
    let election = revision.spec.election.as_ref();
    election.map(|election| election.domain.clone())
}

impl RunningPlugin {
    /// Joins the election that the revision names, if any.
    pub(super) async fn join_election(&mut self) -> anyhow::Result<()> {
        let Some(spec) = &self.revision.spec.election else {
            return Ok(());
        };
        let shared = &self.shared;
        let seen = shared.healing_record.newest_term(&spec.domain);
        self.plugin_queue.election.remember(&spec.domain, seen);
        let candidacy = ElectionConfig {
            domain: spec.domain.clone(),
            plugin: self.revision.spec.name.clone(),
            directory: shared.directory.clone(),
            view: self.plugin_queue.election.clone(),
            leases: shared.kv.leases.clone(),
            claims: shared.kv.claims.clone(),
            connection: shared.transport.connection(Role::Control).clone(),
            host: shared.name.clone(),
        };
        let begun = Election::start(candidacy).await;
        let election = begun.with_context(|| {
            let name = &self.revision.spec.name;
            format!(
                "plugin `{name}` cannot take part in the election of `{}`",
                spec.domain
            )
        })?;
        self.election = Some(election);
        Ok(())
    }

    /// Sets up the gate before the service that the revision names, and shares its state; or
    /// removes it. Returns after the record was read: pulling earlier could take items that an open
    /// circuit would only hold.
    pub(super) async fn share_circuit(&mut self) {
        let spec = self.revision.spec.circuit.clone();
        self.plugin_queue.circuit.configure(spec.clone());
        self.circuit = None;
        let Some(spec) = spec else {
            return;
        };
        let shared = &self.shared;
        let plugin_queue = self.plugin_queue.clone();
        let sharing = Sharing {
            spec,
            gate: plugin_queue.circuit.clone(),
            has_takers: Box::new(move || plugin_queue.taking() > 0),
            circuits: shared.kv.circuits.clone(),
            connection: shared.transport.connection(Role::Control).clone(),
            host: shared.name.clone(),
        };
        let cancel = shared.draining.child_token();
        let (looked, has_looked) = oneshot::channel();
        let task = tokio::spawn(share(sharing, looked, cancel.clone()));
        self.circuit = Some(FeedTask {
            cancel,
            task: Some(task),
        });
        let _ = tokio::time::timeout(LOOK, has_looked).await;
    }

    /// Leaves the election. All leaderships of its agents have ended by the first await.
    pub(super) async fn resign(&mut self) {
        if let Some(election) = self.election.take() {
            election.resign(limits::RESIGN).await;
        }
    }
}
