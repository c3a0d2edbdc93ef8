//! The claims of this host on agent ids: keys in AGENT_CLAIMS, one per id, each with the id of its
//! host as the value.
//!
//! A number is free when nobody claims it, ours when we claim it (a restarted host gets its own
//! numbers back), and free for any host when its holder's lease has expired. Every step is a
//! compare-and-swap, so two hosts that reach for the same number cannot both get it. Claims in
//! use are checked periodically ([`Claims::keep`]). A newly created bucket does not list the living
//! hosts yet; until it does, the hosts themselves are asked (`neighbours`).

mod decision;
mod mine;
mod neighbours;

use std::collections::BTreeSet;

use futures_util::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};

use mistersmith_core::limits;
use mistersmith_core::names::{AgentId, HostId, PluginName};
use mistersmith_nats::{Connection, Kv, TransportError};

use super::lease;
use decision::{ClaimDecision, Life, decide, is_old};
pub(super) use mine::Mine;
pub(super) use neighbours::Neighbours;

/// The bucket.
pub(crate) const BUCKET: &str = "AGENT_CLAIMS";

/// Number of claims that are read, taken or given up concurrently.
const AT_ONCE: usize = 64;

/// The value of a claim.
#[derive(Debug, Serialize, Deserialize)]
struct Claim {
    host_id: String,
}

/// Claims ids for one host.
#[derive(Clone)]
pub(crate) struct Claims {
    pub(crate) connection: Connection,
    pub(crate) claims: Kv,
    pub(crate) leases: Kv,
    pub(crate) config: Kv,
    pub(crate) host: HostId,
    pub(super) neighbours: Neighbours,
    /// The creation time of the bucket, as this host found it.
    pub(crate) made: String,
    /// The ids that this host took last, shared by all clones.
    pub(super) mine: Mine,
}

/// The state of the buckets at one moment.
#[derive(Debug, Clone, Default)]
struct Known {
    /// Ids that other hosts report as running.
    elsewhere: BTreeSet<AgentId>,
    /// Whether the bucket of the leases is so old that a missing lease has expired.
    leases_are_old: bool,
}

impl Claims {
    /// Claims `count` ids of a plugin, with the lowest available numbers.
    pub(crate) async fn take(
        &self,
        plugin: &PluginName,
        count: u32,
    ) -> Result<Vec<AgentId>, TransportError> {
        let known = self.known(Some(plugin)).await?;
        let mut ids = self.take_again(plugin, count, &known).await?;
        let mut next = 1_u32;
        while ids.len() < count as usize {
            // As many numbers as are still needed, so that none is taken while a lower one is
            // available.
            let missing = count.saturating_sub(u32::try_from(ids.len()).unwrap_or(u32::MAX));
            let tried = next..next.saturating_add(missing);
            next = tried.end;
            let (known, had) = (&known, &ids);
            let tried = tried.map(|number| async move {
                let id = AgentId::new(plugin, number);
                if known.elsewhere.contains(&id) || had.contains(&id) {
                    return Ok::<_, TransportError>(None);
                }
                let taken = self.take_one(&id, known, false).await?;
                Ok(taken.then_some(id))
            });
            let taken: Vec<Option<AgentId>> =
                stream::iter(tried).buffered(AT_ONCE).try_collect().await?;
            ids.extend(taken.into_iter().flatten());
        }
        self.mine.took(plugin, &ids);
        Ok(ids)
    }

    /// Claims the previous ids of this host first. After the loss of the bucket every number is
    /// free, and other hosts may come back later for theirs.
    async fn take_again(
        &self,
        plugin: &PluginName,
        count: u32,
        known: &Known,
    ) -> Result<Vec<AgentId>, TransportError> {
        let mut ids = Vec::new();
        if made(&self.connection).await? == self.made {
            return Ok(ids);
        }
        for id in self.mine.of(plugin).into_iter().take(count as usize) {
            if !known.elsewhere.contains(&id) && self.take_one(&id, known, false).await? {
                ids.push(id);
            }
        }
        Ok(ids)
    }

    /// Checks whether the ids of this host's agents are still its own, and claims those without a
    /// value again. Returns those that a living host holds.
    pub(crate) async fn keep(&self, ids: Vec<AgentId>) -> Result<Vec<AgentId>, TransportError> {
        let known = self.known(None).await?;
        let known = &known;
        let looked = ids.into_iter().map(|id| async move {
            let kept = self.take_one(&id, known, true).await?;
            Ok::<_, TransportError>((!kept).then_some(id))
        });
        let lost: Vec<Option<AgentId>> =
            stream::iter(looked).buffered(AT_ONCE).try_collect().await?;
        Ok(lost.into_iter().flatten().collect())
    }

    /// Every claimed id, of any host.
    pub(crate) async fn all(&self) -> Result<Vec<AgentId>, TransportError> {
        let keys = self.claims.keys("*", limits::MAX_CLAIMS).await?;
        Ok(keys.iter().filter_map(|key| key.parse().ok()).collect())
    }

    /// Every claimed id of a plugin, of any host.
    pub(crate) async fn of(&self, plugin: &PluginName) -> Result<Vec<AgentId>, TransportError> {
        let mut ids = self.all().await?;
        ids.retain(|id| id.plugin() == plugin.as_str());
        Ok(ids)
    }

    /// Gives up those of the ids that are ours, with their recorded overrides: the plugin is gone
    /// from this host.
    pub(crate) async fn give_up(&self, ids: impl IntoIterator<Item = AgentId>) {
        let one = async |id: AgentId| {
            self.mine.gave_up(&id);
            let Ok(Some(entry)) = self.claims.get(id.as_str()).await else {
                return;
            };
            if holder(&entry.value).as_deref() == Some(self.host.as_str()) {
                let _ = self.config.delete(id.as_str(), None).await;
                let _ = self.claims.delete(id.as_str(), Some(entry.revision)).await;
            }
        };
        stream::iter(ids).for_each_concurrent(AT_ONCE, one).await;
    }

    /// Whether the bucket is too new to list the ids of all living hosts.
    pub(crate) async fn are_new(&self) -> Result<bool, TransportError> {
        Ok(!self.is_old(BUCKET).await?)
    }

    /// Reads the state that can be relied on. Once the buckets are as old as a lease, every living
    /// host has written its lease and claims again; from then on a host without them has no rights
    /// left.
    async fn known(&self, plugin: Option<&PluginName>) -> Result<Known, TransportError> {
        let leases_are_old = self.is_old(lease::BUCKET).await?;
        let elsewhere = match plugin {
            Some(plugin) if self.are_new().await? => self.neighbours.of(plugin).await,
            _ => BTreeSet::new(),
        };
        Ok(Known {
            elsewhere,
            leases_are_old,
        })
    }

    /// Whether a bucket is older than the longest time for which a host relies on a lease, by the
    /// server's clock as seen through our own lease.
    async fn is_old(&self, bucket: &str) -> Result<bool, TransportError> {
        let of = |bucket: &str| self.connection.stream(&format!("KV_{bucket}"));
        let ours = format!("$KV.{}.{}", lease::BUCKET, lease::key(self.host.as_str()));
        let age = of(bucket)?.age_at(&of(lease::BUCKET)?, &ours).await?;
        Ok(age.is_some_and(is_old))
    }

    /// Takes an id, or confirms one that our agents use (`held`); returns whether it is ours.
    async fn take_one(
        &self,
        id: &AgentId,
        known: &Known,
        held: bool,
    ) -> Result<bool, TransportError> {
        // A conflict means that another host wrote at the same moment: read again.
        loop {
            let taken = match self.check(id, known, held).await? {
                ClaimDecision::Skip => return Ok(false),
                ClaimDecision::Retake(_) if held => return Ok(true),
                ClaimDecision::Create => self.claims.create(id.as_str(), self.claim()).await,
                ClaimDecision::Retake(revision) => {
                    self.claims
                        .update(id.as_str(), self.claim(), revision)
                        .await
                }
                ClaimDecision::TakeOver(revision) => {
                    let taken = self
                        .claims
                        .update(id.as_str(), self.claim(), revision)
                        .await;
                    if taken.is_ok() && !held {
                        // Commands to the agent of the departed host do not apply to ours.
                        self.config.delete(id.as_str(), None).await?;
                    }
                    taken
                }
            };
            match taken {
                Ok(_) => return Ok(true),
                Err(TransportError::Conflict) => {}
                Err(error) => return Err(error),
            }
        }
    }

    async fn check(
        &self,
        id: &AgentId,
        known: &Known,
        held: bool,
    ) -> Result<ClaimDecision, TransportError> {
        let Some(entry) = self.claims.get(id.as_str()).await? else {
            return Ok(ClaimDecision::Create);
        };
        let holder = holder(&entry.value);
        let life = match &holder {
            Some(holder) if holder != self.host.as_str() => self.life_of(holder, known).await?,
            _ => Life::Gone,
        };
        let us = self.host.as_str();
        Ok(decide(holder.as_deref(), us, life, entry.revision, held))
    }

    async fn life_of(&self, holder: &str, known: &Known) -> Result<Life, TransportError> {
        let key = lease::key(holder);
        if self.leases.get(&key).await?.is_some() {
            return Ok(Life::Lives);
        }
        if known.leases_are_old {
            return Ok(Life::Gone);
        }
        // The delete marker of a lease that was given up.
        let leases = self.connection.stream(&format!("KV_{}", lease::BUCKET))?;
        let subject = format!("$KV.{}.{key}", lease::BUCKET);
        let mark = leases.newest(&subject).await?;
        Ok(mark.map_or(Life::Unknown, |_| Life::Gone))
    }

    fn claim(&self) -> bytes::Bytes {
        let claim = Claim {
            host_id: self.host.as_str().to_owned(),
        };
        serde_json::to_vec(&claim).unwrap_or_default().into()
    }
}

/// The creation time of the bucket.
pub(crate) async fn made(connection: &Connection) -> Result<String, TransportError> {
    connection.stream(&format!("KV_{BUCKET}"))?.created().await
}

fn holder(value: &[u8]) -> Option<String> {
    serde_json::from_slice::<Claim>(value)
        .ok()
        .map(|claim| claim.host_id)
}
