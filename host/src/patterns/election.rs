//! Leader election: of all agents whose manifests name the same `[election] domain`, at most one leads.
//!
//! What decides is the key `election.<domain>` in AGENT_LEASES: who creates it leads, for as long as it
//! renews it on top of its own last write (`tenure`). The revision of the creating write is the term,
//! the fencing token. Whatever is said on `election.<domain>.…` reports that and decides nothing, so
//! that nothing forged there can. Nothing is ever decided from a read either: a read only saves writes.

mod campaign;
mod seat;
mod tenure;
mod voice;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::names::{AgentId, PluginName, Token};
use crate::transport::{Kv, Link, TransportError};

use super::directory::{AgentPort, Directory, Target};

pub use seat::{Office, Seat};

/// What an election needs.
#[derive(Clone)]
pub struct Candidacy {
    /// What is led.
    pub domain: Token,
    /// The plugin whose agents are candidates.
    pub plugin: PluginName,
    /// Where they are found.
    pub directory: Directory,
    /// What the plugin's agents know of the election.
    pub board: Arc<Board>,
    /// Bucket AGENT_LEASES.
    pub leases: Kv,
    /// The connection for what is said.
    pub link: Link,
    /// The name of this host.
    pub host: String,
}

/// One plugin's part in an election, on this host: an agent of it leads, or tries to.
#[derive(Debug)]
pub struct Election {
    candidacy: Candidacy,
    cancel: CancellationToken,
    campaign: Option<AbortOnDropHandle<()>>,
    _voice: AbortOnDropHandle<()>,
}

impl Election {
    /// Begins to take part.
    ///
    /// # Errors
    /// When it cannot hear the votes of others.
    pub async fn start(candidacy: Candidacy) -> Result<Self, TransportError> {
        let answering = voice::answer(candidacy.clone()).await?;
        let cancel = CancellationToken::new();
        let campaign = campaign::run(candidacy.clone(), cancel.clone());
        Ok(Self {
            candidacy,
            cancel,
            campaign: Some(AbortOnDropHandle::new(tokio::spawn(campaign))),
            _voice: AbortOnDropHandle::new(tokio::spawn(answering)),
        })
    }

    /// Whether it ended although nobody ended it.
    pub fn has_broken(&self) -> bool {
        let campaign = self.campaign.as_ref();
        !self.cancel.is_cancelled() && campaign.is_some_and(AbortOnDropHandle::is_finished)
    }

    /// Ends the leadership of this host's agents; then gives the key up, so that others need not wait
    /// for it to expire.
    pub async fn resign(mut self, limit: Duration) {
        self.vacate();
        if let Some(campaign) = self.campaign.take() {
            let _ = tokio::time::timeout(limit, campaign).await;
        }
    }

    /// Ends the leadership of this host's agents, and their part in the election.
    pub fn vacate(&self) {
        self.cancel.cancel();
        self.candidacy.board.saw(None);
        for port in self.candidacy.ports() {
            port.cell.seat.vacate();
        }
    }
}

impl Drop for Election {
    fn drop(&mut self) {
        self.vacate();
    }
}

impl std::fmt::Debug for Candidacy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Candidacy")
            .field("domain", &self.domain)
            .field("plugin", &self.plugin)
            .finish_non_exhaustive()
    }
}

impl Candidacy {
    fn ports(&self) -> Vec<AgentPort> {
        let plugin = Target::Named(self.plugin.as_str().to_owned());
        self.directory.find(&plugin)
    }

    /// The agent that tries, or speaks, for this host.
    fn candidate(&self) -> Option<AgentPort> {
        let ports = self.ports().into_iter();
        ports.into_iter().find(|port| port.cell.stands())
    }
}

/// What the agents of a plugin know of their election. Outlives a reload.
#[derive(Debug, Default)]
pub struct Board(Mutex<Notes>);

#[derive(Debug, Default)]
struct Notes {
    domain: Option<Token>,
    leader: Option<Leader>,
    /// The newest term that was seen, of the domain that was open last.
    newest: u64,
    of: Option<Token>,
}

/// Who leads, as far as is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leader {
    /// The agent; others than ours may take part, under ids of their own.
    pub agent: String,
    /// Its term.
    pub term: u64,
}

impl Board {
    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The domain in which the plugin takes part; none when it takes part in none.
    pub fn domain(&self) -> Option<Token> {
        self.notes().domain.clone()
    }

    /// The newest term that was seen; 0 before the first.
    pub fn newest_term(&self) -> u64 {
        self.notes().newest
    }

    /// Who leads, as far as is known.
    pub fn leader(&self) -> Option<Leader> {
        self.notes().leader.clone()
    }

    /// The plugin takes part in the election of this domain from here on, or in none.
    pub fn open(&self, domain: Option<Token>) {
        let mut notes = self.notes();
        notes.leader = None;
        if domain.is_some() && notes.of != domain {
            notes.newest = 0;
            notes.of.clone_from(&domain);
        }
        notes.domain = domain;
    }

    fn saw(&self, leader: Option<Leader>) {
        let mut notes = self.notes();
        if let Some(leader) = &leader {
            notes.newest = notes.newest.max(leader.term);
        }
        notes.leader = leader;
    }
}

/// The key of an election.
fn key(domain: &Token) -> String {
    format!("election.{domain}")
}

/// An agent's id as it stands in subjects: one token, of what ids are made of.
fn is_id(text: &str) -> bool {
    let fits = (1..=crate::limits::MAX_ELECTOR).contains(&text.len());
    fits && text
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

/// What agents of ours, and whoever else takes part, write into the key.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
struct Value {
    agent_id: String,
    /// 0 until the first renewal: the writer cannot know it before.
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
            at: super::lifecycle::now(),
        };
        serde_json::to_vec(&value).unwrap_or_default().into()
    }

    /// The leader that a value names; none where it is no such value, or its writer does not lead yet.
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
    fn terms_that_were_seen_are_remembered() {
        let board = Board::default();
        let leader = |term| {
            let agent = "a-001".to_owned();
            Some(Leader { agent, term })
        };
        board.open("nlp".parse().ok());
        board.saw(leader(9));
        board.saw(None);
        assert_eq!((board.leader(), board.newest_term()), (None, 9));
        board.saw(leader(4));
        assert_eq!(board.newest_term(), 9, "an old answer does not count");
        board.open(None);
        board.open("nlp".parse().ok());
        assert_eq!(board.newest_term(), 9);
        board.open("other".parse().ok());
        assert_eq!(board.newest_term(), 0);
    }
}
