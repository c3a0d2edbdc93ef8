//! What the tests say instead of processes, folders, sockets and signals.

mod cli;
mod components;
mod ear;
mod host;
mod logs;
mod nats;
mod operator;
mod outside;
mod plugin;
mod process;
mod python;
mod tap;
mod wait;

pub use cli::Ran;
pub use components::{component, components, rebuilt, renamed_in, repository};
pub use ear::Ear;
pub use host::{Host, Running};
pub use logs::Line;
pub use nats::{Cluster, Nats, NatsOptions, nats_server};
pub use operator::Operator;
pub use outside::{Headers, Outside, Stored, header, headers};
pub use plugin::Plugin;
pub use process::{is_alive, signal};
pub use python::python;
pub use wait::{PATIENCE, until, until_in};
