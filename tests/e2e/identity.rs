//! Whose an id is: one host's, whatever is copied, lost or stands still.

use std::time::Duration;

use serde_json::json;

use harness::{Host, Nats, Outside, Running, until, until_in};

/// A lease lasts 15 s; the machine may be busy.
const LEASE: Duration = Duration::from_secs(60);

/// A host of one plugin, whose agents take work of a domain.
fn host(nats: &Nats, name: &str, instances: u32, domain: &str) -> Host {
    Host::new(nats).named(name).plugin("probe", |p| {
        p.instances(instances)
            .work(domain, "*")
            .grant_publish("said.*")
    })
}

/// Gives a host that does not run yet the id of another one, as a copied machine has it.
fn copied(host: Host, of: &Running) -> Running {
    let copy = host.written();
    std::fs::write(copy.data().join("host_id"), of.host_id()).unwrap();
    copy
}

async fn lease_is_over(nats: &Outside, of: &Running) {
    let lease = format!("host.{}", of.host_id());
    until_in(LEASE, "the lease is over", async || {
        let lease = nats.kv_json("AGENT_LEASES", &lease).await;
        lease.is_none().then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_copy_of_a_data_folder_is_refused_while_the_original_runs() {
    let nats = Nats::start().await;
    let mut first = host(&nats, "first", 2, "lab").run().await;
    let mut copy = copied(host(&nats, "copy", 2, "lab"), &first);
    copy.start();
    assert_eq!(copy.ended().await, Some(1));
    let said = copy.logs.saying("runs with the same host id").await;
    let said = said.message();
    for part in ["\"first\"", &first.host_id(), "remove the file `host_id`"] {
        assert!(said.contains(part), "{said}");
    }
    // The first one has noticed nothing.
    let ids = nats.agents_ready("probe", "first", 2).await;
    assert_eq!(ids, ["probe-001", "probe-002"]);
    nats.work_as("w", "work.lab.x", r#"{"do": "echo", "value": 1}"#)
        .await;
    assert_eq!(nats.result_of("w").await.text(), "1");
    // With an id of its own it is a host like any other.
    std::fs::remove_file(copy.data().join("host_id")).unwrap();
    copy.start();
    copy.wait_ready().await;
    let ids = nats.agents_ready("probe", "copy", 2).await;
    assert_eq!(ids, ["probe-003", "probe-004"]);
    assert!(first.exited().is_none());
}

#[tokio::test]
async fn of_two_copies_that_start_together_one_runs() {
    let nats = Nats::start().await;
    let mut hosts = ["one", "two"].map(|name| host(&nats, name, 1, "lab").written());
    for host in &mut hosts {
        std::fs::write(host.data().join("host_id"), "copied00000000000000").unwrap();
        host.start();
    }
    let refused = until_in(LEASE, "one of the two has ended", async || {
        let ended = |host: &mut Running| host.exited().is_some();
        hosts.iter_mut().position(ended)
    })
    .await;
    let said = hosts[refused].logs.saying("runs with the same host id");
    said.await;
    let runs = &mut hosts[1 - refused];
    runs.wait_ready().await;
    nats.work_as("w", "work.lab.x", r#"{"do": "echo", "value": 1}"#)
        .await;
    assert_eq!(nats.result_of("w").await.text(), "1");
    assert!(hosts[1 - refused].exited().is_none());
}

#[tokio::test]
async fn a_host_that_joins_after_the_claims_were_lost_takes_no_id_of_others() {
    let nats = Nats::start().await;
    let _one = host(&nats, "one", 2, "lab").run().await;
    let _two = host(&nats, "two", 2, "lab").run().await;
    nats.js.delete_stream("KV_AGENT_CLAIMS").await.unwrap();
    // It makes the bucket again, and finds it empty.
    let third = host(&nats, "third", 2, "lab").run().await;
    let ids = nats.agents_ready("probe", "third", 2).await;
    assert_eq!(ids, ["probe-005", "probe-006"]);
    for (name, expected) in [
        ("one", ["probe-001", "probe-002"]),
        ("two", ["probe-003", "probe-004"]),
    ] {
        assert_eq!(nats.agents_ready("probe", name, 2).await, expected);
    }
    until("everybody has claimed its ids again", async || {
        let mut ids = nats.keys("AGENT_CLAIMS").await;
        ids.retain(|key| !key.contains('.'));
        (ids.len() == 6).then_some(())
    })
    .await;
    let claim = nats.kv_json("AGENT_CLAIMS", "probe-005").await.unwrap();
    assert_eq!(claim["host_id"], third.host_id().as_str());
}

#[tokio::test]
async fn an_agent_whose_id_another_host_has_ends_and_another_id_takes_its_place() {
    let nats = Nats::start().await;
    let one = host(&nats, "one", 1, "lab").run().await;
    let _two = host(&nats, "two", 1, "lab").run().await;
    let theirs = nats.kv_json("AGENT_CLAIMS", "probe-002").await.unwrap();
    let claims = nats.kv("AGENT_CLAIMS").await;
    let value = theirs.to_string().into();
    claims.put("probe-001", value).await.unwrap();
    let line = one.logs.saying("another host has this agent's id").await;
    assert_eq!(line.field("agent"), "probe-001");
    let ids = until("another id is in its place", async || {
        let ids = nats.agents_ready("probe", "one", 1).await;
        (ids != ["probe-001"]).then_some(ids)
    })
    .await;
    assert_eq!(ids, ["probe-003"]);
}

#[tokio::test]
async fn a_host_that_stood_still_does_nothing_under_an_id_that_another_host_has() {
    let nats = Nats::start().await;
    let first = host(&nats, "first", 1, "lab").run().await;
    let said = nats.listen("said.*").await;
    let say = |what: &str| json!({"do": "publish", "subject": format!("said.{what}")});
    let wait = json!({"do": "sleep", "ms": 200, "how": "wait"});
    let mut commands = vec![say("begun")];
    for _ in 0..20 {
        commands.extend([wait.clone(), say("more")]);
    }
    let commands = json!({"do": "sequence", "commands": commands});
    nats.work_as("w", "work.lab.x", commands.to_string()).await;
    said.on_subject("said.begun").await;
    first.pause();
    lease_is_over(&nats, &first).await;
    // It has the id, and does other work: what is said of this item is said by the first host.
    let _second = host(&nats, "second", 1, "kitchen").run().await;
    let ids = nats.agents_ready("probe", "second", 1).await;
    assert_eq!(ids, ["probe-001"]);
    said.forget();
    first.resume();
    let result = until_in(LEASE, "the item is run again", async || {
        nats.results_of("w").await.pop()
    })
    .await;
    assert_eq!(result.subject, "agent.probe-002.resp.w");
    let agents = said.all().into_iter().map(|message| {
        let headers = message.headers.unwrap_or_default();
        harness::header(&headers, "X-Agent-ID")
    });
    let agents: Vec<String> = agents.collect();
    assert_eq!(agents, vec!["probe-002"; 21]);
    assert_eq!(nats.results_of("w").await.len(), 1);
}

#[tokio::test]
async fn agents_of_a_host_that_is_gone_are_shown_as_such() {
    let nats = Nats::start().await;
    let mut dead = host(&nats, "dead", 1, "lab").run().await;
    let living = host(&nats, "living", 1, "lab").run().await;
    let status = async || {
        let shown = living.cli(&["agents", "--json"]).await.ok().json();
        let gone = |agent: &serde_json::Value| agent["host_gone"].as_bool().unwrap();
        let agents = shown["agents"].as_array().unwrap();
        agents.iter().map(gone).collect::<Vec<_>>()
    };
    until("both are shown", async || {
        (status().await == [false, false]).then_some(())
    })
    .await;
    dead.kill();
    lease_is_over(&nats, &dead).await;
    assert_eq!(status().await, [true, false]);
    let table = living.cli(&["agents"]).await.ok().stdout;
    let row = |id: &str| table.lines().find(|line| line.starts_with(id)).unwrap();
    assert!(row("probe-001").contains("host gone"), "{table}");
    assert!(row("probe-002").contains("ready"), "{table}");
}
