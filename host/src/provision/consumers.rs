//! The durable consumers that take work out of WORK_QUEUE, and who they belong to.
//!
//! A work queue allows one consumer for each subject, so two plugins cannot take the same work, and a
//! consumer that nobody uses any more stands in the way of the next one for ever. So each durable has a
//! record, key `durable.<name>` in AGENT_CLAIMS, that names its plugin and the hosts that pull from it.
//! A consumer is deleted only when no live host is named there; its messages stay in the stream.

mod owner;
mod server;

use std::time::Duration;

use thiserror::Error;

use crate::config::{TaskFilter, WorkSpec};
use crate::names::{HostId, PluginName, Priority, subject};
use crate::transport::{Link, TransportError};
use owner::Owners;
use server::{Existing, Made};

/// The stream that holds the work.
pub const WORK_QUEUE: &str = "WORK_QUEUE";
/// How long a delivered item may go without a word before it is delivered again.
pub const ACK_WAIT: Duration = Duration::from_secs(30);

/// One consumer of work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkConsumer {
    /// Its name.
    pub durable: String,
    /// The one subject pattern it takes.
    pub filter: String,
    /// How urgent its items are.
    pub priority: Priority,
}

impl WorkConsumer {
    /// The consumers of one `[[work]]`: one for each priority, and one for subjects without a priority,
    /// because a server of version 2.9 knows one filter for each consumer.
    pub fn of(work: &WorkSpec) -> Vec<Self> {
        let version = work
            .version
            .as_ref()
            .map_or(String::new(), |version| format!("-{version}"));
        let task = match &work.task {
            TaskFilter::All => "all",
            TaskFilter::One(task) => task.as_str(),
        };
        let priorities = Priority::ALL.map(|priority| (priority.as_str(), priority));
        let forms = priorities.into_iter().chain([("short", Priority::Normal)]);
        work.patterns()
            .into_iter()
            .zip(forms)
            .map(|(filter, (form, priority))| Self {
                durable: format!("workers-{}{version}_{form}_{task}", work.domain),
                filter,
                priority,
            })
            .collect()
    }
}

/// Why a plugin cannot take its work.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ConsumerError {
    /// Somebody else takes it.
    #[error("{0}")]
    Taken(String),
    /// NATS did not do what was asked.
    #[error("cannot prepare the consumers of plugin `{plugin}`: {source}")]
    Failed {
        /// Which plugin.
        plugin: String,
        /// What NATS said.
        source: TransportError,
    },
}

/// The consumers of work, as one host sees them. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Consumers {
    link: Link,
    host: HostId,
}

impl Consumers {
    /// For this host; WORK_QUEUE, AGENT_CLAIMS and AGENT_LEASES exist.
    pub fn new(link: Link, host: HostId) -> Self {
        Self { link, host }
    }

    /// Makes sure that a plugin's consumers exist, and records that this host pulls from them. Consumers
    /// that stand in the way and that no live host uses are deleted first; their items stay in the stream.
    ///
    /// Safe to repeat, also when a pull says that its consumer is gone. Errors: `Taken` names both plugins.
    pub async fn ensure(
        &self,
        plugin: &PluginName,
        wanted: &[WorkConsumer],
    ) -> Result<(), ConsumerError> {
        let owners = self
            .owners()
            .await
            .map_err(|source| failed(plugin, source))?;
        for consumer in wanted {
            let claimed = owners.claim(&consumer.durable, plugin).await;
            if let Some(other) = claimed.map_err(|source| failed(plugin, source))? {
                return Err(taken(
                    plugin,
                    consumer,
                    &consumer.durable,
                    &other.to_string(),
                ));
            }
            self.make(&owners, plugin, consumer).await?;
        }
        Ok(())
    }

    /// Records that this host no longer pulls from these consumers. They stay until [`Consumers::retire`].
    pub async fn release(&self, durables: &[String]) -> Result<(), TransportError> {
        let owners = self.owners().await?;
        for durable in durables {
            owners.release(durable).await?;
        }
        Ok(())
    }

    /// Takes this host out of every record. For its start, before any plugin takes work: it may have ended
    /// without a word, and come back with other plugins.
    pub async fn forget(&self) -> Result<(), TransportError> {
        let owners = self.owners().await?;
        self.release(&owners.durables().await?).await
    }

    /// Deletes consumers that no live host uses and that have nothing left to deliver. `used` are those
    /// that this host pulls from. Returns the names of the deleted ones.
    pub async fn retire(&self, used: &[WorkConsumer]) -> Result<Vec<String>, TransportError> {
        let owners = self.owners().await?;
        let mut retired = Vec::new();
        for existing in server::list(&self.link).await? {
            let ours = used
                .iter()
                .any(|consumer| consumer.durable == existing.name);
            // Without a record it was made by somebody else, or is being made at this moment.
            if ours || !existing.is_drained() || owners.record(&existing.name).await?.is_none() {
                continue;
            }
            if owners.users(&existing.name).await?.is_empty()
                && self.delete(&owners, &existing.name).await?
            {
                retired.push(existing.name);
            }
        }
        Ok(retired)
    }

    async fn make(
        &self,
        owners: &Owners,
        plugin: &PluginName,
        consumer: &WorkConsumer,
    ) -> Result<(), ConsumerError> {
        let fail = |source| failed(plugin, source);
        // Twice: what stood in the way may be gone after the first time.
        for _ in 0..2 {
            match server::make(&self.link, consumer).await.map_err(fail)? {
                Made::Done => return Ok(()),
                Made::OtherFilter(existing) => {
                    let users = owners.users(&existing.name).await.map_err(fail)?;
                    let others: Vec<String> = users
                        .into_iter()
                        .filter(|host| *host != self.host.as_str())
                        .collect();
                    if !others.is_empty() {
                        let who = format!(
                            "host `{}`, with the filter {:?}",
                            others.join("`, `"),
                            existing.filter
                        );
                        return Err(taken(plugin, consumer, &existing.name, &who));
                    }
                    // Ours, from before: no other host uses it.
                    server::delete(&self.link, &existing.name)
                        .await
                        .map_err(fail)?;
                }
                Made::Overlaps => self.clear(owners, plugin, consumer).await?,
            }
        }
        Err(taken(
            plugin,
            consumer,
            "another consumer",
            "somebody who makes it again and again",
        ))
    }

    /// Deletes what overlaps with a wanted consumer, if no live host uses it.
    async fn clear(
        &self,
        owners: &Owners,
        plugin: &PluginName,
        wanted: &WorkConsumer,
    ) -> Result<(), ConsumerError> {
        let fail = |source| failed(plugin, source);
        for existing in server::list(&self.link).await.map_err(fail)? {
            if existing.name == wanted.durable || !existing.overlaps(&wanted.filter) {
                continue;
            }
            let Some(record) = owners.record(&existing.name).await.map_err(fail)? else {
                let who = "somebody who is no MisterSmith host";
                return Err(taken(plugin, wanted, &existing.name, who));
            };
            let users = owners.users(&existing.name).await.map_err(fail)?;
            let ours_of_before = record.plugin == plugin.as_str()
                && users.iter().all(|host| *host == self.host.as_str());
            if !users.is_empty() && !ours_of_before {
                return Err(taken(plugin, wanted, &existing.name, &record.to_string()));
            }
            if ours_of_before {
                owners.release(&existing.name).await.map_err(fail)?;
            }
            if self.delete(owners, &existing.name).await.map_err(fail)? {
                tracing::info!(
                    consumer = existing.name,
                    "deleted a consumer that stood in the way of plugin `{plugin}`; its items stay"
                );
            }
        }
        Ok(())
    }

    /// Deletes a consumer and its record, unless somebody claims it meanwhile.
    async fn delete(&self, owners: &Owners, durable: &str) -> Result<bool, TransportError> {
        let Some(revision) = owners.begin_retiring(durable).await? else {
            return Ok(false);
        };
        server::delete(&self.link, durable).await?;
        owners.end_retiring(durable, revision).await?;
        Ok(true)
    }

    async fn owners(&self) -> Result<Owners, TransportError> {
        Owners::new(&self.link, &self.host).await
    }
}

impl Existing {
    fn overlaps(&self, filter: &str) -> bool {
        self.filter.is_empty() || subject::overlaps(&self.filter, filter)
    }
}

fn failed(plugin: &PluginName, source: TransportError) -> ConsumerError {
    ConsumerError::Failed {
        plugin: plugin.to_string(),
        source,
    }
}

fn taken(plugin: &PluginName, wanted: &WorkConsumer, other: &str, who: &str) -> ConsumerError {
    ConsumerError::Taken(format!(
        "plugin `{plugin}` cannot take {:?}: consumer `{other}` takes it already for {who}; \
         fix: give one of them another domain or task, or remove one",
        wanted.filter
    ))
}

#[cfg(test)]
mod tests;
