//! Claims on the consumers of work and stages: a record per durable in AGENT_CLAIMS,
//! `durable.<name>`, with the plugin that takes from it and the hosts that run that plugin.
//!
//! Records change by compare-and-swap only. A listed host counts while its lease lives. A consumer
//! is marked before it is deleted, and who wants it waits until that is done: otherwise it could be
//! deleted right after another host has claimed it.

mod claimed;
mod floors;
mod living;
mod refusals;
mod restore;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use super::consumers::{self, Consumer, ConsumerState, Obstacle};
use crate::{Connection, Kv, TransportError};
use claimed::ClaimedConsumers;
use floors::Floors;
use living::Living;
use mistersmith_core::config::{StageSpec, WorkSpec};
use mistersmith_core::limits;
use mistersmith_core::names::{HostId, PluginName};
use refusals::{explain, taken};

/// How long a consumer that another host is deleting is waited for; then that host is taken for
/// dead.
const RETIRING: Duration = Duration::from_secs(10);
/// How often it is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// The value of a durable's key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    /// The plugin whose agents take from it.
    plugin: String,
    /// The hosts that run this plugin.
    hosts: BTreeSet<String>,
    /// It is being deleted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    retiring: bool,
}

/// Claims consumers for one host.
#[derive(Debug, Clone)]
pub struct ConsumerClaims {
    connection: Connection,
    claims: Kv,
    leases: Kv,
    host: HostId,
    held: ClaimedConsumers,
    floors: Floors,
    /// A reload changes what is held; what is missing is not made again meanwhile.
    turn: Arc<Mutex<()>>,
}

impl ConsumerClaims {
    /// For this host, over this connection, once at its start: takes it out of every record that it
    /// left behind. It may have been killed, and come back with other plugins.
    pub async fn new(connection: Connection, host: HostId) -> Result<Self, TransportError> {
        let claims = connection.kv("AGENT_CLAIMS").await?;
        let leases = connection.kv("AGENT_LEASES").await?;
        let ours = Self {
            floors: Floors::new(&connection).await?,
            connection,
            claims,
            leases,
            host,
            held: ClaimedConsumers::default(),
            turn: Arc::default(),
        };
        for name in ours.recorded().await? {
            ours.leave(&name, None).await?;
        }
        Ok(ours)
    }

    /// Claims the consumers of a plugin's work and stages, makes those that are missing, and lets
    /// go of those that the plugin had before and needs no longer.
    ///
    /// Fails when a living host runs another plugin that takes some of the same.
    pub async fn claim(
        &self,
        plugin: &PluginName,
        work: &[WorkSpec],
        stages: &[StageSpec],
    ) -> anyhow::Result<()> {
        let work = work.iter().flat_map(consumers::of);
        let wanted: Vec<Consumer> = work.chain(stages.iter().map(consumers::of_stage)).collect();
        let _turn = self.turn.lock().await;
        let living = self.living().await?;
        self.let_go(plugin, &wanted, &living).await?;
        for consumer in &wanted {
            self.record(plugin, consumer, &living).await?;
        }
        for consumer in &wanted {
            self.make(plugin, consumer, &living).await?;
        }
        self.held.set(plugin, wanted);
        Ok(())
    }

    /// Lets go of every consumer of a plugin that no longer runs on this host.
    pub async fn release(&self, plugin: &PluginName) -> anyhow::Result<()> {
        let _turn = self.turn.lock().await;
        self.held.set(plugin, Vec::new());
        let living = self.living().await?;
        self.let_go(plugin, &[], &living).await
    }

    /// Deletes the consumers that no living host claims and that have nothing waiting; and, if
    /// `heals`, makes those again that we claim and that are gone, with their records.
    pub async fn sweep(&self, heals: bool) -> anyhow::Result<()> {
        let living = self.living().await?;
        for name in self.recorded().await? {
            self.retire(&name, &living, &[]).await?;
        }
        if heals {
            self.restore(&living).await?;
        }
        Ok(())
    }

    /// Records up to where the inputs of the stages of this host are done.
    ///
    /// # Errors
    /// The server does not answer.
    pub async fn note_floors(&self) -> Result<(), TransportError> {
        let held = self.held.all().into_values().flatten();
        let stages = held.filter(|consumer| consumer.stream == consumers::STAGE_STREAM);
        self.floors.note_all(&stages.collect::<Vec<_>>()).await
    }

    async fn living(&self) -> Result<Living, TransportError> {
        Living::read(&self.connection, &self.leases, &self.host).await
    }

    async fn recorded(&self) -> Result<Vec<String>, TransportError> {
        let keys = self.claims.keys("durable.*", limits::MAX_CONSUMERS).await?;
        Ok(keys
            .iter()
            .filter_map(|key| key.strip_prefix("durable."))
            .map(str::to_owned)
            .collect())
    }

    async fn record_of(&self, name: &str) -> Result<Option<(Record, u64)>, TransportError> {
        let Some(entry) = self.claims.get(&key(name)).await? else {
            return Ok(None);
        };
        // A record that cannot be read claims nothing: nobody can renew it.
        let record = serde_json::from_slice(&entry.value).unwrap_or(Record {
            plugin: String::new(),
            hosts: BTreeSet::new(),
            retiring: false,
        });
        Ok(Some((record, entry.revision)))
    }

    /// Writes us into the record of a consumer.
    async fn record(
        &self,
        plugin: &PluginName,
        consumer: &Consumer,
        living: &Living,
    ) -> anyhow::Result<()> {
        let start = Instant::now();
        loop {
            let found = self.record_of(&consumer.durable).await?;
            if found.as_ref().is_some_and(|(record, _)| record.retiring)
                && start.elapsed() < RETIRING
            {
                tokio::time::sleep(LOOK).await;
                continue;
            }
            let revision = found.as_ref().map(|(_, revision)| *revision);
            let Some(record) = join(found.map(|(r, _)| r), plugin, &self.host, living)
                .map_err(|other| taken(plugin, consumer, &other))?
            else {
                return Ok(());
            };
            let value = record.json();
            let key = key(&consumer.durable);
            let written = match revision {
                Some(revision) => self.claims.update(&key, value, revision).await,
                None => self.claims.create(&key, value).await,
            };
            match written {
                Ok(_) => return Ok(()),
                // Another host wrote first: look again.
                Err(TransportError::Conflict) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Makes a consumer, and moves out of its way what no living host claims.
    async fn make(
        &self,
        plugin: &PluginName,
        wanted: &Consumer,
        living: &Living,
    ) -> anyhow::Result<()> {
        let start = self.floors.start(wanted).await?;
        match consumers::ensure(&self.connection, wanted, start).await {
            Ok(()) => return Ok(()),
            Err(Obstacle::Overlaps(others)) => {
                for other in others {
                    self.move_away(plugin, wanted, &other, living).await?;
                }
            }
            Err(obstacle) => return Err(explain(wanted, obstacle)),
        }
        consumers::ensure(&self.connection, wanted, start)
            .await
            .map_err(|obstacle| explain(wanted, obstacle))
    }

    async fn move_away(
        &self,
        plugin: &PluginName,
        wanted: &Consumer,
        other: &ConsumerState,
        living: &Living,
    ) -> anyhow::Result<()> {
        let Some((record, _)) = self.record_of(&other.name).await? else {
            bail!(
                "consumer `{}` of {} takes `{}`, which overlaps `{}`, and is not ours; delete it, \
                 or take other work",
                other.name,
                consumers::WORK_STREAM,
                other.filter(),
                wanted.filter
            );
        };
        if record
            .hosts
            .iter()
            .any(|host| living.contains(host) && *host != self.host.as_str())
            || (record.plugin != plugin.as_str() && record.hosts.contains(self.host.as_str()))
        {
            return Err(taken(plugin, wanted, &record.plugin));
        }
        self.retire(&other.name, living, std::slice::from_ref(wanted))
            .await
    }

    /// Takes us out of the records of a plugin's consumers that are not wanted.
    async fn let_go(
        &self,
        plugin: &PluginName,
        wanted: &[Consumer],
        living: &Living,
    ) -> anyhow::Result<()> {
        for name in self.recorded().await? {
            if wanted.iter().any(|consumer| consumer.durable == name) {
                continue;
            }
            if self.leave(&name, Some(plugin)).await? {
                self.retire(&name, living, wanted).await?;
            }
        }
        Ok(())
    }

    /// Takes us out of the record of a consumer, if it is this plugin's; returns whether we were in
    /// it.
    async fn leave(&self, name: &str, plugin: Option<&PluginName>) -> Result<bool, TransportError> {
        loop {
            let Some((mut record, revision)) = self.record_of(name).await? else {
                return Ok(false);
            };
            let another = plugin.is_some_and(|plugin| record.plugin != plugin.as_str());
            if another || !record.hosts.remove(self.host.as_str()) {
                return Ok(false);
            }
            match self
                .claims
                .update(&key(name), record.json(), revision)
                .await
            {
                Ok(_) => return Ok(true),
                Err(TransportError::Conflict) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Deletes a consumer that no living host claims, if nothing waits for it or it is in the way
    /// of what is wanted: its messages stay in the stream for the next one. That of a stage stays.
    async fn retire(&self, name: &str, living: &Living, wanted: &[Consumer]) -> anyhow::Result<()> {
        if consumers::stream_of(name) == consumers::STAGE_STREAM {
            return Ok(());
        }
        let Some((record, revision)) = self.record_of(name).await? else {
            return Ok(());
        };
        if record.hosts.iter().any(|host| living.contains(host)) {
            return Ok(());
        }
        if let Some(state) = consumers::state(&self.connection, name).await? {
            let in_the_way = wanted
                .iter()
                .any(|w| mistersmith_core::names::subject::overlaps(state.filter(), &w.filter));
            if !state.is_drained() && !in_the_way {
                return Ok(());
            }
        }
        let marked = Record {
            hosts: BTreeSet::new(),
            retiring: true,
            ..record.clone()
        };
        let revision = match self
            .claims
            .update(&key(name), marked.json(), revision)
            .await
        {
            Ok(revision) => revision,
            // Somebody claims it, or retires it as well.
            Err(TransportError::Conflict) => return Ok(()),
            Err(error) => return Err(error).context("the record of a consumer cannot be marked"),
        };
        consumers::delete(&self.connection, name).await?;
        tracing::info!(consumer = name, plugin = %record.plugin, "consumer retired");
        match self.claims.delete(&key(name), Some(revision)).await {
            // Another host took us for dead, and has handled the consumer itself.
            Ok(()) | Err(TransportError::Conflict) => Ok(()),
            Err(error) => Err(error).context("the record of a consumer cannot be deleted"),
        }
    }
}

impl Record {
    /// Texts and a flag: it cannot fail.
    fn json(&self) -> Bytes {
        serde_json::to_vec(self).unwrap_or_default().into()
    }
}

fn key(name: &str) -> String {
    format!("durable.{name}")
}

/// The record with us in it; none when nothing has to be written; the other plugin's name when a
/// living host runs that.
fn join(
    found: Option<Record>,
    plugin: &PluginName,
    host: &HostId,
    living: &Living,
) -> Result<Option<Record>, String> {
    let us = host.as_str().to_owned();
    let mut record = match found {
        Some(record) if record.plugin == plugin.as_str() => {
            if record.hosts.contains(&us) {
                return Ok(None);
            }
            record
        }
        Some(record) if record.hosts.iter().any(|host| living.contains(host)) => {
            return Err(record.plugin);
        }
        _ => Record {
            plugin: plugin.as_str().to_owned(),
            hosts: BTreeSet::new(),
            retiring: false,
        },
    };
    record.hosts.retain(|host| living.contains(host));
    record.hosts.insert(us);
    record.retiring = false;
    Ok(Some(record))
}

#[cfg(test)]
mod tests;
