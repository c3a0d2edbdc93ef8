//! Which agent ids are ours: keys in AGENT_CLAIMS, one per id, holding the id of the host.
//!
//! A number is free when nobody claims it, ours when we claim it (a restarted host has its own
//! again), and anybody's when its holder's lease has expired. Every step is a compare-and-swap, so
//! two hosts that reach for the same number cannot both have it.

use futures_util::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};

use crate::limits;
use crate::names::{AgentId, HostId, PluginName};
use crate::transport::{Kv, TransportError};

use super::lease;

/// Claims that are looked at, taken or given up at once.
const AT_ONCE: usize = 64;

/// The value of a claim.
#[derive(Debug, Serialize, Deserialize)]
struct Claim {
    host_id: String,
}

/// Claims ids for one host.
#[derive(Clone)]
pub(super) struct Claims {
    pub(super) claims: Kv,
    pub(super) leases: Kv,
    pub(super) config: Kv,
    pub(super) host: HostId,
}

/// What to do about one number.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// Nobody has it: create.
    Create,
    /// It is ours at this revision: write it again, to know that it still is.
    Retake(u64),
    /// Its holder is gone: take it over from this revision.
    TakeOver(u64),
    /// A living host has it: try the next number.
    Skip,
}

impl Claims {
    /// Claims `count` ids of a plugin, the lowest that can be had.
    pub(super) async fn take(
        &self,
        plugin: &PluginName,
        count: u32,
    ) -> Result<Vec<AgentId>, TransportError> {
        let mut ids = Vec::new();
        let mut next = 1_u32;
        while ids.len() < count as usize {
            // As many numbers as are still needed, so that none is taken that a lower one stands for.
            let missing = count.saturating_sub(u32::try_from(ids.len()).unwrap_or(u32::MAX));
            let tried = next..next.saturating_add(missing);
            next = tried.end;
            let tried = tried.map(|number| async move {
                let id = AgentId::new(plugin, number);
                self.take_one(&id).await.map(|taken| taken.then_some(id))
            });
            let taken: Vec<Option<AgentId>> =
                stream::iter(tried).buffered(AT_ONCE).try_collect().await?;
            ids.extend(taken.into_iter().flatten());
        }
        Ok(ids)
    }

    /// Every id that is claimed, by whatever host.
    pub(super) async fn all(&self) -> Result<Vec<AgentId>, TransportError> {
        let keys = self.claims.keys("*", limits::MAX_CLAIMS).await?;
        Ok(keys.iter().filter_map(|key| key.parse().ok()).collect())
    }

    /// Every id of a plugin that is claimed, by whatever host.
    pub(super) async fn of(&self, plugin: &PluginName) -> Result<Vec<AgentId>, TransportError> {
        let mut ids = self.all().await?;
        ids.retain(|id| id.plugin() == plugin.as_str());
        Ok(ids)
    }

    /// Gives up those of the ids that are ours, with what commands recorded about them: the plugin
    /// is gone from this host.
    pub(super) async fn give_up(&self, ids: impl IntoIterator<Item = AgentId>) {
        let one = async |id: AgentId| {
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

    async fn take_one(&self, id: &AgentId) -> Result<bool, TransportError> {
        // A conflict means that somebody else moved at the same moment: look again.
        loop {
            let taken = match self.look(id).await? {
                Step::Skip => return Ok(false),
                Step::Create => self.claims.create(id.as_str(), self.claim()).await,
                Step::Retake(revision) => {
                    self.claims
                        .update(id.as_str(), self.claim(), revision)
                        .await
                }
                Step::TakeOver(revision) => {
                    let taken = self
                        .claims
                        .update(id.as_str(), self.claim(), revision)
                        .await;
                    if taken.is_ok() {
                        // What was said to the agent of the host that is gone does not hold for ours.
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

    async fn look(&self, id: &AgentId) -> Result<Step, TransportError> {
        let Some(entry) = self.claims.get(id.as_str()).await? else {
            return Ok(Step::Create);
        };
        let holder = holder(&entry.value);
        let alive = match &holder {
            Some(holder) if holder != self.host.as_str() => {
                self.leases.get(&lease::key(holder)).await?.is_some()
            }
            _ => false,
        };
        Ok(decide(
            holder.as_deref(),
            self.host.as_str(),
            alive,
            entry.revision,
        ))
    }

    fn claim(&self) -> bytes::Bytes {
        let claim = Claim {
            host_id: self.host.as_str().to_owned(),
        };
        serde_json::to_vec(&claim).unwrap_or_default().into()
    }
}

fn decide(holder: Option<&str>, us: &str, holder_lives: bool, revision: u64) -> Step {
    match holder {
        Some(holder) if holder == us => Step::Retake(revision),
        Some(_) if holder_lives => Step::Skip,
        // Nobody can be recognised as the holder of an unreadable claim, so nobody renews it.
        _ => Step::TakeOver(revision),
    }
}

fn holder(value: &[u8]) -> Option<String> {
    serde_json::from_slice::<Claim>(value)
        .ok()
        .map(|claim| claim.host_id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_have_a_number() {
        let cases = [
            (Some("us"), false, Step::Retake(7)),
            (Some("us"), true, Step::Retake(7)),
            (Some("them"), true, Step::Skip),
            (Some("them"), false, Step::TakeOver(7)),
            (None, false, Step::TakeOver(7)),
        ];
        for (holder, alive, expected) in cases {
            assert_eq!(
                decide(holder, "us", alive, 7),
                expected,
                "{holder:?} {alive}"
            );
        }
    }
}
