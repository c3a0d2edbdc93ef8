//! The product from outside: a real nats-server, the real `mistersmith` program, real plugins, and
//! a NATS client as the rest of the world.
//!
//! Nothing here is linked with the host but its pure names. Each test has a server and folders of
//! its own, so that all of them run at the same time; nothing waits for a time to pass, but for a
//! condition with a deadline.
//!
//! The components come from the folder that `MISTERSMITH_TEST_PLUGINS` names: `make test` builds
//! them and sets it.

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
    missing_docs,
    unreachable_pub
)]

mod bad_input;
mod batches;
mod bench;
mod bursts;
mod circuit;
mod cli;
mod compiling;
mod coordination;
mod deadlines;
mod deployment;
mod docs;
mod drain;
mod election;
mod examples;
mod faults;
mod healing;
mod idempotence;
mod identity;
mod kv;
mod large_payloads;
mod lifecycle;
mod logging;
mod matcher;
mod messaging;
mod metrics;
mod micro;
mod monitoring;
mod pipeline;
mod plugins;
mod provisioning;
mod python;
mod sandbox;
mod scatter;
mod security;
mod signals;
mod traces;
mod transport;
mod work;
