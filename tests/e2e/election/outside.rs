//! What others say on `election.…`: votes are answered, and nothing forged decides anything.

use serde_json::{Value, json};

use super::{host, leader, leader_after, notices, told};
use harness::{Nats, headers};

#[tokio::test]
async fn a_strangers_vote_is_answered_and_never_on_its_reply_subject() {
    let nats = Nats::start().await;
    let _one = host(&nats, "one", 2).await;
    let (agent, term, _) = leader_after(&nats, 0).await;
    let answers = nats.listen("election.lab.vote.resp.>").await;
    let replies = nats.listen("replies").await;
    // As the seeds have it: the bare id, as a request that takes an answer for victory.
    for payload in [
        json!({"agent_id": "stranger_1", "capabilities": ["x"]}).to_string(),
        "stranger_2".to_owned(),
    ] {
        nats.client
            .publish_with_reply("election.lab.vote", "replies", payload.into())
            .await
            .unwrap();
    }
    for voter in ["stranger_1", "stranger_2"] {
        let answer = answers
            .on_subject(&format!("election.lab.vote.resp.{voter}"))
            .await;
        let answer: Value = serde_json::from_slice(&answer.payload).unwrap();
        assert_eq!(
            (&answer["leader"], &answer["term"]),
            (&json!(agent), &json!(term))
        );
    }
    assert!(replies.all().is_empty());
}

#[tokio::test]
async fn nothing_forged_or_malformed_decides_anything() {
    let nats = Nats::start().await;
    let ear = nats.listen("told").await;
    let _one = host(&nats, "one", 1).await;
    let (agent, term, _) = leader_after(&nats, 0).await;
    told(&ear, &agent, true, term).await;
    let answers = nats.listen("election.lab.vote.resp.>").await;
    let victory = json!({"agent_id": "evil-001", "term": term + 1000, "host": "evil"}).to_string();
    for subject in ["leader", "heartbeat", "vote", "vote.resp.probe-001"] {
        for payload in [
            victory.as_bytes(),
            b"",
            b"\xff\xfe",
            b"{\"agent_id\": \"a.>\"}",
            b"{\"agent_id\": [1]}",
            b"* >",
            &[b'x'; 100_000],
        ] {
            let from = headers(&[("X-Agent-ID", "probe-001")]);
            let subject = format!("election.lab.{subject}");
            nats.publish_with(&subject, from, payload.to_vec()).await;
        }
    }
    // The last of them was heard, because this one is answered, and only what names somebody is.
    nats.publish("election.lab.vote", "last").await;
    answers.on_subject("election.lab.vote.resp.last").await;
    let mut heard = answers.subjects();
    heard.retain(|subject| subject != "election.lab.vote.resp.probe-001");
    assert_eq!(
        heard,
        [
            "election.lab.vote.resp.evil-001",
            "election.lab.vote.resp.last"
        ]
    );
    assert_eq!(leader(&nats).await.map(|leader| leader.1), Some(term));
    assert_eq!(notices(&ear).len(), 1);
}

#[tokio::test]
async fn a_stranger_can_lead_by_the_rules_and_is_waited_for() {
    let nats = Nats::start().await;
    // The bucket is there before anybody takes part.
    let mut one = host(&nats, "one", 1).await;
    leader_after(&nats, 0).await;
    one.stop().await;
    let leases = nats.kv("AGENT_LEASES").await;
    let value = json!({"agent_id": "outside", "term": 0}).to_string();
    let created = leases.create("election.lab", value.into()).await.unwrap();
    let claims = nats.kv("AGENT_CLAIMS").await;
    let recorded = claims.entry("term.lab").await.unwrap().unwrap();
    let record: Value = serde_json::from_slice(&recorded.value).unwrap();
    let term = record["term"].as_u64().unwrap() + 1;
    let record = json!({ "term": term }).to_string();
    let raised = claims.update("term.lab", record.into(), recorded.revision);
    raised.await.unwrap();
    let value = json!({"agent_id": "outside", "term": term}).to_string();
    let newest = leases
        .update("election.lab", value.into(), created)
        .await
        .unwrap();
    let ear = nats.listen("told").await;
    one.start();
    one.wait_ready().await;
    let answers = nats.listen("election.lab.vote.resp.me").await;
    harness::until("the host knows the stranger", async || {
        nats.publish("election.lab.vote", "me").await;
        let known = |m: &async_nats::Message| {
            let answer: Value = serde_json::from_slice(&m.payload).unwrap();
            answer["leader"] == "outside" && answer["term"] == term
        };
        answers.all().iter().any(known).then_some(())
    })
    .await;
    assert!(notices(&ear).is_empty());
    leases
        .delete_expect_revision("election.lab", Some(newest))
        .await
        .unwrap();
    let (agent, next, _) = leader_after(&nats, term).await;
    told(&ear, &agent, true, next).await;
}
