//! The query to other hosts for the agents they run, used while AGENT_CLAIMS is too new to list
//! them.
//!
//! The bucket is too new at the first start of a system, when there is no other host, and after its
//! loss, when a joining host would otherwise take the ids of all others. An agent that does not
//! answer in time is found when the claims are checked again.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;

use mistersmith_core::limits;
use mistersmith_core::names::{AgentId, HostId, PluginName};
use mistersmith_nats::{Connection, Message, TransportError};

/// How long answers are awaited.
const WAIT: Duration = Duration::from_millis(250);

/// Queries other hosts; clones share the results.
#[derive(Clone)]
pub(in crate::host) struct Neighbours {
    connection: Connection,
    /// This host, whose agents answer too.
    host: HostId,
    /// No other host answered when this one started.
    alone: Arc<AtomicBool>,
}

impl Neighbours {
    /// For a host that has to query before it knows.
    pub(in crate::host) fn new(connection: Connection, host: HostId) -> Self {
        Self {
            connection,
            host,
            alone: Arc::default(),
        }
    }

    /// Checks whether any host is there before this one subscribes: if none is, that is known at
    /// once, and stays true until the buckets are lost.
    pub(in crate::host) async fn meet(&self) {
        let asked = self.connection.gather("$SRV.PING", WAIT, 1).await;
        let alone = matches!(asked, Err(TransportError::NoResponders));
        self.alone.store(alone, Ordering::Relaxed);
    }

    /// The buckets were created again while this host runs: from now on it queries.
    pub(in crate::host) fn forget(&self) {
        self.alone.store(false, Ordering::Relaxed);
    }

    /// The agents of a plugin that run on other hosts.
    pub(super) async fn of(&self, plugin: &PluginName) -> BTreeSet<AgentId> {
        if self.alone.load(Ordering::Relaxed) {
            return BTreeSet::new();
        }
        let subject = format!("$SRV.PING.{plugin}");
        let answers = self
            .connection
            .gather(&subject, WAIT, limits::MAX_CLAIMS)
            .await;
        let answers = answers.unwrap_or_default();
        let others = answers.iter().filter_map(|answer| self.other(answer));
        others.collect()
    }

    fn other(&self, answer: &Message) -> Option<AgentId> {
        let pong: Value = serde_json::from_slice(&answer.payload).ok()?;
        let host = pong.pointer("/metadata/host_id")?.as_str()?;
        let id = pong.get("id")?.as_str()?;
        (host != self.host.as_str()).then(|| id.parse().ok())?
    }
}
