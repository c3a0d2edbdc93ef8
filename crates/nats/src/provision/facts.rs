//! The server's version, cluster and storage limits.

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::api::{CallError, code};
use crate::{Connection, Role, Transport, TransportError};

/// The limits of the server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ServerFacts {
    /// Its version.
    pub version: String,
    /// The cluster it is part of; none for a single server.
    pub cluster: Option<Cluster>,
    /// The file storage of this account; none when only the server's disk limits it, whose size no
    /// server reports.
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
    /// Reserved by the byte limits of streams; servers before 2.10 leave it out.
    pub reserved: u64,
}

/// A cluster, as the server we are connected to sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cluster {
    /// Its name.
    pub name: String,
    /// How many servers announce themselves to clients; none when they announce none.
    pub servers: Option<usize>,
}

impl ServerFacts {
    /// Asks the server. `Unavailable` when it has no JetStream, or none for this account.
    pub async fn read(transport: &Transport) -> Result<Self, TransportError> {
        let connection = transport.connection(Role::Control);
        let account: Account = connection.call("INFO", &json!(null)).await?;
        // The INFO of the first connection may be older than the cluster.
        let info = transport.fresh_server_info().await?;
        let limits = &account.limits;
        let domain = connection.domain().map(str::to_owned);
        // A server counts its neighbours. They say nothing of a JetStream that answers from
        // elsewhere.
        let elsewhere = domain.is_some() || !info.jetstream;
        let neighbours = Some(info.connect_urls.len()).filter(|servers| *servers > 0 && !elsewhere);
        let named = info.cluster.is_some();
        let cluster = is_clustered(connection)
            .await
            .unwrap_or(named)
            .then(|| Cluster {
                name: domain
                    .or(info.cluster)
                    .or(account.domain)
                    .unwrap_or(info.server_name),
                servers: neighbours,
            });
        Ok(Self {
            version: info.version,
            cluster,
            storage: bound(limits.max_storage).map(|most| Storage {
                most,
                used: account.storage,
                reserved: account.reserved_storage,
            }),
            max_stream_bytes: bound(limits.storage_max_stream_bytes),
            max_bytes_required: limits.max_bytes_required,
        })
    }

    /// These, with no fewer servers than there were before: those that are away will be back.
    pub(super) fn at_least(mut self, before: &Self) -> Self {
        if let (Some(now), Some(before)) = (&mut self.cluster, &before.cluster) {
            now.servers = now.servers.max(before.servers);
        }
        self
    }

    /// How many replicas to ask for, and whether that is less than wanted because of a single
    /// server.
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

/// Whether the servers that hold our streams are a cluster. The name of a cluster does not say it:
/// a leaf node has one, and a server in front of a JetStream elsewhere has another. So JetStream is
/// asked for a consumer with replicas, on a stream that is not there: a single server refuses the
/// replicas before it looks for the stream (2.9 to 2.15), a cluster only misses the stream.
///
/// None when that does not become clear, as for a user who may not ask.
async fn is_clustered(connection: &Connection) -> Option<bool> {
    const NOWHERE: &str = "MISTERSMITH_NOT_HERE";
    let config = json!({
        "durable_name": NOWHERE, "ack_policy": "explicit", "num_replicas": 3,
    });
    let body = json!({ "stream_name": NOWHERE, "config": config });
    let call = format!("CONSUMER.DURABLE.CREATE.{NOWHERE}.{NOWHERE}");
    match connection.call::<serde_json::Value>(&call, &body).await {
        Err(error) if error.is(code::REPLICAS_NEED_CLUSTER) => Some(false),
        Ok(_) | Err(CallError::Refused(_)) => Some(true),
        Err(CallError::Failed(_)) => None,
    }
}

/// Limits of the API: below zero and zero stand for none.
fn bound(limit: i64) -> Option<u64> {
    u64::try_from(limit).ok().filter(|limit| *limit > 0)
}

#[derive(Deserialize)]
struct Account {
    #[serde(default)]
    domain: Option<String>,
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
