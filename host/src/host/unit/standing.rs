//! A plugin's part in what hosts agree upon: the election of its domain, the circuit of its service.

use std::time::Duration;

use anyhow::Context;
use tokio::sync::oneshot;

use crate::agent::Version;
use crate::limits;
use crate::names::Token;
use crate::patterns::circuit::{Sharing, share};
use crate::patterns::election::{Candidacy, Election};
use crate::transport::Role;

use super::{Running, Unit};

/// How long the first look at the record of a circuit is waited for; without an answer the circuit
/// counts as closed.
const LOOK: Duration = Duration::from_secs(2);

/// The domain in which a version takes part.
pub(super) fn domain(version: &Version) -> Option<Token> {
    let election = version.spec.election.as_ref();
    election.map(|election| election.domain.clone())
}

impl Unit {
    /// Takes part in the election that the version names, if it names one.
    pub(super) async fn stand(&mut self) -> anyhow::Result<()> {
        let Some(spec) = &self.version.spec.election else {
            return Ok(());
        };
        let shared = &self.shared;
        let candidacy = Candidacy {
            domain: spec.domain.clone(),
            plugin: self.version.spec.name.clone(),
            directory: shared.directory.clone(),
            board: self.crew.election.clone(),
            leases: shared.kv.leases.clone(),
            link: shared.transport.link(Role::Control).clone(),
            host: shared.name.clone(),
        };
        let begun = Election::start(candidacy).await;
        let election = begun.with_context(|| {
            let name = &self.version.spec.name;
            format!(
                "plugin `{name}` cannot take part in the election of `{}`",
                spec.domain
            )
        })?;
        self.election = Some(election);
        Ok(())
    }

    /// Puts the gate before the service that the version names, and shares its state; or takes it
    /// away. Returns when the record was looked at: nothing is to be pulled before, which an open
    /// circuit would only hold.
    pub(super) async fn share_circuit(&mut self) {
        let spec = self.version.spec.circuit.clone();
        self.crew.circuit.stand_before(spec.clone());
        self.circuit = None;
        let Some(spec) = spec else {
            return;
        };
        let shared = &self.shared;
        let sharing = Sharing {
            spec,
            crew: self.crew.clone(),
            circuits: shared.kv.circuits.clone(),
            link: shared.transport.link(Role::Control).clone(),
            host: shared.name.clone(),
        };
        let cancel = shared.draining.child_token();
        let (looked, has_looked) = oneshot::channel();
        let task = tokio::spawn(share(sharing, looked, cancel.clone()));
        self.circuit = Some(Running {
            cancel,
            task: Some(task),
        });
        let _ = tokio::time::timeout(LOOK, has_looked).await;
    }

    /// Takes part no longer: what any agent led has ended when this first waits.
    pub(super) async fn resign(&mut self) {
        if let Some(election) = self.election.take() {
            election.resign(limits::RESIGN).await;
        }
    }
}
