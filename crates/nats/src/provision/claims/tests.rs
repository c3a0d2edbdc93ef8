//! Who has which consumer: as a rule, and on a real server.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod lost;

use serde_json::{Value, json};

use super::*;
use crate::testing::{Connect as _, TestServer};
use crate::{Headers, Role, Transport};
use mistersmith_core::config::{JetstreamSpec, TaskFilter};

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

#[test]
fn who_may_join_a_record() {
    let plugin: PluginName = "ours".parse().unwrap();
    let host: HostId = "us".parse().unwrap();
    let living = Living::from(set(&["us", "them"]));
    let record = |plugin: &str, hosts: &[&str]| Record {
        plugin: plugin.into(),
        hosts: set(hosts),
        retiring: false,
    };
    let cases = [
        (None, Ok(Some(record("ours", &["us"])))),
        (Some(record("ours", &["us"])), Ok(None)),
        (
            Some(record("ours", &["them", "dead"])),
            Ok(Some(record("ours", &["them", "us"]))),
        ),
        (
            Some(record("other", &["dead"])),
            Ok(Some(record("ours", &["us"]))),
        ),
        (Some(record("other", &["them"])), Err("other".to_owned())),
        (Some(record("other", &["us"])), Err("other".to_owned())),
    ];
    for (found, expected) in cases {
        assert_eq!(
            join(found.clone(), &plugin, &host, &living),
            expected,
            "{found:?}"
        );
    }
}

struct Bed {
    _server: TestServer,
    transport: Transport,
}

impl Bed {
    async fn new() -> Self {
        let server = TestServer::start().await;
        let transport = server.connect().await;
        crate::provision::ensure(&transport, &JetstreamSpec::default())
            .await
            .unwrap();
        Self {
            _server: server,
            transport,
        }
    }

    fn connection(&self) -> &Connection {
        self.transport.connection(Role::Control)
    }

    /// A host with a lease.
    async fn host(&self, id: &str) -> ConsumerClaims {
        let leases = self.connection().kv("AGENT_LEASES").await.unwrap();
        leases
            .put(&format!("host.{id}"), Bytes::from("{}"))
            .await
            .unwrap();
        ConsumerClaims::new(self.connection().clone(), id.parse().unwrap())
            .await
            .unwrap()
    }

    /// The lease of a host expires.
    async fn dies(&self, id: &str) {
        let leases = self.connection().kv("AGENT_LEASES").await.unwrap();
        leases.delete(&format!("host.{id}"), None).await.unwrap();
    }

    async fn names(&self) -> Vec<String> {
        let all = consumers::all(self.connection()).await.unwrap();
        all.into_iter().map(|consumer| consumer.name).collect()
    }

    async fn work(&self, subject: &str) {
        let timeout = Duration::from_secs(5);
        let stored =
            self.connection()
                .publish_stored(subject, Headers::new(), Bytes::from("x"), timeout);
        stored.await.unwrap();
    }

    async fn take(&self, durable: &str) -> crate::JetStreamMessage {
        let puller = self.connection().puller("WORK_QUEUE", durable);
        let mut pull = puller.pull(1, Duration::from_secs(5)).await.unwrap();
        pull.next().await.unwrap().unwrap()
    }
}

fn plugin(name: &str) -> PluginName {
    name.parse().unwrap()
}

fn work(domain: &str, version: Option<&str>, task: &str) -> [WorkSpec; 1] {
    [WorkSpec {
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
    }]
}

#[tokio::test]
async fn they_are_made_as_asked_and_by_several_hosts_at_once() {
    let bed = Bed::new().await;
    let (a, b) = (bed.host("a").await, bed.host("b").await);
    let (wanted, sentiment) = (work("nlp", None, "*"), plugin("sentiment"));
    let (first, second) = tokio::join!(
        a.claim(&sentiment, &wanted, &[]),
        b.claim(&sentiment, &wanted, &[])
    );
    first.unwrap();
    second.unwrap();
    a.claim(&sentiment, &wanted, &[]).await.unwrap();
    assert_eq!(bed.names().await.len(), 5);
    let call = "CONSUMER.INFO.WORK_QUEUE.workers-nlp_high_all";
    let info: Value = bed.connection().call(call, &Value::Null).await.unwrap();
    let config = &info["config"];
    assert_eq!(
        (&config["ack_wait"], &config["max_deliver"]),
        (&json!(30_000_000_000_u64), &json!(-1))
    );
    assert_eq!(
        (&config["filter_subject"], &config["ack_policy"]),
        (&json!("work.nlp.high.*"), &json!("explicit"))
    );
    let claims = bed.connection().kv("AGENT_CLAIMS").await.unwrap();
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
        bed.take(durable).await.acker.ack_confirmed().await.unwrap();
    }
}

#[tokio::test]
async fn two_plugins_cannot_take_the_same_work() {
    let bed = Bed::new().await;
    let (a, b) = (bed.host("a").await, bed.host("b").await);
    a.claim(&plugin("sentiment"), &work("nlp", None, "sentiment"), &[])
        .await
        .unwrap();
    // The same durable, and one that overlaps.
    for task in ["sentiment", "*"] {
        let error = b
            .claim(&plugin("other"), &work("nlp", None, task), &[])
            .await
            .unwrap_err();
        let text = format!("{error:#}");
        for part in ["`other`", "`sentiment`", "work.nlp.critical."] {
            assert!(text.contains(part), "{text}");
        }
    }
    // Other work is free.
    b.claim(&plugin("more"), &work("nlp", None, "summary"), &[])
        .await
        .unwrap();
    b.claim(
        &plugin("versioned"),
        &work("nlp", Some("v2"), "sentiment"),
        &[],
    )
    .await
    .unwrap();

    // With its host, the claim ends.
    bed.dies("a").await;
    b.claim(&plugin("other"), &work("nlp", None, "sentiment"), &[])
        .await
        .unwrap();
}

#[tokio::test]
async fn a_new_filter_replaces_the_old_one_and_keeps_the_items() {
    let bed = Bed::new().await;
    let a = bed.host("a").await;
    let sentiment = plugin("sentiment");
    a.claim(&sentiment, &work("nlp", None, "sentiment"), &[])
        .await
        .unwrap();
    bed.work("work.nlp.high.sentiment").await;
    a.claim(&sentiment, &work("nlp", None, "*"), &[])
        .await
        .unwrap();
    let names = bed.names().await;
    assert_eq!(names.len(), 5, "{names:?}");
    assert!(names.iter().all(|name| name.ends_with("_all")), "{names:?}");
    bed.take("workers-nlp_high_all").await;

    // Not while another host still uses the old one.
    let b = bed.host("b").await;
    b.claim(&sentiment, &work("nlp", None, "*"), &[])
        .await
        .unwrap();
    a.claim(&sentiment, &work("nlp", None, "sentiment"), &[])
        .await
        .unwrap_err();
    assert_eq!(bed.names().await.len(), 5);
}

#[tokio::test]
async fn a_stranger_s_consumer_is_not_touched() {
    let bed = Bed::new().await;
    let config = json!({ "stream_name": "WORK_QUEUE", "config": {
        "durable_name": "mine", "ack_policy": "explicit", "filter_subject": "work.nlp.>",
    }});
    let call = "CONSUMER.DURABLE.CREATE.WORK_QUEUE.mine";
    bed.connection().call::<Value>(call, &config).await.unwrap();
    let a = bed.host("a").await;
    let error = a
        .claim(&plugin("sentiment"), &work("nlp", None, "*"), &[])
        .await
        .unwrap_err();
    let text = format!("{error:#}");
    assert!(
        text.contains("`mine`") && text.contains("not ours"),
        "{text}"
    );
    a.sweep(true).await.unwrap();
    assert_eq!(bed.names().await, ["mine"]);
}

#[tokio::test]
async fn what_nobody_uses_is_retired_once_it_is_drained() {
    let bed = Bed::new().await;
    let (a, b) = (bed.host("a").await, bed.host("b").await);
    let (wanted, sentiment) = (work("nlp", None, "*"), plugin("sentiment"));
    a.claim(&sentiment, &wanted, &[]).await.unwrap();
    b.claim(&sentiment, &wanted, &[]).await.unwrap();
    bed.work("work.nlp.low.x").await;
    a.sweep(true).await.unwrap();
    a.release(&sentiment).await.unwrap();
    assert_eq!(bed.names().await.len(), 5, "b uses them");
    bed.dies("b").await;
    a.sweep(true).await.unwrap();
    assert_eq!(bed.names().await, ["workers-nlp_low_all"]);
    let delivered = bed.take("workers-nlp_low_all").await;
    a.sweep(true).await.unwrap();
    assert_eq!(bed.names().await.len(), 1, "an item is still open");
    delivered.acker.ack_confirmed().await.unwrap();
    a.sweep(true).await.unwrap();
    assert_eq!(bed.names().await, Vec::<String>::new());
    let claims = bed.connection().kv("AGENT_CLAIMS").await.unwrap();
    assert_eq!(claims.keys("durable.*", 10).await, Ok(vec![]));
}

#[tokio::test]
async fn a_host_that_comes_back_with_other_plugins_forgets_the_old_ones() {
    let bed = Bed::new().await;
    bed.host("a")
        .await
        .claim(&plugin("old"), &work("nlp", None, "*"), &[])
        .await
        .unwrap();
    let a = bed.host("a").await;
    a.claim(&plugin("new"), &work("nlp", None, "*"), &[])
        .await
        .unwrap();
    assert_eq!(bed.names().await.len(), 5);
}

#[tokio::test]
async fn a_consumer_that_is_being_deleted_is_waited_for() {
    let bed = Bed::new().await;
    let a = bed.host("a").await;
    let (wanted, sentiment) = (work("nlp", None, "x"), plugin("sentiment"));
    a.claim(&sentiment, &wanted, &[]).await.unwrap();
    a.release(&sentiment).await.unwrap();
    // Half way through retiring a consumer, on another host.
    let kept = consumers::of(&wanted[0]).remove(0);
    consumers::ensure(bed.connection(), &kept, None)
        .await
        .unwrap();
    let mark = Record {
        plugin: "sentiment".into(),
        hosts: set(&[]),
        retiring: true,
    };
    let claims = bed.connection().kv("AGENT_CLAIMS").await.unwrap();
    let revision = claims.put(&key(&kept.durable), mark.json()).await.unwrap();
    let finishing = async {
        tokio::time::sleep(Duration::from_millis(400)).await;
        consumers::delete(bed.connection(), &kept.durable)
            .await
            .unwrap();
        claims
            .delete(&key(&kept.durable), Some(revision))
            .await
            .unwrap();
    };
    let (claimed, ()) = tokio::join!(a.claim(&sentiment, &wanted, &[]), finishing);
    claimed.unwrap();
    assert!(bed.names().await.contains(&kept.durable));
}

fn stage(stage: &str) -> [StageSpec; 1] {
    [StageSpec {
        stage: stage.parse().unwrap(),
        next: Vec::new(),
        join: None,
        max_deliver: 5,
        backoff: vec![Duration::from_secs(1)],
        schema: None,
    }]
}

#[tokio::test]
async fn a_stage_belongs_to_one_plugin_and_its_consumer_stays() {
    let bed = Bed::new().await;
    let (one, two) = (bed.host("one").await, bed.host("two").await);
    let (a, b) = (plugin("a"), plugin("b"));
    one.claim(&a, &[], &stage("extract")).await.unwrap();
    let refused = two.claim(&b, &[], &stage("extract")).await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        "plugins `b` and `a` both do the stage of `pipeline.*.*.extract`: each stage is done by one \
         plugin; take it out of one of them"
    );
    two.claim(&a, &[], &stage("extract")).await.unwrap();
    // Neither a reload without the stage, nor the end of the plugin, nor upkeep takes it away.
    one.claim(&a, &[], &stage("other")).await.unwrap();
    two.release(&a).await.unwrap();
    one.release(&a).await.unwrap();
    one.sweep(true).await.unwrap();
    for durable in ["pipeline-extract", "pipeline-other"] {
        let state = consumers::state(bed.connection(), durable).await.unwrap();
        assert!(state.is_some(), "{durable}");
    }
    // What nobody does any longer another plugin may do.
    two.claim(&b, &[], &stage("extract")).await.unwrap();
}
