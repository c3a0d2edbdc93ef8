//! Agents as NATS micro services: what `nats micro ls`, `info` and `stats` ask.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use harness::{Host, Nats, until};

/// As the clients of NATS read it: every member must be there, and of this type.
#[derive(Debug, Deserialize)]
struct Ping {
    #[serde(rename = "type")]
    kind: String,
    name: String,
    id: String,
    version: String,
    metadata: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
struct Info {
    #[serde(rename = "type")]
    kind: String,
    name: String,
    description: String,
    endpoints: Vec<Endpoint>,
}

#[derive(Debug, Deserialize)]
struct Endpoint {
    name: String,
    subject: String,
    queue_group: String,
    metadata: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
struct Stats {
    #[serde(rename = "type")]
    kind: String,
    id: String,
    started: String,
    endpoints: Vec<EndpointStats>,
}

#[derive(Debug, Deserialize)]
struct EndpointStats {
    name: String,
    subject: String,
    num_requests: u64,
    num_errors: u64,
    last_error: String,
    processing_time: u64,
    average_processing_time: u64,
}

fn read<T: for<'de> Deserialize<'de>>(answer: &Value) -> T {
    serde_json::from_value(answer.clone()).unwrap_or_else(|error| panic!("{error}: {answer}"))
}

/// The ids that answer a `PING`, sorted.
async fn ids(nats: &Nats, subject: &str, count: usize) -> Vec<String> {
    let answers = nats.ask_all(subject, "", count).await;
    let mut ids: Vec<String> = answers.iter().map(|a| read::<Ping>(a).id).collect();
    ids.sort();
    ids
}

#[tokio::test]
async fn agents_of_all_hosts_answer_as_instances_of_a_service() {
    let nats = Nats::start().await;
    let host = |name: &str, version: &str| {
        Host::new(&nats).named(name).plugin("probe", |p| {
            p.instances(2)
                .version(version)
                .head("description = \"Does what it is told\"")
                .head("capabilities = [\"a\", \"b\"]")
        })
    };
    let _first = host("h1", "1.2.3").run().await;
    let mut second = host("h2", "spring").run().await;
    let all = ["probe-001", "probe-002", "probe-003", "probe-004"];
    assert_eq!(ids(&nats, "$SRV.PING", 4).await, all);
    assert_eq!(ids(&nats, "$SRV.PING.probe", 4).await, all);

    let one = nats.request_json("$SRV.PING.probe.probe-001", "").await;
    let ping: Ping = read(&one);
    assert_eq!(ping.kind, "io.nats.micro.v1.ping_response");
    assert_eq!(
        (ping.name.as_str(), ping.version.as_str()),
        ("probe", "1.2.3")
    );
    assert_eq!(ping.metadata["host"], "h1");
    assert_eq!(ping.metadata["capabilities"], "a,b");
    let other: Ping = read(&nats.request_json("$SRV.PING.probe.probe-003", "").await);
    assert_eq!(
        other.version, "0.0.0",
        "clients take semantic versions only"
    );
    assert_eq!(other.metadata["plugin_version"], "spring");

    let info: Info = read(&nats.request_json("$SRV.INFO.probe.probe-002", "").await);
    assert_eq!(info.kind, "io.nats.micro.v1.info_response");
    assert_eq!(
        (info.name.as_str(), info.description.as_str()),
        ("probe", "Does what it is told")
    );
    let endpoint = &info.endpoints[0];
    assert_eq!(endpoint.name, "execute");
    assert_eq!(endpoint.subject, "agent.probe-002.cmd.execute");
    assert_eq!(
        (endpoint.queue_group.as_str(), endpoint.metadata.len()),
        ("", 0)
    );

    // What is no question, or about somebody else, is met with silence: only the last is answered.
    let inbox = nats.client.new_inbox();
    let answers = nats.listen(&inbox).await;
    for subject in [
        "$SRV.PING.nobody",
        "$SRV.PING.probe.probe-999",
        "$SRV.PING.probe.probe-001.more",
        "$SRV.SCHEMA.probe",
        "$SRV.ping",
        "$SRV.PING.*",
        "$SRV.STATS.probe.probe-001",
    ] {
        let sent = nats
            .client
            .publish_with_reply(subject, inbox.clone(), "".into());
        sent.await.unwrap();
    }
    answers.number(1).await;
    nats.agents_ready("probe", "h1", 2).await;
    let answers = answers.all();
    assert_eq!(answers.len(), 1, "{answers:?}");
    assert!(read::<Stats>(&serde_json::from_slice(&answers[0].payload).unwrap()).id == "probe-001");

    second.kill();
    until("the agents of the dead host are silent", async || {
        let inbox = nats.client.new_inbox();
        let answers = nats.listen(&inbox).await;
        let subject = "$SRV.PING.probe";
        let sent = nats.client.publish_with_reply(subject, inbox, "".into());
        sent.await.unwrap();
        answers.number(2).await;
        nats.agents_ready("probe", "h1", 2).await;
        (answers.all().len() == 2).then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_numbers_of_a_service_are_those_of_what_was_asked() {
    let nats = Nats::start().await;
    let _host = Host::new(&nats)
        .plugin("probe", |p| p.limit("payload = \"1KiB\""))
        .run()
        .await;
    for _ in 0..5 {
        nats.tell("probe-001", json!({"do": "counter"})).await;
    }
    let fail = json!({"do": "fail_reject", "message": "no such thing"});
    nats.tell("probe-001", fail).await;
    let large = "x".repeat(2000);
    nats.request("agent.probe-001.cmd.execute", large).await;
    let stats: Stats = read(&nats.request_json("$SRV.STATS.probe", "").await);
    assert_eq!(stats.kind, "io.nats.micro.v1.stats_response");
    assert!(stats.started.ends_with('Z'), "{}", stats.started);
    let endpoint = &stats.endpoints[0];
    assert_eq!(endpoint.name, "execute");
    assert_eq!(endpoint.subject, "agent.probe-001.cmd.execute");
    assert_eq!((endpoint.num_requests, endpoint.num_errors), (7, 2));
    assert!(
        endpoint.last_error.contains("2000 bytes"),
        "{}",
        endpoint.last_error
    );
    assert!(endpoint.processing_time > 0);
    assert_eq!(
        endpoint.average_processing_time,
        endpoint.processing_time / endpoint.num_requests
    );
}

#[tokio::test]
async fn no_plugin_may_speak_as_a_service() {
    let nats = Nats::start().await;
    let host = Host::new(&nats)
        .plugin("probe", |p| p.grant_publish("$SRV.PING").not_awaited())
        .written();
    let checked = host.cli(&["check"]).await;
    assert_eq!(checked.code, Some(64), "{checked:#?}");
    assert!(checked.stderr.contains("$SRV.PING"), "{checked:#?}");
}
