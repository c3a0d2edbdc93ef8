//! Leader election: among all agents whose manifests name the same `[election] domain`, at most one
//! leads.
//!
//! The key `election.<domain>` in AGENT_LEASES decides. The candidate that creates it leads while
//! it renews the key on top of its own last write (`kv_lease`). The term, the fencing
//! token, is one more than the newest term that is recorded or was seen (`terms`). Messages on
//! `election.<domain>.…` only report, so a forged one changes nothing. No read ever elects a
//! leader; reads only save writes.

mod announcements;
mod campaign;
mod terms;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use mistersmith_core::names::{AgentId, PluginName, Token};
use mistersmith_nats::{Connection, Kv, TransportError};

use crate::agents::{AgentHandle, Directory, Leader, LeaderView, Target};
use crate::kv_key::KvKey;
use announcements::Announcements;
use campaign::{Campaign, Place};

pub use terms::raise as raise_term;

/// Everything an election on one host needs.
#[derive(Clone)]
pub struct ElectionConfig {
    /// The domain of the election.
    pub domain: Token,
    /// The plugin whose agents are candidates.
    pub plugin: PluginName,
    /// Where the candidates are found.
    pub directory: Directory,
    /// The state of the election that the plugin's agents read.
    pub view: Arc<LeaderView>,
    /// Bucket AGENT_LEASES.
    pub leases: Kv,
    /// Bucket AGENT_CLAIMS.
    pub claims: Kv,
    /// The connection for announcements.
    pub connection: Connection,
    /// The name of this host.
    pub host: String,
}

/// One plugin's part in an election on this host: one of its agents leads or campaigns.
#[derive(Debug)]
pub struct Election {
    candidates: Candidates,
    view: Arc<LeaderView>,
    cancel: CancellationToken,
    campaign: Option<AbortOnDropHandle<()>>,
    _answering: AbortOnDropHandle<()>,
}

impl Election {
    /// Joins the election.
    ///
    /// # Errors
    /// The votes of others cannot be received.
    pub async fn start(config: ElectionConfig) -> Result<Self, TransportError> {
        let (domain, host) = (config.domain.clone(), config.host.clone());
        let announcements = Announcements::new(domain, host, config.connection.clone());
        let answering = announcements::answer(config.clone(), announcements.clone()).await?;
        let place = Place {
            lease: KvKey::new(config.leases.clone(), key(&config.domain)),
            term: terms::of(&config.claims, &config.domain),
            announcements,
        };
        let (cancel, candidates) = (CancellationToken::new(), config.candidates());
        let view = config.view;
        let campaign = Campaign::new(place, candidates.clone(), view.clone(), cancel.clone());
        Ok(Self {
            candidates,
            view,
            cancel,
            campaign: Some(AbortOnDropHandle::new(tokio::spawn(campaign.run()))),
            _answering: AbortOnDropHandle::new(tokio::spawn(answering)),
        })
    }

    /// Whether its task ended without having been stopped.
    pub fn has_broken(&self) -> bool {
        let campaign = self.campaign.as_ref();
        !self.cancel.is_cancelled() && campaign.is_some_and(AbortOnDropHandle::is_finished)
    }

    /// Ends the leadership of this host's agents, then gives up the key, so that others need not
    /// wait for it to expire.
    pub async fn resign(mut self, limit: Duration) {
        self.step_down();
        if let Some(campaign) = self.campaign.take() {
            let _ = tokio::time::timeout(limit, campaign).await;
        }
    }

    /// Ends the leadership of this host's agents and their candidacy.
    pub fn step_down(&self) {
        self.cancel.cancel();
        self.view.saw(None);
        for agent in self.candidates.all() {
            agent.state.candidate.step_down();
        }
    }
}

impl Drop for Election {
    fn drop(&mut self) {
        self.step_down();
    }
}

impl std::fmt::Debug for ElectionConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ElectionConfig")
            .field("domain", &self.domain)
            .field("plugin", &self.plugin)
            .finish_non_exhaustive()
    }
}

impl ElectionConfig {
    fn candidates(&self) -> Candidates {
        Candidates {
            directory: self.directory.clone(),
            plugin: Target::Named(self.plugin.as_str().to_owned()),
        }
    }
}

/// The agents of a plugin on this host.
#[derive(Debug, Clone)]
struct Candidates {
    directory: Directory,
    plugin: Target,
}

impl Candidates {
    fn all(&self) -> Vec<AgentHandle> {
        self.directory.find(&self.plugin)
    }

    /// The agent that campaigns, or answers votes, for this host.
    fn first(&self) -> Option<AgentHandle> {
        self.all().into_iter().find(|agent| agent.state.stands())
    }
}

/// The clock by which leaderships end; tests pause it.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// The key of an election.
fn key(domain: &Token) -> String {
    format!("election.{domain}")
}

/// Whether the text is an agent id as subjects carry it: one token of the characters of ids.
fn is_id(text: &str) -> bool {
    let fits = (1..=mistersmith_core::limits::MAX_ELECTOR).contains(&text.len());
    fits && text
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

/// The value of the key, written by our agents and by external candidates.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
struct Value {
    agent_id: String,
    /// 0 until the first renewal, because the writer cannot know its term before.
    term: u64,
    #[serde(default)]
    host: String,
    #[serde(default)]
    at: String,
}

impl Value {
    fn of(candidate: &AgentId, term: u64, host: &str) -> bytes::Bytes {
        let value = Self {
            agent_id: candidate.as_str().to_owned(),
            term,
            host: host.to_owned(),
            at: crate::clock::now(),
        };
        serde_json::to_vec(&value).unwrap_or_default().into()
    }

    /// The leader that a value names; `None` if it is not such a value, or its writer does not lead
    /// yet.
    fn leader(value: &[u8]) -> Option<Leader> {
        let value: Self = serde_json::from_slice(value).ok()?;
        (value.term > 0 && is_id(&value.agent_id)).then_some(Leader {
            agent: value.agent_id,
            term: value.term,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mistersmith_testing::fuzz;

    #[test]
    fn a_value_names_a_leader_or_nobody() {
        let cases: [(&str, Option<u64>); 7] = [
            (
                r#"{"agent_id":"a-001","term":7,"host":"h","at":"…"}"#,
                Some(7),
            ),
            (r#"{"agent_id":"outside_1","term":7}"#, Some(7)),
            (r#"{"agent_id":"a-001","term":0}"#, None),
            (r#"{"agent_id":"a.*","term":7}"#, None),
            (r#"{"agent_id":"","term":7}"#, None),
            (r#"{"term":"x"}"#, None),
            ("\u{0}", None),
        ];
        for (value, term) in cases {
            let leader = Value::leader(value.as_bytes());
            assert_eq!(leader.map(|leader| leader.term), term, "{value}");
        }
    }

    #[test]
    fn fuzz_leader() {
        let words = [
            "\"term\":",
            "\"agent_id\":",
            "18446744073709551615",
            "null",
            "\\ud800",
        ];
        fuzz("election", &words, |value| {
            if let Some(leader) = Value::leader(value) {
                assert!(leader.term > 0 && is_id(&leader.agent), "{}", leader.agent);
            }
        });
    }
}
