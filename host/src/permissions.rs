//! What an agent may do: pure decisions, deny by default.

mod spec;

pub use spec::{Access, KvAccess, KvGrant, PermissionSpec};
