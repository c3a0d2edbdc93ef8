//! Consumers of work on a real server.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};

use super::{ConsumerError, Consumers, WorkConsumer};
use crate::config::{JetstreamSpec, TaskFilter, WorkSpec};
use crate::names::{PluginName, Priority};
use crate::provision::assets::desired_with;
use crate::provision::{ServerFacts, apply, plan, read};
use crate::transport::testing::TestServer;
use crate::transport::{Headers, Link, Role, Transport};

struct Bed {
    _server: TestServer,
    transport: Transport,
}

impl Bed {
    async fn new() -> Self {
        let server = TestServer::start().await;
        let transport = server.connect().await;
        let facts = ServerFacts::read(&transport).await.unwrap();
        let assets = desired_with(&JetstreamSpec::default(), &BTreeSet::new(), &facts);
        let link = transport.link(Role::Control);
        let current = read(link, &assets).await.unwrap();
        apply(link, &plan(assets, &current, &facts), false)
            .await
            .unwrap();
        Self {
            _server: server,
            transport,
        }
    }

    fn link(&self) -> &Link {
        self.transport.link(Role::Control)
    }

    /// A host with a lease.
    async fn host(&self, id: &str) -> Consumers {
        let leases = self.link().kv("AGENT_LEASES").await.unwrap();
        leases
            .put(&format!("host.{id}"), Bytes::from("{}"))
            .await
            .unwrap();
        Consumers::new(self.link().clone(), id.parse().unwrap())
    }

    /// The lease of a host expires.
    async fn dies(&self, id: &str) {
        let leases = self.link().kv("AGENT_LEASES").await.unwrap();
        leases.delete(&format!("host.{id}"), None).await.unwrap();
    }

    async fn names(&self) -> Vec<String> {
        let list: Value = self
            .link()
            .call("CONSUMER.NAMES.WORK_QUEUE", &json!(null))
            .await
            .unwrap();
        let names = list["consumers"].as_array().cloned().unwrap_or_default();
        names
            .iter()
            .map(|name| name.as_str().unwrap().to_owned())
            .collect()
    }

    async fn work(&self, subject: &str) {
        let stored = self.link().publish_stored(
            subject,
            Headers::new(),
            Bytes::from("x"),
            Duration::from_secs(5),
        );
        stored.await.unwrap();
    }

    async fn stored(&self) -> u64 {
        let info: Value = self
            .link()
            .call("STREAM.INFO.WORK_QUEUE", &json!(null))
            .await
            .unwrap();
        info["state"]["messages"].as_u64().unwrap()
    }
}

fn plugin(name: &str) -> PluginName {
    name.parse().unwrap()
}

fn work(domain: &str, version: Option<&str>, task: &str) -> Vec<WorkConsumer> {
    WorkConsumer::of(&WorkSpec {
        domain: domain.parse().unwrap(),
        version: version.map(|version| version.parse().unwrap()),
        task: if task == "*" {
            TaskFilter::All
        } else {
            TaskFilter::One(task.parse().unwrap())
        },
        max_deliver: 5,
        backoff: vec![Duration::from_secs(1)],
        schema: None,
    })
}

#[test]
fn each_priority_and_the_short_form_have_a_consumer() {
    let shown = |consumers: Vec<WorkConsumer>| -> Vec<String> {
        consumers
            .iter()
            .map(|c| format!("{} {} {}", c.durable, c.filter, c.priority))
            .collect()
    };
    assert_eq!(
        shown(work("nlp", None, "sentiment")),
        [
            "workers-nlp_critical_sentiment work.nlp.critical.sentiment critical",
            "workers-nlp_high_sentiment work.nlp.high.sentiment high",
            "workers-nlp_normal_sentiment work.nlp.normal.sentiment normal",
            "workers-nlp_low_sentiment work.nlp.low.sentiment low",
            "workers-nlp_short_sentiment work.nlp.sentiment normal",
        ]
    );
    let versioned = work("nlp", Some("v2"), "*");
    assert_eq!(versioned[0].durable, "workers-nlp-v2_critical_all");
    assert_eq!(versioned[4].filter, "work.v2.nlp.*");
    assert_eq!(versioned[2].priority, Priority::Normal);
}

#[tokio::test]
async fn they_are_made_as_asked_and_by_several_hosts_at_once() {
    let bed = Bed::new().await;
    let (a, b) = (bed.host("a").await, bed.host("b").await);
    let (wanted, sentiment) = (work("nlp", None, "*"), plugin("sentiment"));
    let (first, second) =
        tokio::join!(a.ensure(&sentiment, &wanted), b.ensure(&sentiment, &wanted));
    assert_eq!((first, second), (Ok(()), Ok(())));
    a.ensure(&sentiment, &wanted).await.unwrap();
    assert_eq!(bed.names().await.len(), 5);
    let info: Value = bed
        .link()
        .call(
            "CONSUMER.INFO.WORK_QUEUE.workers-nlp_high_all",
            &json!(null),
        )
        .await
        .unwrap();
    let config = &info["config"];
    assert_eq!(
        (&config["ack_wait"], &config["max_deliver"]),
        (&json!(30_000_000_000_u64), &json!(-1))
    );
    assert_eq!(
        (&config["filter_subject"], &config["ack_policy"]),
        (&json!("work.nlp.high.*"), &json!("explicit"))
    );
    let claims = bed.link().kv("AGENT_CLAIMS").await.unwrap();
    let record = claims
        .get("durable.workers-nlp_high_all")
        .await
        .unwrap()
        .unwrap();
    let record: Value = serde_json::from_slice(&record.value).unwrap();
    assert_eq!(
        record,
        json!({ "plugin": "sentiment", "hosts": ["a", "b"] })
    );

    // Every form of subject has its consumer.
    bed.work("work.nlp.high.x").await;
    bed.work("work.nlp.x").await;
    for durable in ["workers-nlp_high_all", "workers-nlp_short_all"] {
        let mut pull = bed
            .link()
            .puller("WORK_QUEUE", durable)
            .pull(1, Duration::from_secs(5))
            .await
            .unwrap();
        pull.next()
            .await
            .unwrap()
            .unwrap()
            .fate
            .ack_confirmed()
            .await
            .unwrap();
    }
    assert_eq!(bed.stored().await, 0);
}

#[tokio::test]
async fn two_plugins_cannot_take_the_same_work() {
    let bed = Bed::new().await;
    let (a, b) = (bed.host("a").await, bed.host("b").await);
    a.ensure(&plugin("sentiment"), &work("nlp", None, "sentiment"))
        .await
        .unwrap();
    // The same durable, and one that overlaps.
    for task in ["sentiment", "*"] {
        let Err(ConsumerError::Taken(text)) =
            b.ensure(&plugin("other"), &work("nlp", None, task)).await
        else {
            panic!("{task}");
        };
        for part in ["`other`", "`sentiment`", "work.nlp.critical.", "host `a`"] {
            assert!(text.contains(part), "{text}");
        }
    }
    // Other work is free.
    b.ensure(&plugin("other"), &work("nlp", None, "summary"))
        .await
        .unwrap();
    b.ensure(&plugin("other"), &work("nlp", Some("v2"), "sentiment"))
        .await
        .unwrap();

    // With its host, the claim ends.
    bed.dies("a").await;
    b.ensure(&plugin("other"), &work("nlp", None, "sentiment"))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_new_filter_replaces_the_old_one_and_keeps_the_items() {
    let bed = Bed::new().await;
    let a = bed.host("a").await;
    let sentiment = plugin("sentiment");
    a.ensure(&sentiment, &work("nlp", None, "sentiment"))
        .await
        .unwrap();
    bed.work("work.nlp.high.sentiment").await;
    a.ensure(&sentiment, &work("nlp", None, "*")).await.unwrap();
    let names = bed.names().await;
    assert_eq!(names.len(), 5, "{names:?}");
    assert!(names.iter().all(|name| name.ends_with("_all")), "{names:?}");
    let mut pull = bed
        .link()
        .puller("WORK_QUEUE", "workers-nlp_high_all")
        .pull(1, Duration::from_secs(5))
        .await
        .unwrap();
    assert!(pull.next().await.unwrap().is_ok());

    // Not while another host still uses the old one.
    let b = bed.host("b").await;
    b.ensure(&sentiment, &work("nlp", None, "*")).await.unwrap();
    let taken = a.ensure(&sentiment, &work("nlp", None, "sentiment")).await;
    assert!(matches!(taken, Err(ConsumerError::Taken(_))), "{taken:?}");
    assert_eq!(bed.names().await.len(), 5);
}

#[tokio::test]
async fn a_stranger_s_consumer_is_not_touched() {
    let bed = Bed::new().await;
    let config = json!({ "stream_name": "WORK_QUEUE", "config": {
        "durable_name": "mine", "ack_policy": "explicit", "filter_subject": "work.nlp.>",
    }});
    bed.link()
        .call::<Value>("CONSUMER.DURABLE.CREATE.WORK_QUEUE.mine", &config)
        .await
        .unwrap();
    let a = bed.host("a").await;
    let Err(ConsumerError::Taken(text)) = a
        .ensure(&plugin("sentiment"), &work("nlp", None, "*"))
        .await
    else {
        panic!();
    };
    assert!(
        text.contains("`mine`") && text.contains("no MisterSmith host"),
        "{text}"
    );
    assert_eq!(a.retire(&[]).await, Ok(vec![]));
    assert_eq!(bed.names().await, ["mine"]);
}

#[tokio::test]
async fn what_nobody_uses_is_retired_once_it_is_drained() {
    let bed = Bed::new().await;
    let (a, b) = (bed.host("a").await, bed.host("b").await);
    let (wanted, sentiment) = (work("nlp", None, "*"), plugin("sentiment"));
    a.ensure(&sentiment, &wanted).await.unwrap();
    b.ensure(&sentiment, &wanted).await.unwrap();
    bed.work("work.nlp.low.x").await;
    let durables: Vec<String> = wanted
        .iter()
        .map(|consumer| consumer.durable.clone())
        .collect();
    assert_eq!(a.retire(&wanted).await, Ok(vec![]));
    a.release(&durables).await.unwrap();
    // b uses them.
    assert_eq!(a.retire(&[]).await, Ok(vec![]));
    bed.dies("b").await;
    let retired = a.retire(&[]).await.unwrap();
    assert_eq!(retired.len(), 4, "{retired:?}");
    assert_eq!(bed.names().await, ["workers-nlp_low_all"]);
    let mut pull = bed
        .link()
        .puller("WORK_QUEUE", "workers-nlp_low_all")
        .pull(1, Duration::from_secs(5))
        .await
        .unwrap();
    let delivered = pull.next().await.unwrap().unwrap();
    assert_eq!(a.retire(&[]).await, Ok(vec![]), "an item is still open");
    delivered.fate.ack_confirmed().await.unwrap();
    assert_eq!(a.retire(&[]).await.unwrap().len(), 1);
    let claims = bed.link().kv("AGENT_CLAIMS").await.unwrap();
    assert_eq!(claims.keys("durable.*", 10).await, Ok(vec![]));
}

#[tokio::test]
async fn a_host_that_comes_back_with_other_plugins_forgets_the_old_ones() {
    let bed = Bed::new().await;
    let a = bed.host("a").await;
    a.ensure(&plugin("old"), &work("nlp", None, "*"))
        .await
        .unwrap();
    a.forget().await.unwrap();
    a.ensure(&plugin("new"), &work("nlp", None, "*"))
        .await
        .unwrap();
    assert_eq!(bed.names().await.len(), 5);
}
