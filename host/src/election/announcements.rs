//! Announcements on `election.<domain>.…`: reports to any subscriber, and answers to votes.
//!
//! Each is sent at once or dropped: after waiting for a connection it might no longer be true.

use std::time::Instant;

use serde_json::{Value as Json, json};

use mistersmith_core::limits;
use mistersmith_core::names::{AgentId, Token};
use mistersmith_nats::{Connection, Message, RequestId, Trace, TransportError};

use super::{Candidates, ElectionConfig, is_id, now};
use crate::agents::{AgentHandle, Leader, LeaderView};
use crate::clock;

/// Publishes announcements.
pub(super) trait Publish: Send + Sync {
    /// Publishes an announcement of an agent at once, or drops it; returns whether it was sent.
    fn publish(
        &self,
        subject: &str,
        agent: &AgentId,
        body: &Json,
    ) -> impl Future<Output = bool> + Send;
}

impl Publish for Connection {
    async fn publish(&self, subject: &str, agent: &AgentId, body: &Json) -> bool {
        let headers = Trace::begin(RequestId::new()).stamped_json(Some(agent));
        let payload = body.to_string().into();
        let sent = Self::publish(self, subject, None, headers, payload).await;
        if let Err(error) = &sent {
            tracing::debug!(%error, subject, "announcement not sent");
        }
        sent.is_ok()
    }
}

/// The announcements of one host about one election.
#[derive(Debug, Clone)]
pub(super) struct Announcements<P> {
    domain: Token,
    host: String,
    to: P,
}

impl<P: Publish> Announcements<P> {
    pub(super) fn new(domain: Token, host: String, to: P) -> Self {
        Self { domain, host, to }
    }

    pub(super) fn domain(&self) -> &Token {
        &self.domain
    }

    pub(super) fn host(&self) -> &str {
        &self.host
    }

    /// A candidate starts to campaign. Published once per period without a leader.
    pub(super) async fn vote(&self, candidate: &AgentHandle) {
        let body = json!({
            "agent_id": candidate.id.as_str(),
            "capabilities": candidate.state.snapshot(&candidate.id).capabilities,
            "host": self.host,
            "at": clock::now(),
        });
        self.publish("vote", &candidate.id, &body).await;
    }

    /// Publishes that an agent of this host leads. Returns whether that was sent.
    pub(super) async fn leader(&self, leader: &AgentHandle, term: u64) -> bool {
        self.leading("leader", leader, term).await
    }

    /// Publishes that an agent of this host still leads.
    pub(super) async fn heartbeat(&self, leader: &AgentHandle, term: u64) {
        self.leading("heartbeat", leader, term).await;
    }

    async fn leading(&self, event: &str, leader: &AgentHandle, term: u64) -> bool {
        // Checked last: the leadership may have ended in the meantime.
        let leads = leader.state.candidate.leadership(now());
        if leads.is_none_or(|leads| leads.term != term) {
            return false;
        }
        let body = json!({
            "agent_id": leader.id.as_str(), "term": term, "host": self.host,
            "at": clock::now(),
        });
        self.publish(event, &leader.id, &body).await
    }

    async fn publish(&self, event: &str, agent: &AgentId, body: &Json) -> bool {
        let subject = format!("election.{}.{event}", self.domain);
        self.to.publish(&subject, agent, body).await
    }
}

/// Answers the votes of others: each host names the leader on `election.<domain>.vote.resp.<id>`,
/// never on a reply subject, where clients take an answer for a victory.
pub(super) async fn answer(
    config: ElectionConfig,
    announcements: Announcements<Connection>,
) -> Result<impl Future<Output = ()>, TransportError> {
    let subject = format!("election.{}.vote", config.domain);
    let mut votes = config.connection.subscribe(&subject, None).await?;
    let candidates = config.candidates();
    Ok(async move {
        let mut answered = Answered::new(Instant::now());
        while let Some(vote) = votes.next().await {
            let Some(voter) = voter(&vote) else {
                tracing::debug!(subject, "a vote that names nobody");
                continue;
            };
            let ours = voter.parse::<AgentId>();
            if ours.is_ok_and(|id| config.directory.contains(&id)) {
                continue;
            }
            if let Some(candidate) = candidates.first()
                && answered.admit(Instant::now())
            {
                let leader = known_leader(&candidates, &config.view);
                let body = json!({
                    "agent_id": candidate.id.as_str(),
                    "leader": leader.as_ref().map(|leader| &leader.agent),
                    "term": leader.as_ref().map(|leader| leader.term),
                    "host": config.host,
                });
                let event = format!("vote.resp.{voter}");
                announcements.publish(&event, &candidate.id, &body).await;
            }
        }
    })
}

/// This host's own leader at this moment, otherwise the one last seen in the key.
fn known_leader(candidates: &Candidates, view: &LeaderView) -> Option<Leader> {
    let now = now();
    let ours = candidates.all().into_iter().find_map(|agent| {
        let leads = agent.state.candidate.leadership(now)?;
        Some(Leader {
            agent: agent.id.as_str().to_owned(),
            term: leads.term,
        })
    });
    ours.or_else(|| view.leader())
}

/// The voter: `agent_id` of a JSON object, or the whole payload, as older clients send it.
fn voter(vote: &Message) -> Option<String> {
    let text = std::str::from_utf8(&vote.payload).ok()?;
    let named = match serde_json::from_str::<Json>(text) {
        Ok(Json::Object(fields)) => fields.get("agent_id")?.as_str()?.to_owned(),
        Ok(Json::String(id)) => id,
        _ => text.trim().to_owned(),
    };
    is_id(&named).then_some(named)
}

/// The number of votes answered this second: a flood of votes must not make this host flood others.
struct Answered {
    since: Instant,
    count: u32,
}

impl Answered {
    fn new(now: Instant) -> Self {
        Self {
            since: now,
            count: 0,
        }
    }

    fn admit(&mut self, now: Instant) -> bool {
        if now.duration_since(self.since).as_secs() > 0 {
            *self = Self::new(now);
        }
        self.count = self.count.saturating_add(1);
        self.count <= limits::VOTES_ANSWERED
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use mistersmith_nats::Headers;

    #[test]
    fn who_votes() {
        let long = "x".repeat(limits::MAX_ELECTOR + 1);
        let cases = [
            (
                r#"{"agent_id": "nlp-007", "capabilities": []}"#,
                Some("nlp-007"),
            ),
            ("nlp-007", Some("nlp-007")),
            ("\"nlp-007\"", Some("nlp-007")),
            ("Worker_1\n", Some("Worker_1")),
            (r#"{"agent_id": "a.>"}"#, None),
            (r#"{"agent_id": 7}"#, None),
            (r#"{"agent": "a"}"#, None),
            ("*", None),
            ("a b", None),
            ("", None),
            (long.as_str(), None),
        ];
        for (payload, expected) in cases {
            let vote = Message {
                subject: "election.nlp.vote".to_owned(),
                reply: None,
                headers: Headers::default(),
                payload: payload.to_owned().into(),
            };
            assert_eq!(voter(&vote).as_deref(), expected, "{payload}");
        }
    }

    #[test]
    fn a_flood_of_votes_is_not_answered() {
        let now = Instant::now();
        let mut answered = Answered::new(now);
        let admitted = (0..1000).filter(|_| answered.admit(now)).count();
        assert_eq!(admitted, limits::VOTES_ANSWERED as usize);
        assert!(answered.admit(now + Duration::from_secs(1)));
    }
}
