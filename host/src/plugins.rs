//! Plugins: found in the folder, loaded, replaced, supervised and removed.

mod host_port;
mod load_task;
mod loading;
mod manager_port;
mod pins;
mod plugin_manager;
mod running_plugin;
mod watch;

/// The plugins of this host.
pub(crate) type PluginManager = plugin_manager::PluginManager<host_port::HostPort>;
