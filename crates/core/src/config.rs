//! The configuration reader: it turns files into checked specifications, or reports all mistakes.
//!
//! It reads `plugin.toml`, `mistersmith.toml` and the files that they name. It never writes a file,
//! never reads the environment (the caller passes it in [`HostEnv`]) and never opens a component.
//! Code behind it need not check a value again: nothing may construct a specification around it.

mod ceilings;
mod circuit;
mod cross;
mod describe;
mod document;
mod drain;
mod election;
mod environment;
mod excess;
mod files;
mod finding;
mod grants;
mod head;
mod host;
mod idempotence;
mod item;
mod jetstream;
mod limits;
mod lock;
mod nats;
mod nearest;
mod notes;
mod patterns;
mod permitted;
mod pipeline;
mod plugin;
mod policy;
mod scan;
mod scatter;
mod schema;
mod section;
mod server;
mod server_rights;
pub mod spec;
mod suggest;
mod units;

pub use cross::cross_check;
pub use describe::{Description, Setting, describe};
pub use drain::outlasts_drain;
pub use environment::HostEnv;
pub use finding::{Finding, Findings};
pub use host::load_host;
pub use jetstream::STREAMS;
pub use lock::{LOCK_FILE, Lock, Pin, Pinned};
pub use permitted::permitted;
pub use plugin::load_plugin;
pub use policy::{Ceiling, LimitCeilings, PolicySpec};
pub use scan::{Candidate, CandidateKind, Scan, scan};
pub use schema::Schema;
pub use server_rights::{ServerRights, Subjects};
pub use spec::{
    Auth, BatchSpec, BucketOverride, CircuitSpec, Discard, ElectionSpec, HostSpec, InstanceMode,
    JetstreamSpec, JoinSpec, Missing, NatsSpec, PluginSpec, ScatterSpec, StageSpec, StreamOverride,
    SubscribeSpec, TaskFilter, TlsSpec, WorkSpec,
};
pub use suggest::suggest_manifest;
pub use units::{duration, show_duration, show_rate, show_size};

pub use crate::permissions::{Access, KvAccess, KvGrant, PermissionSpec};

#[cfg(test)]
mod tests;
