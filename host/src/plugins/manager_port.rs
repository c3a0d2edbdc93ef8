//! The plugin manager's port to the host, with an in-memory implementation in tests.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use mistersmith_core::config::{Candidate, PluginSpec};
use mistersmith_core::names::{AgentId, PluginName};

use super::loading::{Compiling, Problem, Read};
use super::pins::Pins;
use super::watch::{Looked, Seen};
use crate::status::StopReason;

/// A change of a running plugin, as the log and the audit name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// It runs; it did not before.
    Loaded,
    /// Another revision runs in its place.
    Replaced,
    /// The parts that had ended by themselves run again.
    Mended,
    /// It was not loaded.
    Refused,
}

impl Change {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Loaded => "loaded",
            Self::Replaced => "replaced",
            Self::Mended => "mended",
            Self::Refused => "refused",
        }
    }
}

/// Reads, starts and ends plugins.
pub(crate) trait PluginPort: Send + Sync + 'static {
    /// A running plugin.
    type Running: Running;
    /// The plugins folder.
    type Folder: Folder;

    /// The plugins folder.
    fn folder(&self) -> Self::Folder;

    /// The path of the plugins folder.
    fn path(&self) -> &Path;

    /// Reads a plugin's manifest; `others` are those that it must not conflict with.
    fn read(
        &self,
        seen: &Seen,
        others: &[&PluginSpec],
    ) -> impl Future<Output = Result<Read, Problem>> + Send;

    /// Suggests a manifest for a component that has none.
    fn suggest(&self, bare: Candidate);

    /// Starts a revision in place of the running plugin. Returns the action taken. After a failure
    /// the running plugin goes on.
    fn bring_up(
        &self,
        wanted: Wanted,
        running: &mut Option<Self::Running>,
        compiling: &Compiling,
    ) -> impl Future<Output = Result<Change, Problem>> + Send;

    /// The reason why a drain may cut this plugin off.
    fn outlasts_drain(&self, spec: &PluginSpec) -> Option<String>;

    /// Records a change of a plugin.
    fn audit(&self, entry: Value);

    /// Every claimed id; `None` if they cannot be read.
    fn claimed(&self) -> impl Future<Output = Option<Vec<AgentId>>> + Send;

    /// Gives up those of the ids that belong to this host.
    fn give_up(&self, ids: Vec<AgentId>) -> impl Future<Output = ()> + Send;

    /// Ends a plugin that was removed from the folder, with everything it has on this host.
    fn leave(
        &self,
        plugin: &PluginName,
        running: Option<Self::Running>,
    ) -> impl Future<Output = ()> + Send;
}

/// The plugins folder.
pub(crate) trait Folder: Send {
    /// The result of the next scan; cancel safe.
    fn next(&mut self) -> impl Future<Output = Looked> + Send;
}

/// A revision to start.
pub(crate) struct Wanted {
    /// Its manifest.
    pub(super) spec: Arc<PluginSpec>,
    /// If nothing runs: agents that must not be started.
    pub(super) down: BTreeSet<AgentId>,
    /// The lock, which may hold it.
    pub(super) pins: Arc<Pins>,
}

/// A running plugin.
pub(crate) trait Running: Send + Sync + 'static {
    /// Its manifest.
    fn spec(&self) -> &Arc<PluginSpec>;

    /// The number of its agents.
    fn agents(&self) -> usize;

    /// Whether an id is in use here, or reserved for an agent that a command has shut down.
    fn claims_id(&self, id: &AgentId) -> bool;

    /// The agents that a command has shut down.
    fn shut_down(&self) -> impl Future<Output = BTreeSet<AgentId>> + Send;

    /// Whether something exited that should run.
    fn is_broken(&self) -> impl Future<Output = bool> + Send;

    /// Restarts the parts that exited unexpectedly.
    fn mend(&mut self) -> impl Future<Output = Result<(), Problem>> + Send;

    /// Ends its agents within `limit`.
    fn stop(self, reason: StopReason, limit: Duration) -> impl Future<Output = ()> + Send;
}
