//! For the tests of all crates: real nats-servers, and golden files.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "for tests, which read what they have made, and print what they did"
)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod cluster;
mod fuzz;
mod golden;
mod package;
mod server;

pub use cluster::Cluster;
pub use fuzz::fuzz;
pub use golden::golden;
pub use package::package;
pub use server::{DEADLINE, TestServer, by, nats_server, until};
