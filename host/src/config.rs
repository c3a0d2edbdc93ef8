//! Configuration: files in, a specification that cannot be wrong out, or every mistake at once.

mod schema;
pub mod spec;

pub use schema::Schema;
pub use spec::{
    Auth, BucketOverride, Discard, HostSpec, InstanceMode, JetstreamSpec, NatsSpec, PluginSpec,
    StreamOverride, SubscribeSpec, TaskFilter, TlsSpec, WorkSpec,
};

pub use crate::permissions::{Access, KvAccess, KvGrant, PermissionSpec};
