//! The grants of a manifest: plain data, valid but not yet compiled.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::names::Bucket;

/// The `[permissions]` of a manifest. Nothing is allowed that is not listed; patterns may hold
/// `{agent}` and `{plugin}`, which stand for the ids.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct PermissionSpec {
    /// The file that a missing grant is to be added to; refusals name it.
    pub manifest: PathBuf,
    /// Patterns of subjects that an agent may publish on.
    pub publish: Vec<String>,
    /// Patterns of subjects that an agent may subscribe to at run time.
    pub subscribe: Vec<String>,
    /// Patterns of subjects that an agent may send requests to.
    pub request: Vec<String>,
    /// Patterns of subjects that are refused whatever the others say, also at delivery.
    pub deny: Vec<String>,
    /// Keys in buckets.
    pub kv: Vec<KvGrant>,
}

/// One entry of `[permissions] kv`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KvGrant {
    /// The bucket.
    pub bucket: Bucket,
    /// Patterns of keys; may hold `{agent}` and `{plugin}`.
    pub keys: Vec<String>,
    /// What may be done with them; reading only where the manifest does not say.
    pub access: KvAccess,
}

/// The `access` of a grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KvAccess {
    /// `get` and `keys`.
    #[default]
    Read,
    /// `put`, `create`, `update`, `delete`.
    Write,
    /// Both.
    ReadWrite,
}

impl KvAccess {
    /// Does the grant allow this use?
    pub fn allows(self, access: Access) -> bool {
        match access {
            Access::Read => self != Self::Write,
            Access::Write => self != Self::Read,
        }
    }

    /// As a manifest writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::ReadWrite => "read-write",
        }
    }
}

/// The use of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// See its value.
    Read,
    /// Change or delete it.
    Write,
}
