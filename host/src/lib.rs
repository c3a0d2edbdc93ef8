//! MisterSmith's host: agents as sandboxed WebAssembly components on NATS.
//!
//! A message arrives through [`mistersmith_nats`]. One pattern ([`work`], [`pipeline`],
//! [`scatter`], [`subscribe`]) makes a [`delivery`] of it and offers it to the [`agents`] of a
//! plugin. [`mistersmith_runtime`] calls the component, whose host functions ask
//! [`mistersmith_core::permissions`]. A message of a stream is [settled](settle) when its outcome
//! is known. `plugins` loads and supervises plugins, [`fleet`] answers what anybody may ask of
//! every agent, [`host`] is the life of the process, [`cli`] the command line.

#![cfg_attr(
    test,
    allow(
        clippy::disallowed_methods,
        clippy::print_stderr,
        clippy::print_stdout,
        reason = "tests read what they have made, and print why they fail"
    )
)]

pub mod agents;
pub mod circuit;
pub mod cli;
pub mod clock;
pub mod delivery;
pub mod election;
pub mod events;
pub mod fleet;
pub mod host;
mod kv_key;
mod kv_lease;
pub mod pipeline;
mod plugins;
pub mod scatter;
pub mod settle;
pub mod status;
pub mod subscribe;
#[cfg(test)]
mod testing;
pub mod work;
