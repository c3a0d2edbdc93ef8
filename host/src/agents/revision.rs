//! One revision of a plugin, ready to run.

use std::sync::Arc;

use tokio::sync::Semaphore;

use mistersmith_core::config::PluginSpec;
use mistersmith_core::permissions::PluginPermissions;
use mistersmith_nats::Connection;
use mistersmith_runtime::{ByteRate, Component};

/// One revision of a plugin. Building it checks the configuration, so that nothing built from it
/// fails on configuration.
#[derive(Clone)]
pub struct PluginRevision {
    /// The parsed manifest.
    pub spec: Arc<PluginSpec>,
    /// The component, compiled and checked against the WIT world.
    pub component: Component,
    /// The connection that its capabilities use: the host's, or the plugin's own.
    pub connection: Connection,
    /// The content of its credentials file when its own connection was opened.
    pub credentials: Option<Arc<[u8]>>,
    /// The permissions of its agents.
    pub permissions: PluginPermissions,
    /// Bounds the pending requests of all its agents.
    pub requests: Arc<Semaphore>,
    /// Bounds the bytes a second that all its agents send.
    pub bytes: Arc<ByteRate>,
}
