//! A history: agents are asked all the time whether they lead, while hosts are killed, stopped and
//! restarted; then what they said is checked.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{host, leader_after};
use harness::{Nats, Outside, Running, until_in};

/// One answer to "do you lead?".
#[derive(Debug, Clone)]
struct Sample {
    asked: Instant,
    answered: Instant,
    agent: String,
    leading: bool,
    term: u64,
}

type History = Arc<Mutex<Vec<Sample>>>;

/// Asks an agent again and again, also while nobody answers.
async fn ask(nats: Outside, agent: String, history: History) {
    let subject = format!("agent.{agent}.cmd.execute");
    let command = json!({"do": "leadership"}).to_string();
    loop {
        let asked = Instant::now();
        let request = async_nats::Request::new()
            .payload(command.clone().into())
            .timeout(Some(Duration::from_secs(1)));
        let Ok(answer) = nats.client.send_request(subject.clone(), request).await else {
            continue;
        };
        let answered = Instant::now();
        let told: Value = serde_json::from_slice(&answer.payload).unwrap_or_default();
        if let Some(leading) = told["leading"].as_bool() {
            history.lock().unwrap().push(Sample {
                asked,
                answered,
                agent: agent.clone(),
                leading,
                term: told["term"].as_u64().unwrap(),
            });
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until the leader of that term was heard to say so.
async fn seen(history: &History, term: u64) {
    until_in(
        super::SUCCESSION,
        &format!("term {term} is in the history"),
        async || {
            let all = history.lock().unwrap();
            let found = all
                .iter()
                .any(|sample| sample.leading && sample.term == term);
            found.then_some(())
        },
    )
    .await;
}

#[tokio::test]
async fn no_term_has_two_leaders_and_no_two_lead_at_the_same_time() {
    let nats = Nats::start().await;
    let mut hosts: Vec<Running> = Vec::new();
    for name in ["one", "two", "three"] {
        hosts.push(host(&nats, name, 1).await);
    }
    let history = History::default();
    let mut askers = tokio::task::JoinSet::new();
    // A host that was away may find its numbers taken, and takes others.
    for number in 1..=6 {
        let agent = format!("probe-{number:03}");
        askers.spawn(ask(nats.another().await, agent, history.clone()));
    }
    let (mut agent, mut term, mut at) = leader_after(&nats, 0).await;
    seen(&history, term).await;
    for fault in [
        "kill",
        "stand still",
        "drain",
        "pause",
        "stand still",
        "trap",
    ] {
        let index = hosts.iter().position(|host| host.name() == at).unwrap();
        let struck = &mut hosts[index];
        match fault {
            "kill" => struck.kill(),
            "stand still" => struck.pause(),
            "drain" => assert_eq!(struck.stop().await.0, Some(0)),
            "pause" => drop(nats.request(&format!("agent.{agent}.cmd.pause"), "").await),
            _ => drop(nats.tell(&agent, json!({"do": "trap"})).await),
        }
        let before = (agent.clone(), term);
        (agent, term, at) = leader_after(&nats, term).await;
        seen(&history, term).await;
        match fault {
            "kill" | "drain" => struck.start(),
            "stand still" => struck.resume(),
            "pause" => drop(
                nats.request(&format!("agent.{}.cmd.resume", before.0), "")
                    .await,
            ),
            _ => {}
        }
    }
    askers.shutdown().await;
    check(&history.lock().unwrap());
}

fn check(history: &[Sample]) {
    let leads: Vec<&Sample> = history.iter().filter(|sample| sample.leading).collect();
    let mut leaders: BTreeMap<u64, &str> = BTreeMap::new();
    for sample in &leads {
        let leader = leaders.entry(sample.term).or_insert(&sample.agent);
        assert_eq!(
            *leader, sample.agent,
            "term {} has two leaders",
            sample.term
        );
    }
    assert!(leaders.len() >= 7, "each fault has a term: {leaders:?}");
    // Who was asked after a later leader had spoken does not lead any more.
    for sample in &leads {
        let later = leads
            .iter()
            .find(|other| other.term > sample.term && other.answered < sample.asked);
        assert!(later.is_none(), "{sample:?} after {later:?}");
    }
}
