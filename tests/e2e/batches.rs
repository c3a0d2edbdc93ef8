//! `[[subscribe]] batch`: several messages in one call, each with an answer of its own.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use harness::{Ear, Host, Nats, Plugin, header, until};

/// A probe that reports what it gets, on `report`.
fn reporter(plugin: Plugin) -> Plugin {
    plugin
        .config("report_to = \"report\"")
        .grant_publish("report")
}

/// The batches that were reported: by whom, and their payloads.
fn batches(reports: &Ear) -> Vec<(String, Vec<String>)> {
    let reports = reports.all();
    let reports = reports
        .iter()
        .map(|report| serde_json::from_slice::<Value>(&report.payload).unwrap());
    reports
        .filter(|report| report["batch"].is_array())
        .map(|report| {
            let payloads = serde_json::from_value(report["batch"].clone()).unwrap();
            (report["agent"].as_str().unwrap().to_owned(), payloads)
        })
        .collect()
}

/// Publishes a request for each payload; the answers come on the ear.
async fn ask(nats: &Nats, subject: &str, payloads: impl Iterator<Item = String>) -> Ear {
    let inbox = nats.client.new_inbox();
    let answers = nats.listen(&inbox).await;
    for payload in payloads {
        nats.client
            .publish_with_reply(subject.to_owned(), inbox.clone(), payload.into())
            .await
            .unwrap();
    }
    nats.client.flush().await.unwrap();
    answers
}

#[tokio::test]
async fn a_full_batch_comes_in_one_call_and_each_message_is_answered() {
    let nats = Nats::start().await;
    let reports = nats.listen("report").await;
    let _host = Host::new(&nats)
        .plugin("probe", |p| {
            reporter(p).subscribe_with("tools.sum", "batch = 4\nbatch_wait = \"10s\"")
        })
        .run()
        .await;
    let payloads = [
        "0",
        "1",
        "{\"do\": \"fail_reject\", \"message\": \"no\"}",
        "3",
    ];
    let answers = ask(&nats, "tools.sum", payloads.map(str::to_owned).into_iter()).await;
    let answers = answers.number(4).await;
    let heard = until("a batch is reported", async || batches(&reports).pop()).await;
    assert_eq!(
        heard,
        ("probe-001".to_owned(), payloads.map(str::to_owned).to_vec())
    );
    let (mut said, mut refused) = (BTreeSet::new(), Vec::new());
    for answer in &answers {
        let headers = answer.headers.as_ref().unwrap();
        assert_eq!(header(headers, "X-Agent-ID"), "probe-001");
        match header(headers, "Nats-Service-Error") {
            error if error.is_empty() => {
                let body: Value = serde_json::from_slice(&answer.payload).unwrap();
                said.insert(body["payload"].as_str().unwrap().to_owned());
            }
            error => refused.push(error),
        }
    }
    assert_eq!(said, ["0", "1", "3"].map(str::to_owned).into());
    assert_eq!(refused, ["no"]);
    let status = nats.request_json("agent.probe-001.cmd.status", "").await;
    assert_eq!(
        (&status["handled"], &status["failed"]),
        (&json!(4), &json!(1))
    );
}

#[tokio::test]
async fn a_batch_that_does_not_fill_is_handed_over_after_its_wait() {
    let nats = Nats::start().await;
    let reports = nats.listen("report").await;
    let _host = Host::new(&nats)
        .plugin("probe", |p| {
            reporter(p)
                .head("instance = \"message\"")
                .subscribe_with("tools.sum", "batch = 1000\nbatch_wait = \"50ms\"")
        })
        .run()
        .await;
    let answers = ask(&nats, "tools.sum", (0..3).map(|n| n.to_string())).await;
    answers.number(3).await;
    let sizes: usize = batches(&reports).iter().map(|(_, b)| b.len()).sum();
    assert_eq!(sizes, 3, "{:?}", batches(&reports));
}

#[tokio::test]
async fn a_batch_of_what_is_there_waits_for_nobody() {
    let nats = Nats::start().await;
    let reports = nats.listen("report").await;
    let _host = Host::new(&nats)
        .plugin("probe", |p| {
            reporter(p).subscribe_with("tools.sum", "batch = 1000\nbatch_wait = \"0ms\"")
        })
        .run()
        .await;
    let lone = nats.request_json("tools.sum", "lone").await;
    assert_eq!(lone["payload"], "lone");
    let answers = ask(&nats, "tools.sum", (0..50).map(|n| n.to_string())).await;
    answers.number(50).await;
    let heard = batches(&reports);
    let heard: Vec<String> = heard.into_iter().flat_map(|(_, batch)| batch).collect();
    let sent = (0..50).map(|n| n.to_string());
    let sent: Vec<String> = std::iter::once("lone".to_owned()).chain(sent).collect();
    assert_eq!(heard, sent, "each once, in order");
}

#[tokio::test]
async fn hosts_of_a_queue_group_share_messages_and_each_is_in_one_batch() {
    let nats = Nats::start().await;
    let reports = nats.listen("report").await;
    let both = |name: &str| {
        Host::new(&nats).named(name).plugin("probe", |p| {
            reporter(p.instances(2)).subscribe_with(
                "tools.sum",
                "queue = \"summers\"\nbatch = 5\nbatch_wait = \"50ms\"",
            )
        })
    };
    let _first = both("h1").run().await;
    let mut second = both("h2").run().await;
    let answers = ask(&nats, "tools.sum", (0..100).map(|n| n.to_string())).await;
    answers.number(100).await;
    let heard = batches(&reports);
    assert!(heard.iter().all(|(_, batch)| batch.len() <= 5), "{heard:?}");
    let mut all: Vec<u32> = heard
        .iter()
        .flat_map(|(_, batch)| batch.iter().map(|n| n.parse().unwrap()))
        .collect();
    all.sort_unstable();
    assert_eq!(all, (0..100).collect::<Vec<_>>());
    let hosts: BTreeSet<bool> = heard
        .iter()
        .map(|(agent, _)| agent.as_str() < "probe-003")
        .collect();
    assert_eq!(hosts.len(), 2, "both hosts took part: {heard:?}");

    // A host that dies takes only its own share with it; the other one goes on with the rest.
    second.kill();
    until("the server has forgotten the dead host", async || {
        let answers = ask(&nats, "tools.sum", (0..20).map(|n| n.to_string())).await;
        tokio::time::timeout(std::time::Duration::from_secs(2), answers.number(20))
            .await
            .ok()
    })
    .await;
}

#[tokio::test]
async fn what_an_agent_may_not_hear_is_not_in_its_batch() {
    let nats = Nats::start().await;
    let reports = nats.listen("report").await;
    let _host = Host::new(&nats)
        .plugin("probe", |p| {
            reporter(p.instances(2))
                .deny("fan.{agent}")
                .subscribe_with("fan.*", "batch = 3\nbatch_wait = \"10s\"")
        })
        .run()
        .await;
    for target in ["probe-001", "probe-002", "x"] {
        nats.publish(&format!("fan.{target}"), target).await;
    }
    let mut heard = until("both agents have a batch", async || {
        Some(batches(&reports)).filter(|heard| heard.len() == 2)
    })
    .await;
    heard.sort();
    let of = |agent: &str, other: &str| (agent.to_owned(), vec![other.to_owned(), "x".to_owned()]);
    assert_eq!(
        heard,
        [of("probe-001", "probe-002"), of("probe-002", "probe-001")]
    );
}

#[tokio::test]
async fn whoever_waits_for_a_batch_that_ends_its_instance_is_told() {
    let nats = Nats::start().await;
    let _host = Host::new(&nats)
        .plugin("probe", |p| {
            p.limit("payload = \"1KiB\"")
                .subscribe_with("tools.sum", "batch = 2\nbatch_wait = \"10s\"")
        })
        .run()
        .await;
    let payloads = ["fine", "{\"do\": \"panic\", \"message\": \"ouch\"}"];
    let answers = ask(&nats, "tools.sum", payloads.map(str::to_owned).into_iter()).await;
    for answer in answers.number(2).await {
        let headers = answer.headers.as_ref().unwrap();
        assert_eq!(header(headers, "Nats-Service-Error-Code"), "500");
    }
    // What must not wake the plugin is refused by itself, and takes no place in a batch.
    nats.agents_ready("probe", "h1", 1).await;
    let large = "x".repeat(2000);
    let payloads = ["one".to_owned(), large, "two".to_owned()];
    let answers = ask(&nats, "tools.sum", payloads.into_iter()).await;
    let answers = answers.number(3).await;
    let mut codes: Vec<String> = answers
        .iter()
        .map(|answer| header(answer.headers.as_ref().unwrap(), "Nats-Service-Error-Code"))
        .collect();
    codes.sort();
    assert_eq!(codes, ["", "", "413"]);
}

#[tokio::test]
async fn a_flood_of_batches_is_bounded_and_counted() {
    // More bytes than may wait for the agents of a plugin.
    const MANY: usize = 4000;
    let padding = " ".repeat(20 * 1024);
    let nats = Nats::start().await;
    let host = Host::new(&nats)
        .plugin("probe", |p| {
            p.limit("timeout = \"1m\"")
                .subscribe_with("tools.sum", "batch = 2\nbatch_wait = \"1s\"")
        })
        .run()
        .await;
    let slow = r#"{"do": "sleep", "ms": 4000, "how": "wait"}"#;
    nats.publish("agent.probe-001.cmd.execute", slow).await;
    nats.state_is("probe-001", "busy").await;
    let answers = ask(
        &nats,
        "tools.sum",
        (0..MANY).map(|n| format!("{n}{padding}")),
    )
    .await;
    let answers = answers.number(MANY).await;
    let busy = answers.iter().filter_map(|answer| answer.headers.as_ref());
    let busy = busy.filter(|said| header(said, "Nats-Service-Error-Code") == "429");
    let busy = busy.count();
    assert!((1..MANY).contains(&busy), "{busy} of {MANY}");
    let dropped = host.logs.saying("messages dropped").await;
    assert_eq!(dropped.field("plugin"), "probe");
}
