//! The records of who uses a consumer, and the leases that tell which hosts live.

use std::collections::BTreeSet;
use std::fmt;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::names::{HostId, PluginName};
use crate::transport::{Kv, Link, TransportError};

/// How long a consumer that another host is deleting is waited for; then that host is taken for dead.
const RETIRING: Duration = Duration::from_secs(10);
/// How often it is looked at.
const LOOK: Duration = Duration::from_millis(100);
/// Most records that are looked through: five for each kind of work.
const MAX_RECORDS: usize = 10_000;
/// How often a record is tried to be changed when others change it too.
const TRIES: usize = 20;

/// Who uses a consumer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// The plugin it was made for.
    pub(super) plugin: String,
    /// The hosts that pull from it.
    #[serde(default)]
    pub(super) hosts: BTreeSet<String>,
    /// It is being deleted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    retiring: bool,
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "plugin `{}`", self.plugin)?;
        if !self.hosts.is_empty() {
            let hosts: Vec<&str> = self.hosts.iter().map(String::as_str).collect();
            write!(f, " of host `{}`", hosts.join("`, `"))?;
        }
        Ok(())
    }
}

/// The records.
pub(super) struct Owners {
    claims: Kv,
    leases: Kv,
    host: String,
}

impl Owners {
    pub(super) async fn new(link: &Link, host: &HostId) -> Result<Self, TransportError> {
        Ok(Self {
            claims: link.kv("AGENT_CLAIMS").await?,
            leases: link.kv("AGENT_LEASES").await?,
            host: host.to_string(),
        })
    }

    pub(super) async fn record(&self, durable: &str) -> Result<Option<Record>, TransportError> {
        Ok(self.read(durable).await?.map(|(record, _)| record))
    }

    /// The live hosts that use a consumer. This host counts without a lease: it asks.
    pub(super) async fn users(&self, durable: &str) -> Result<Vec<String>, TransportError> {
        let record = self.record(durable).await?;
        let mut users = Vec::new();
        for host in record.into_iter().flat_map(|record| record.hosts) {
            if self.lives(&host).await? {
                users.push(host);
            }
        }
        Ok(users)
    }

    /// Records that this host uses a consumer for a plugin. Another plugin's record is returned instead, if
    /// a live host uses it.
    pub(super) async fn claim(
        &self,
        durable: &str,
        plugin: &PluginName,
    ) -> Result<Option<Record>, TransportError> {
        let start = Instant::now();
        for _ in 0..TRIES {
            let found = self.read(durable).await?;
            let before = found.as_ref().map(|(record, _)| record.clone());
            let (mut record, revision) = match found {
                Some((record, _)) if record.retiring && start.elapsed() < RETIRING => {
                    self.wait_for_retiring(durable, start).await?;
                    continue;
                }
                Some((record, revision)) => (record, Some(revision)),
                None => (Record::new(plugin), None),
            };
            if record.plugin != plugin.as_str() {
                if self.is_used(&record).await? {
                    return Ok(Some(record));
                }
                record = Record::new(plugin);
            }
            record.retiring = false;
            record.hosts.insert(self.host.clone());
            if before.as_ref() == Some(&record) {
                return Ok(None);
            }
            match self.write(durable, &record, revision).await {
                Err(TransportError::Conflict) => {}
                written => return written.map(|_| None),
            }
        }
        Err(TransportError::Conflict)
    }

    /// Records that this host no longer uses a consumer.
    pub(super) async fn release(&self, durable: &str) -> Result<(), TransportError> {
        for _ in 0..TRIES {
            let Some((mut record, revision)) = self.read(durable).await? else {
                return Ok(());
            };
            if !record.hosts.remove(&self.host) {
                return Ok(());
            }
            match self.write(durable, &record, Some(revision)).await {
                Err(TransportError::Conflict) => {}
                written => return written.map(|_| ()),
            }
        }
        Err(TransportError::Conflict)
    }

    /// Every consumer that has a record.
    pub(super) async fn durables(&self) -> Result<Vec<String>, TransportError> {
        let keys = self.claims.keys("durable.*", MAX_RECORDS).await?;
        let names = keys.iter().filter_map(|key| key.strip_prefix("durable."));
        Ok(names.map(str::to_owned).collect())
    }

    /// Marks a consumer as about to be deleted, so that nobody claims it until that is done. None when a
    /// live host uses it after all.
    pub(super) async fn begin_retiring(
        &self,
        durable: &str,
    ) -> Result<Option<u64>, TransportError> {
        let Some((mut record, revision)) = self.read(durable).await? else {
            return Ok(None);
        };
        if self.is_used(&record).await? {
            return Ok(None);
        }
        record.hosts.clear();
        record.retiring = true;
        match self.write(durable, &record, Some(revision)).await {
            Ok(revision) => Ok(Some(revision)),
            // Somebody claims it, or retires it as well.
            Err(TransportError::Conflict) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn end_retiring(
        &self,
        durable: &str,
        revision: u64,
    ) -> Result<(), TransportError> {
        match self.claims.delete(&key(durable), Some(revision)).await {
            // Whoever changed it has taken us for dead, and sees to the consumer itself.
            Err(TransportError::Conflict) => Ok(()),
            deleted => deleted,
        }
    }

    async fn wait_for_retiring(&self, durable: &str, start: Instant) -> Result<(), TransportError> {
        while start.elapsed() < RETIRING {
            if !self
                .record(durable)
                .await?
                .is_some_and(|record| record.retiring)
            {
                return Ok(());
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    async fn is_used(&self, record: &Record) -> Result<bool, TransportError> {
        for host in &record.hosts {
            if self.lives(host).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn lives(&self, host: &str) -> Result<bool, TransportError> {
        if host == self.host {
            return Ok(true);
        }
        match self.leases.get(&format!("host.{host}")).await {
            Ok(lease) => Ok(lease.is_some()),
            // A name that is no key: written by something that is no host.
            Err(TransportError::Invalid(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn read(&self, durable: &str) -> Result<Option<(Record, u64)>, TransportError> {
        let Some(entry) = self.claims.get(&key(durable)).await? else {
            return Ok(None);
        };
        let record = serde_json::from_slice(&entry.value).map_err(|error| {
            TransportError::Other(format!(
                "AGENT_CLAIMS `{}` is malformed: {error}",
                key(durable)
            ))
        })?;
        Ok(Some((record, entry.revision)))
    }

    async fn write(
        &self,
        durable: &str,
        record: &Record,
        revision: Option<u64>,
    ) -> Result<u64, TransportError> {
        let value =
            serde_json::to_vec(record).map_err(|error| TransportError::Other(error.to_string()))?;
        match revision {
            Some(revision) => {
                self.claims
                    .update(&key(durable), value.into(), revision)
                    .await
            }
            None => self.claims.create(&key(durable), value.into()).await,
        }
    }
}

impl Record {
    fn new(plugin: &PluginName) -> Self {
        Self {
            plugin: plugin.to_string(),
            hosts: BTreeSet::new(),
            retiring: false,
        }
    }
}

fn key(durable: &str) -> String {
    format!("durable.{durable}")
}
