//! One plugin's attempts to have a leader on this host, and the keeping of what they won.

use std::time::{Duration, Instant};

use rand::Rng as _;
use tokio_util::sync::CancellationToken;

use crate::limits;
use crate::names::AgentId;
use crate::transport::{Kv, TransportError};

use super::super::directory::AgentPort;
use super::tenure::{Standing, Tenure, Written};
use super::{Candidacy, Leader, Office, Value, key, voice};

/// Takes part until cancelled; then gives up what it has.
pub(super) async fn run(candidacy: Candidacy, cancel: CancellationToken) {
    let mut campaign = Campaign {
        key: key(&candidacy.domain),
        candidacy,
        cancel,
        calls: false,
    };
    while !campaign.cancel.is_cancelled() {
        let wait = match campaign.candidacy.candidate() {
            Some(candidate) => {
                campaign.attempt(&candidate).await;
                jittered(limits::ELECTION_RETRY)
            }
            None => limits::ELECTION_LOOK,
        };
        tokio::select! {
            () = campaign.cancel.cancelled() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// Between half of it and one and a half: hosts that began together must not go on together.
fn jittered(wait: Duration) -> Duration {
    wait.mul_f64(rand::rng().random_range(0.5..1.5))
}

struct Campaign {
    candidacy: Candidacy,
    key: String,
    cancel: CancellationToken,
    /// Candidacy was announced since there was a leader last.
    calls: bool,
}

impl Campaign {
    /// Tries once, and if it won leads until that ends.
    async fn attempt(&mut self, candidate: &AgentPort) {
        match self.leases().get(&self.key).await {
            // Saves the write. If this answer was old, the next look is soon.
            Ok(Some(entry)) => {
                self.calls = false;
                return self.candidacy.board.saw(Value::leader(&entry.value));
            }
            Ok(None) => self.candidacy.board.saw(None),
            Err(error) => return tracing::debug!(%error, key = self.key, "no look at the election"),
        }
        if !std::mem::replace(&mut self.calls, true) {
            voice::vote(&self.candidacy, candidate).await;
        }
        let sent = Instant::now();
        let written = self
            .leases()
            .create(&self.key, self.value(&candidate.id, 0));
        let standing = Standing::created(sent, judged(written.await, &self.key));
        if let Some(tenure) = standing.tenure() {
            self.calls = false;
            self.confirm(candidate, tenure).await;
        }
    }

    /// Writes the term into the key that was won; then the candidate leads.
    async fn confirm(&self, candidate: &AgentPort, won: Tenure) {
        let mut held = won;
        let mut standing = Standing::Acquired(won);
        while let Standing::Acquired(tenure) = standing {
            held = tenure;
            if self.cancel.is_cancelled() || !candidate.cell.stands() {
                return self.give_up(tenure).await;
            }
            standing = self.renew(candidate, standing, tenure).await;
            if matches!(standing, Standing::Acquired(_)) {
                tokio::time::sleep(limits::LEASE_RETRY).await;
                standing = standing.at(Instant::now());
            }
        }
        let Standing::Leads(tenure) = standing else {
            return self.give_up(held).await;
        };
        let office = Office {
            domain: self.candidacy.domain.clone(),
            term: tenure.term,
            until: tenure.until,
        };
        // In this order: who resigns cancels first and vacates then, so one of the two sees the other.
        let took = candidate.cell.lead(office);
        if !took || self.cancel.is_cancelled() {
            candidate.cell.seat.vacate();
            return self.give_up(tenure).await;
        }
        tracing::info!(agent = %candidate.id, domain = %self.candidacy.domain, term = tenure.term, "leads");
        let last = self.lead(candidate, tenure).await;
        candidate.cell.seat.vacate();
        candidate.cell.nudge();
        self.candidacy.board.saw(None);
        tracing::info!(agent = %candidate.id, domain = %self.candidacy.domain, term = tenure.term, "leads no more");
        if let Some(last) = last {
            self.give_up(last).await;
        }
    }

    /// Leads until the key is lost, or the agent or the host gives it up; returns what there is to
    /// give up then.
    async fn lead(&self, candidate: &AgentPort, tenure: Tenure) -> Option<Tenure> {
        let term = tenure.term;
        candidate.cell.nudge();
        self.candidacy.board.saw(Some(Leader {
            agent: candidate.id.as_str().to_owned(),
            term,
        }));
        let mut announced = voice::leader(&self.candidacy, candidate, term).await;
        let mut held = tenure;
        let mut wait = limits::LEASE_RENEWAL;
        loop {
            let left = held.until.saturating_duration_since(Instant::now());
            tokio::select! {
                biased;
                () = self.cancel.cancelled() => return Some(held),
                () = candidate.cell.seat.given_up(term) => return Some(held),
                () = tokio::time::sleep(wait.min(left)) => {}
            }
            if Standing::Leads(held).at(Instant::now()) == Standing::Follows {
                return Some(held);
            }
            // A write that is on its way is waited for: its revision is needed to give the key up.
            let standing = self.renew(candidate, Standing::Leads(held), held).await;
            match standing {
                Standing::Leads(renewed) => {
                    let done = renewed.revision != held.revision;
                    held = renewed;
                    if !candidate.cell.seat.extend(term, held.until) {
                        return Some(held);
                    }
                    wait = if done {
                        limits::LEASE_RENEWAL
                    } else {
                        limits::LEASE_RETRY
                    };
                    if done {
                        announced = self.tell(candidate, term, announced).await;
                    }
                }
                _ => return Some(held),
            }
        }
    }

    /// The pulse of the leader; the announcement, if it was not sent yet.
    async fn tell(&self, candidate: &AgentPort, term: u64, announced: bool) -> bool {
        let announced = announced || voice::leader(&self.candidacy, candidate, term).await;
        voice::heartbeat(&self.candidacy, candidate, term).await;
        announced
    }

    /// Writes on top of the newest revision; waits for no answer beyond the end of the tenure.
    async fn renew(&self, candidate: &AgentPort, standing: Standing, held: Tenure) -> Standing {
        let sent = Instant::now();
        let value = self.value(&candidate.id, held.term);
        let write = self.leases().update(&self.key, value, held.revision);
        let written = match tokio::time::timeout_at(held.until.into(), write).await {
            Ok(written) => judged(written, &self.key),
            Err(_) => Written::Unknown,
        };
        standing.renewed(sent, Instant::now(), written)
    }

    /// Deletes the key, if our write is still its newest.
    async fn give_up(&self, held: Tenure) {
        let deleted = self.leases().delete(&self.key, Some(held.revision));
        if let Err(error) = deleted.await {
            tracing::debug!(%error, key = self.key, "the key of the election was not given up; it expires");
        }
    }

    fn leases(&self) -> &Kv {
        &self.candidacy.leases
    }

    fn value(&self, candidate: &AgentId, term: u64) -> bytes::Bytes {
        Value::of(candidate, term, &self.candidacy.host)
    }
}

fn judged(written: Result<u64, TransportError>, key: &str) -> Written {
    match written {
        Ok(revision) => Written::Done(revision),
        Err(TransportError::Conflict) => Written::Conflict,
        Err(error) => {
            tracing::warn!(%error, key, "a write of the election has no answer");
            Written::Unknown
        }
    }
}
