//! The harness of the end-to-end tests.
//!
//! Servers, hosts, plugins and clients are values, and end with the test.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "tests read what they have made, and print why they fail"
)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

mod bomb;
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
mod program;
mod proxy;
mod python;
mod raw;
mod wait;

pub use bomb::bomb;
pub use cli::Ran;
pub use components::{component, components, rebuilt, renamed_in, repository};
pub use ear::Ear;
pub use host::{Host, Running};
pub use logs::Line;
pub use nats::{Cluster, Nats, NatsOptions, free_port, nats_server};
pub use operator::Operator;
pub use outside::{Headers, Outside, Stored, header, headers};
pub use plugin::Plugin;
pub use process::{is_alive, signal};
pub use program::{program, target};
pub use proxy::{Proxy, Seen, Way};
pub use python::python;
pub use raw::DEADLY;
pub use wait::{PATIENCE, until, until_in};
