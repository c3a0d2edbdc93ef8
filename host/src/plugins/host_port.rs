//! The plugin manager's port to the real host: folder, runtime, claims and audit trail.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use mistersmith_core::config::{self, Candidate, PluginSpec};
use mistersmith_core::limits;
use mistersmith_core::names::{AgentId, PluginName};

use super::loading::{self, Compiling, Problem, Read};
use super::manager_port::{Change, Folder, PluginPort, Running, Wanted};
use super::plugin_manager::PluginManager;
use super::running_plugin::{self, RunningPlugin};
use super::watch::{Looked, Seen, Watch};
use crate::events::audit;
use crate::host::shared::Shared;
use crate::status::StopReason;

/// The implementation of the plugin manager's port by the host.
pub(crate) struct HostPort {
    shared: Arc<Shared>,
}

impl PluginManager<HostPort> {
    /// A manager of this host's plugins; none is loaded yet.
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self::over(HostPort { shared })
    }
}

impl PluginPort for HostPort {
    type Running = RunningPlugin;
    type Folder = Watch;

    fn folder(&self) -> Watch {
        Watch::new(self.path(), &self.shared.spec.lock)
    }

    fn path(&self) -> &Path {
        &self.shared.spec.plugins
    }

    async fn read(&self, seen: &Seen, others: &[&PluginSpec]) -> Result<Read, Problem> {
        loading::read(&self.shared, seen, others).await
    }

    fn suggest(&self, bare: Candidate) {
        let shared = self.shared.clone();
        tokio::spawn(async move { loading::suggest(&shared, &bare).await });
    }

    async fn bring_up(
        &self,
        wanted: Wanted,
        running: &mut Option<RunningPlugin>,
        compiling: &Compiling,
    ) -> Result<Change, Problem> {
        let shared = &self.shared;
        let before = running.as_ref().map(RunningPlugin::revision);
        let Wanted { spec, down, pins } = wanted;
        let component = loading::component(&spec, pins).await?;
        let component = loading::compile(shared, &spec, component, compiling).await?;
        let revision = loading::load(shared, spec, before, component).await?;
        if let Some(running) = running {
            running.replace(revision).await?;
            return Ok(Change::Replaced);
        }
        let fresh = running.insert(RunningPlugin::new(shared.clone(), revision, down));
        match fresh.start().await {
            Ok(()) => Ok(Change::Loaded),
            Err(error) => {
                // Dropping it ends the parts that were started.
                *running = None;
                Err(error.into())
            }
        }
    }

    fn outlasts_drain(&self, spec: &PluginSpec) -> Option<String> {
        let finding = config::outlasts_drain(spec, &self.shared.spec);
        finding.map(|finding| finding.to_string())
    }

    fn audit(&self, entry: Value) {
        self.shared.deps.events.audit(audit::PLUGIN, entry);
    }

    async fn claimed(&self) -> Option<Vec<AgentId>> {
        let ids = self.shared.claims.all().await;
        let ids = ids.inspect_err(|error| tracing::debug!(%error, "claims not looked through"));
        ids.ok()
    }

    async fn give_up(&self, ids: Vec<AgentId>) {
        self.shared.claims.give_up(ids).await;
    }

    async fn leave(&self, plugin: &PluginName, running: Option<RunningPlugin>) {
        let shared = &self.shared;
        // An interrupted start has claimed ids that no running plugin has.
        let mut ids = shared.claims.of(plugin).await.unwrap_or_default();
        if let Some(running) = running {
            let grace = shared.spec.grace;
            ids.extend(running.stop(StopReason::Removed, grace).await);
        }
        if ids.len() >= limits::TRIM_AFTER {
            mistersmith_runtime::trim();
        }
        running_plugin::forget(shared, plugin, ids).await;
        tracing::info!(%plugin, "plugin removed");
        self.audit(json!({"plugin": plugin.as_str(), "change": "removed"}));
    }
}

impl Folder for Watch {
    async fn next(&mut self) -> Looked {
        Self::next(self).await
    }
}

impl Running for RunningPlugin {
    fn spec(&self) -> &Arc<PluginSpec> {
        &self.revision().spec
    }

    fn agents(&self) -> usize {
        Self::agents(self)
    }

    fn claims_id(&self, id: &AgentId) -> bool {
        Self::claims_id(self, id)
    }

    async fn shut_down(&self) -> BTreeSet<AgentId> {
        Self::shut_down(self).await
    }

    async fn is_broken(&self) -> bool {
        Self::is_broken(self).await
    }

    async fn mend(&mut self) -> Result<(), Problem> {
        Ok(Self::mend(self).await?)
    }

    async fn stop(self, reason: StopReason, limit: Duration) {
        Self::stop(self, reason, limit).await;
    }
}
