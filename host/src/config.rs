//! Configuration: files in, a specification that cannot be wrong out, or every mistake at once.
//!
//! Reads `plugin.toml`, `mistersmith.toml` and what they name. Never writes a file, never looks at
//! the environment (the caller passes what counts in [`HostEnv`]), never opens a component.

mod circuit;
mod cross;
mod describe;
mod document;
mod drain;
mod election;
mod files;
mod finding;
mod grants;
mod head;
mod host;
mod idempotence;
mod item;
mod jetstream;
mod limits;
mod nats;
mod patterns;
mod pipeline;
mod plugin;
mod scan;
mod scatter;
mod schema;
mod section;
mod server;
pub mod spec;
mod suggest;
mod units;

pub use cross::cross_check;
pub use describe::{Description, Setting, describe};
pub use drain::outlasts_drain;
pub use finding::{Finding, Findings};
pub use host::{HostEnv, load_host};
pub use jetstream::STREAMS;
pub use plugin::load_plugin;
pub use scan::{Candidate, CandidateKind, Scan, scan};
pub use schema::Schema;
pub use spec::{
    Auth, BatchSpec, BucketOverride, CircuitSpec, Discard, ElectionSpec, HostSpec, InstanceMode,
    JetstreamSpec, JoinSpec, Missing, NatsSpec, PluginSpec, ScatterSpec, StageSpec, StreamOverride,
    SubscribeSpec, TaskFilter, TlsSpec, WorkSpec,
};
pub use suggest::suggest_manifest;
pub(crate) use units::duration;
pub use units::{show_duration, show_rate, show_size};

pub use crate::permissions::{Access, KvAccess, KvGrant, PermissionSpec};

#[cfg(test)]
mod tests;
