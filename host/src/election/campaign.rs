//! The campaign of one plugin on this host: acquires the leadership and holds it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::Rng as _;
use tokio_util::sync::CancellationToken;

use mistersmith_core::limits;
use mistersmith_core::names::{AgentId, Token};
use mistersmith_nats::TransportError;

use super::announcements::{Announcements, Publish};
use super::terms::TermRecord;
use super::{Candidates, Value, now};
use crate::agents::{AgentHandle, Leader, LeaderView, Leadership};
use crate::kv_key::KeyPort;
use crate::kv_lease::{Clock, Conflict, KvLease, Late, Renewal, Rules};

/// The rules of a leadership. The agent is notified when it ends, so nothing may revive it; and the
/// loss of the bucket ends its leaderships.
const RULES: Rules = Rules {
    safe: limits::LEASE_SAFE,
    renewal: limits::LEASE_RENEWAL,
    retry: limits::LEASE_RETRY,
    late: Late::StaysOver,
    conflict: Conflict::Ends,
};

/// A plugin's part in an election.
pub(super) struct Campaign<K, P> {
    lease: KvLease<K, Monotonic>,
    terms: TermRecord<K>,
    announcements: Announcements<P>,
    candidates: Candidates,
    view: Arc<LeaderView>,
    domain: Token,
    host: String,
    cancel: CancellationToken,
    /// A vote was published since the last leader.
    called: bool,
}

/// The surroundings of a campaign, apart from its agents.
pub(super) struct Place<K, P> {
    /// The key of the election.
    pub(super) lease: K,
    /// The record of its newest term.
    pub(super) term: TermRecord<K>,
    pub(super) announcements: Announcements<P>,
}

/// The clock of the process, which stops while the machine sleeps.
#[derive(Debug)]
struct Monotonic(Instant);

impl Clock for Monotonic {
    fn now(&self) -> Duration {
        now().saturating_duration_since(self.0)
    }
}

/// Between 0.5 and 1.5 times the wait, so that hosts that started together do not retry together.
fn jittered(wait: Duration) -> Duration {
    wait.mul_f64(rand::rng().random_range(0.5..1.5))
}

impl<K: KeyPort, P: Publish> Campaign<K, P> {
    pub(super) fn new(
        place: Place<K, P>,
        candidates: Candidates,
        view: Arc<LeaderView>,
        cancel: CancellationToken,
    ) -> Self {
        Self {
            lease: KvLease::new(place.lease, Monotonic(now()), RULES),
            terms: place.term,
            domain: place.announcements.domain().clone(),
            host: place.announcements.host().to_owned(),
            announcements: place.announcements,
            candidates,
            view,
            cancel,
            called: false,
        }
    }

    /// Campaigns until cancelled; then gives up what it holds.
    pub(super) async fn run(mut self) {
        while !self.cancel.is_cancelled() {
            let wait = match self.candidates.first() {
                Some(candidate) => {
                    self.attempt(&candidate).await;
                    jittered(limits::ELECTION_RETRY)
                }
                None => limits::ELECTION_LOOK,
            };
            tokio::select! {
                () = self.cancel.cancelled() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
        // The answer to a creation may have been lost.
        self.give_up().await;
    }

    /// Tries once; after a win, leads until the leadership ends.
    async fn attempt(&mut self, candidate: &AgentHandle) {
        // Saves the write. If this answer was stale, the next read follows soon.
        let over = match self.lease.read().await {
            Ok(None) => None,
            // Our own write, whose answer was lost. It is overwritten, not relied on.
            Ok(Some(entry)) if self.lease.has_sent(&entry.value) => Some(entry.revision),
            Ok(Some(entry)) => {
                self.called = false;
                return self.view.saw(Value::leader(&entry.value));
            }
            Err(error) => {
                return tracing::debug!(%error, domain = %self.domain, "election not readable");
            }
        };
        self.view.saw(None);
        if !std::mem::replace(&mut self.called, true) {
            self.announcements.vote(candidate).await;
        }
        let value = self.value(&candidate.id, 0);
        match self.lease.take(value, over).await {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => return self.has_no_answer(&error),
        }
        self.called = false;
        match self.next_term().await {
            Ok(term) => self.serve(candidate, term).await,
            Err(error) => {
                let domain = &self.domain;
                tracing::warn!(%error, %domain, "the term is not recorded: nobody leads");
                self.give_up().await;
            }
        }
    }

    async fn next_term(&self) -> Result<u64, TransportError> {
        let revision = self.lease.held().map_or(0, |held| held.first);
        self.terms.next(revision, self.view.newest_term()).await
    }

    /// Leads with this term until it ends, then gives up the key.
    async fn serve(&mut self, candidate: &AgentHandle, term: u64) {
        if self.confirm(candidate, term).await && self.begin(candidate, term) {
            let (agent, domain) = (&candidate.id, self.domain.clone());
            tracing::info!(%agent, %domain, term, "leads");
            self.lead(candidate, term).await;
            candidate.state.candidate.step_down();
            candidate.state.nudge();
            self.view.saw(None);
            tracing::info!(%agent, %domain, term, "leads no more");
        }
        self.give_up().await;
    }

    /// Writes the term into the acquired key; before that the candidate leads nobody. Returns false
    /// if the key is to be given up.
    async fn confirm(&mut self, candidate: &AgentHandle, term: u64) -> bool {
        while self.lease.is_held() && !self.cancel.is_cancelled() && candidate.state.stands() {
            let value = self.value(&candidate.id, term);
            match self.lease.renew(value).await {
                Renewal::Renewed => return true,
                Renewal::Gone { .. } | Renewal::Lost => return false,
                Renewal::Recognised => {}
                Renewal::Failed(error) => self.has_no_answer(&error),
            }
            tokio::time::sleep(self.lease.pause().min(self.lease.left())).await;
        }
        false
    }

    /// Makes the candidate the leader, unless it was paused or the host has resigned.
    fn begin(&self, candidate: &AgentHandle, term: u64) -> bool {
        let leadership = Leadership {
            domain: self.domain.clone(),
            term,
            until: self.until(),
        };
        // The order matters: a resignation first cancels, then ends leaderships, so one of the two
        // sees the other.
        let begun = candidate.state.lead(leadership);
        if !begun || self.cancel.is_cancelled() {
            candidate.state.candidate.step_down();
            return false;
        }
        true
    }

    /// Leads until the key is lost, or the agent or the host gives it up.
    async fn lead(&mut self, candidate: &AgentHandle, term: u64) {
        candidate.state.nudge();
        self.view.saw(Some(Leader {
            agent: candidate.id.as_str().to_owned(),
            term,
        }));
        let mut announced = self.announcements.leader(candidate, term).await;
        loop {
            let wait = self.lease.pause().min(self.lease.left());
            tokio::select! {
                biased;
                () = self.cancel.cancelled() => return,
                () = candidate.state.candidate.given_up(term) => return,
                () = tokio::time::sleep(wait) => {}
            }
            if !self.lease.is_held() {
                return;
            }
            // A write in flight is awaited: giving up the key needs its revision.
            let value = self.value(&candidate.id, term);
            match self.lease.renew(value).await {
                Renewal::Renewed => {
                    if !candidate.state.candidate.extend(term, self.until()) {
                        return;
                    }
                    announced = announced || self.announcements.leader(candidate, term).await;
                    self.announcements.heartbeat(candidate, term).await;
                }
                Renewal::Recognised => {}
                Renewal::Failed(error) => self.has_no_answer(&error),
                Renewal::Gone { .. } | Renewal::Lost => return,
            }
        }
    }

    /// The time until which the lease is relied on. The clock is read first, so the result is never
    /// late.
    fn until(&self) -> Instant {
        let now = now();
        now + self.lease.left()
    }

    /// Deletes the key if our write is still the newest.
    async fn give_up(&mut self) {
        if let Err(error) = self.lease.give_up().await {
            let domain = &self.domain;
            tracing::debug!(%error, %domain, "the key of the election was not given up; it expires");
        }
    }

    fn has_no_answer(&self, error: &TransportError) {
        tracing::warn!(%error, domain = %self.domain, "a write of the election has no answer");
    }

    fn value(&self, candidate: &AgentId, term: u64) -> bytes::Bytes {
        Value::of(candidate, term, &self.host)
    }
}

#[cfg(test)]
mod tests;
