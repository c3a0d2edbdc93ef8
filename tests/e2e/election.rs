//! Leader election: one leader of a domain, whatever happens to hosts and servers.

mod clock;
mod faults;
mod history;
mod outside;

use std::time::Duration;

use serde_json::{Value, json};

use harness::{Ear, Host, Nats, Outside, Plugin, Running, until_in};

/// A leader that is gone is missed after 15 seconds; a busy machine takes its time beside that.
const SUCCESSION: Duration = Duration::from_secs(60);

/// The domain's candidates, which tell what they are told.
fn candidates(plugin: Plugin) -> Plugin {
    plugin
        .head("capabilities = [\"lead\"]")
        .section("[election]\ndomain = \"lab\"")
        .grant_publish("told")
        .config("report_to = \"told\"")
}

async fn host(nats: &Nats, name: &str, agents: u32) -> Running {
    Host::new(nats)
        .named(name)
        .plugin("probe", |p| candidates(p).instances(agents))
        .run()
        .await
}

/// Who leads by the key that decides: agent, term, host.
async fn leader(nats: &Outside) -> Option<(String, u64, String)> {
    let value = nats.kv_json("AGENT_LEASES", "election.lab").await?;
    let term = value["term"].as_u64().filter(|term| *term > 0)?;
    let text = |name: &str| value[name].as_str().unwrap().to_owned();
    Some((text("agent_id"), term, text("host")))
}

/// Waits for a leader of a term after that.
async fn leader_after(nats: &Outside, term: u64) -> (String, u64, String) {
    until_in(
        SUCCESSION,
        &format!("a leader after term {term}"),
        async || leader(nats).await.filter(|leader| leader.1 > term),
    )
    .await
}

/// Waits until an agent was told that.
async fn told(ear: &Ear, agent: &str, leading: bool, term: u64) {
    let what = format!("{agent} told: leading {leading} in term {term}");
    until_in(SUCCESSION, &what, async || {
        let all = notices(ear);
        let wanted = json!({
            "agent": agent, "notice": "leadership", "domain": "lab", "leading": leading, "term": term,
        });
        all.contains(&wanted).then_some(())
    })
    .await;
}

fn notices(ear: &Ear) -> Vec<Value> {
    let all = ear.all();
    let all = all
        .iter()
        .map(|m| serde_json::from_slice(&m.payload).unwrap());
    all.filter(|told: &Value| told["notice"] == "leadership")
        .collect()
}

#[tokio::test]
async fn one_of_all_agents_leads_and_everybody_hears_of_it() {
    let nats = Nats::start().await;
    let said = nats.listen("election.lab.>").await;
    let ear = nats.listen("told").await;
    let _one = host(&nats, "one", 2).await;
    let _two = host(&nats, "two", 2).await;
    let (agent, term, on) = leader_after(&nats, 0).await;
    told(&ear, &agent, true, term).await;

    let announced = said.on_subject("election.lab.leader").await;
    let announced: Value = serde_json::from_slice(&announced.payload).unwrap();
    assert_eq!(announced["agent_id"], *agent);
    assert_eq!(announced["term"], term);
    assert_eq!(announced["host"], *on);
    let beat = said.on_subject("election.lab.heartbeat").await;
    let beat: Value = serde_json::from_slice(&beat.payload).unwrap();
    assert_eq!(
        (&beat["agent_id"], &beat["term"]),
        (&json!(agent), &json!(term))
    );
    let vote = said.on_subject("election.lab.vote").await;
    let vote: Value = serde_json::from_slice(&vote.payload).unwrap();
    assert_eq!(vote["capabilities"], json!(["lead"]));
    assert_eq!(vote["agent_id"], *agent, "the first to try has won");

    let leaders = said.count("election.lab.leader");
    assert_eq!(leaders, 1, "{:?}", said.subjects());
    assert_eq!(notices(&ear).len(), 1, "nobody else was told anything");
    let state = until_in(SUCCESSION, "AGENT_STATE shows it", async || {
        let state = nats.state(&agent).await?;
        (!state["metadata"]["leads"].is_null()).then_some(state)
    })
    .await;
    assert_eq!(
        state["metadata"]["leads"],
        json!({"domain": "lab", "term": term})
    );
}

#[tokio::test]
async fn a_leader_resigns_when_it_is_paused_shut_down_dies_or_is_replaced() {
    let nats = Nats::start().await;
    let ear = nats.listen("told").await;
    let one = host(&nats, "one", 1).await;
    let two = host(&nats, "two", 1).await;
    let (first, term, _) = leader_after(&nats, 0).await;
    told(&ear, &first, true, term).await;

    // Paused: it hears of it, and the other one leads.
    nats.request_json(&format!("agent.{first}.cmd.pause"), "")
        .await;
    told(&ear, &first, false, term).await;
    let (second, next, _) = leader_after(&nats, term).await;
    assert_ne!(second, first, "a paused agent is no candidate");
    told(&ear, &second, true, next).await;
    nats.request_json(&format!("agent.{first}.cmd.resume"), "")
        .await;

    // Dead: whoever follows it has another term, itself included.
    let trapped = nats.tell(&second, json!({"do": "trap"})).await;
    assert_eq!(trapped["kind"], "trap");
    let (third, after_trap, at) = leader_after(&nats, next).await;
    told(&ear, &third, true, after_trap).await;

    // Replaced on the host where it leads.
    let goes = if at == "one" { &one } else { &two };
    goes.drop_in(&candidates(Plugin::new("probe")).version("0.2.0"));
    let (fourth, after_reload, _) = leader_after(&nats, after_trap).await;
    told(&ear, &fourth, true, after_reload).await;

    // Shut down.
    nats.request_json(&format!("agent.{fourth}.cmd.shutdown"), "")
        .await;
    let (fifth, after_shutdown, _) = leader_after(&nats, after_reload).await;
    assert_ne!(fifth, fourth);
    told(&ear, &fifth, true, after_shutdown).await;

    // The plugin is removed.
    for host in [&one, &two] {
        host.take_out("probe");
    }
    until_in(SUCCESSION, "nobody leads", async || {
        nats.kv_json("AGENT_LEASES", "election.lab")
            .await
            .is_none()
            .then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_host_that_drains_gives_its_leadership_up() {
    let nats = Nats::start().await;
    let mut one = host(&nats, "one", 1).await;
    let (_, term, _) = leader_after(&nats, 0).await;
    assert_eq!(one.stop().await.0, Some(0));
    assert_eq!(nats.keys("AGENT_LEASES").await, Vec::<String>::new());
    one.start();
    leader_after(&nats, term).await;
}
