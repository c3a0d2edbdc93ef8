//! The parts of MisterSmith that need neither network nor engine: [`names`], [`limits`],
//! [`permissions`], the manifest and the configuration ([`config`]), the reading of files
//! ([`files`]) and their digests ([`digest`]), the pauses between attempts ([`backoff`]), and
//! budgets of bytes ([`byte_budget`]).

#![cfg_attr(
    test,
    allow(
        clippy::disallowed_methods,
        clippy::print_stderr,
        clippy::print_stdout,
        reason = "tests read what they have made, and print why they fail"
    )
)]

pub mod backoff;
pub mod byte_budget;
pub mod config;
pub mod digest;
pub mod files;
pub mod limits;
pub mod names;
pub mod permissions;
pub mod telemetry;

#[cfg(test)]
mod fuzz;
