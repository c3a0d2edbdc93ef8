//! What JetStream should hold for the host, and how to get there: read → plan (pure) → apply.
//!
//! Creates what is missing and widens what is too narrow. Never narrows, moves or deletes anything that
//! somebody may still need, unless forced; never changes replicas on a single server, where a server
//! of that age accepts it and loses the stream at its next start. Safe to repeat, and safe when
//! several hosts start at once.

mod apply;
mod assets;
pub mod consumers;
mod current;
mod diff;
mod facts;
mod plan;

pub use apply::{Applied, ProvisionError, apply};
pub use assets::{Asset, Kind, desired};
pub use current::{Current, read};
pub use diff::{Effect, FieldDiff};
pub use facts::{Cluster, ServerFacts};
pub use plan::{Action, Change, Plan, plan};

#[cfg(test)]
mod tests;
