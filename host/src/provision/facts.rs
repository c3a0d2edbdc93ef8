//! What the server can hold, as far as it tells.

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::transport::{Role, Transport, TransportError};

/// What the server can hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ServerFacts {
    /// Its version.
    pub version: String,
    /// The cluster it is part of; none for a single server.
    pub cluster: Option<Cluster>,
    /// What this account may store in files; none when only the server's disk limits it, which no server
    /// tells in advance.
    pub storage: Option<Storage>,
    /// The most bytes that the account allows one stream; none for no such limit.
    pub max_stream_bytes: Option<u64>,
    /// The account demands a byte limit on every stream.
    pub max_bytes_required: bool,
}

/// The bytes for files of an account, on all servers together.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Storage {
    /// The most that it may have.
    pub most: u64,
    /// Held by messages.
    pub used: u64,
    /// Reserved by the byte limits of streams; servers before 2.10 do not tell.
    pub reserved: u64,
}

/// A cluster, as the server we are connected to sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cluster {
    /// Its name.
    pub name: String,
    /// How many servers tell clients of themselves; none when they keep it to themselves.
    pub servers: Option<usize>,
}

impl ServerFacts {
    /// Asks the server. `Unavailable` when it has no JetStream, or none for this account.
    pub async fn read(transport: &Transport) -> Result<Self, TransportError> {
        let account: Account = transport
            .link(Role::Control)
            .call("INFO", &json!(null))
            .await?;
        // What the first connection was told may be older than the cluster.
        let info = transport.fresh_server_info().await?;
        let limits = &account.limits;
        Ok(Self {
            version: info.version,
            cluster: info.cluster.map(|name| Cluster {
                name,
                servers: Some(info.connect_urls.len()).filter(|servers| *servers > 0),
            }),
            storage: bound(limits.max_storage).map(|most| Storage {
                most,
                used: account.storage,
                reserved: account.reserved_storage,
            }),
            max_stream_bytes: bound(limits.storage_max_stream_bytes),
            max_bytes_required: limits.max_bytes_required,
        })
    }

    /// How many replicas to ask for, and whether that is less than wanted because of a single server.
    pub(super) fn replicas(&self, wanted: Option<usize>) -> usize {
        match &self.cluster {
            None => 1,
            Some(cluster) => wanted.unwrap_or(match cluster.servers {
                Some(servers) if servers < 3 => 1,
                _ => 3,
            }),
        }
    }
}

/// Limits of the API: below zero and zero stand for none.
fn bound(limit: i64) -> Option<u64> {
    u64::try_from(limit).ok().filter(|limit| *limit > 0)
}

#[derive(Deserialize)]
struct Account {
    #[serde(default)]
    storage: u64,
    #[serde(default)]
    reserved_storage: u64,
    #[serde(default)]
    limits: Limits,
}

#[derive(Deserialize, Default)]
struct Limits {
    #[serde(default)]
    max_storage: i64,
    #[serde(default)]
    storage_max_stream_bytes: i64,
    #[serde(default)]
    max_bytes_required: bool,
}
