//! What is said on `election.<domain>.…`: reports for whoever listens, and answers to votes.
//!
//! Sent at once or not at all: what waited for a connection might not be true any more.

use std::time::Instant;

use serde_json::{Value as Json, json};

use crate::limits;
use crate::names::AgentId;
use crate::transport::{Headers, Message, RequestId, Trace, TransportError};

use super::super::directory::AgentPort;
use super::super::lifecycle::now;
use super::{Candidacy, Leader, is_id};

/// A candidate begins to try. Told once for each time that there is no leader.
pub(super) async fn vote(candidacy: &Candidacy, candidate: &AgentPort) {
    let body = json!({
        "agent_id": candidate.id.as_str(),
        "capabilities": candidate.cell.snapshot(&candidate.id).capabilities,
        "host": candidacy.host,
        "at": now(),
    });
    say(candidacy, "vote", &candidate.id, &body).await;
}

/// An agent of ours leads. Returns whether that was said.
pub(super) async fn leader(candidacy: &Candidacy, leader: &AgentPort, term: u64) -> bool {
    say_of(candidacy, "leader", leader, term).await
}

/// An agent of ours leads still.
pub(super) async fn heartbeat(candidacy: &Candidacy, leader: &AgentPort, term: u64) {
    say_of(candidacy, "heartbeat", leader, term).await;
}

async fn say_of(candidacy: &Candidacy, what: &str, leader: &AgentPort, term: u64) -> bool {
    // Looked at last: it may have been given up while we got here.
    let office = leader.cell.seat.office(Instant::now());
    if office.is_none_or(|office| office.term != term) {
        return false;
    }
    let body = json!({
        "agent_id": leader.id.as_str(), "term": term, "host": candidacy.host, "at": now(),
    });
    say(candidacy, what, &leader.id, &body).await
}

async fn say(candidacy: &Candidacy, what: &str, agent: &AgentId, body: &Json) -> bool {
    let subject = format!("election.{}.{what}", candidacy.domain);
    let mut headers = Headers::default();
    headers.set("Content-Type", "application/json");
    Trace::begin(RequestId::new()).stamp(Some(agent), &mut headers);
    let sent = candidacy
        .link
        .publish(&subject, None, headers, body.to_string().into())
        .await;
    if let Err(error) = &sent {
        tracing::debug!(%error, subject, "not said");
    }
    sent.is_ok()
}

/// Answers votes of others: each host says what it knows, on `election.<domain>.vote.resp.<id>` and
/// never on a reply subject, where an answer is taken for a victory.
pub(super) async fn answer(
    candidacy: Candidacy,
) -> Result<impl Future<Output = ()>, TransportError> {
    let subject = format!("election.{}.vote", candidacy.domain);
    let mut votes = candidacy.link.subscribe(&subject, None).await?;
    Ok(async move {
        let mut answered = Answered::new(Instant::now());
        while let Some(vote) = votes.next().await {
            let Some(voter) = voter(&vote) else {
                tracing::debug!(subject, "a vote that names nobody");
                continue;
            };
            let ours = voter.parse::<AgentId>();
            if ours.is_ok_and(|id| candidacy.directory.contains(&id)) {
                continue;
            }
            if let Some(candidate) = candidacy.candidate()
                && answered.admit(Instant::now())
            {
                let leader = known_leader(&candidacy);
                let body = json!({
                    "agent_id": candidate.id.as_str(),
                    "leader": leader.as_ref().map(|leader| &leader.agent),
                    "term": leader.as_ref().map(|leader| leader.term),
                    "host": candidacy.host,
                });
                say(
                    &candidacy,
                    &format!("vote.resp.{voter}"),
                    &candidate.id,
                    &body,
                )
                .await;
            }
        }
    })
}

/// Our own leader at this very moment, else the one that was last seen in the key.
fn known_leader(candidacy: &Candidacy) -> Option<Leader> {
    let now = Instant::now();
    let ours = candidacy.ports().into_iter().find_map(|port| {
        let office = port.cell.seat.office(now)?;
        Some(Leader {
            agent: port.id.as_str().to_owned(),
            term: office.term,
        })
    });
    ours.or_else(|| candidacy.board.leader())
}

/// Who votes: `agent_id` of a JSON object, or the whole payload, as older clients have it.
fn voter(vote: &Message) -> Option<String> {
    let text = std::str::from_utf8(&vote.payload).ok()?;
    let named = match serde_json::from_str::<Json>(text) {
        Ok(Json::Object(fields)) => fields.get("agent_id")?.as_str()?.to_owned(),
        Ok(Json::String(id)) => id,
        _ => text.trim().to_owned(),
    };
    is_id(&named).then_some(named)
}

/// How many votes were answered this second: whoever floods us must not make us flood others.
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
