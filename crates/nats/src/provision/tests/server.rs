//! One real server.

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};

use super::super::{Action, ProvisionError, apply};
use super::{Bed, action};
use crate::testing::Connect as _;
use crate::{Headers, Role, TransportError};
use mistersmith_core::config::{JetstreamSpec, StreamOverride};

const STREAMS: [&str; 6] = [
    "AGENT_LIFECYCLE",
    "WORK_QUEUE",
    "COORDINATION",
    "RESULTS",
    "DLQ",
    "AUDIT",
];

#[tokio::test]
async fn everything_is_made_and_a_second_time_nothing_is() {
    let bed = Bed::new().await;
    let spec = JetstreamSpec::default();
    let plan = bed.plan(&spec).await;
    assert!(
        plan.changes
            .iter()
            .all(|change| change.action == Action::Create)
    );
    let applied = apply(bed.connection(), &plan, false).await.unwrap();
    assert_eq!(applied.done.len(), 15);
    assert_eq!(applied.warnings, Vec::<String>::new());
    for name in STREAMS {
        let config = &bed.stream(name).await["config"];
        assert_eq!(
            (&config["storage"], &config["num_replicas"]),
            (&json!("file"), &json!(1)),
            "{name}"
        );
    }
    let work = &bed.stream("WORK_QUEUE").await["config"];
    assert_eq!(work["retention"], "workqueue");
    assert_eq!(
        (&work["discard"], &work["discard_new_per_subject"]),
        (&json!("new"), &json!(true))
    );
    assert_eq!(
        bed.stream("DLQ").await["config"]["duplicate_window"],
        86_400_000_000_000_u64
    );
    assert_eq!(
        bed.stream("KV_AGENT_LEASES").await["config"]["max_age"],
        15_000_000_000_u64
    );

    let again = bed.plan(&spec).await;
    assert!(again.is_same(), "{again}");
    assert_eq!(
        apply(bed.connection(), &again, false).await.unwrap(),
        super::Applied::default()
    );

    // They are buckets, and survive a restart.
    let kv = bed.connection().kv("AGENT_STATE").await.unwrap();
    kv.create("agent.echo-001", Bytes::from("{}"))
        .await
        .unwrap();
    let mut bed = bed;
    bed.server.stop();
    bed.server.start_again().await;
    let bed = Bed {
        transport: bed.server.connect().await,
        server: bed.server,
    };
    assert!(bed.plan(&spec).await.is_same());
    assert!(
        bed.connection()
            .kv("AGENT_STATE")
            .await
            .unwrap()
            .get("agent.echo-001")
            .await
            .unwrap()
            .is_some()
    );
}

#[tokio::test]
async fn several_hosts_at_once_do_not_quarrel() {
    let bed = Bed::new().await;
    let plans = futures_util::future::join_all((0..4).map(|_| async {
        let transport = bed.server.connect().await;
        let plan = bed.plan(&JetstreamSpec::default()).await;
        (transport, plan)
    }))
    .await;
    let applying = plans
        .iter()
        .map(|(transport, plan)| apply(transport.connection(Role::Control), plan, false));
    for applied in futures_util::future::join_all(applying).await {
        assert_eq!(applied.unwrap().warnings, Vec::<String>::new());
    }
    assert!(bed.plan(&JetstreamSpec::default()).await.is_same());
}

#[tokio::test]
async fn what_is_too_narrow_is_widened_and_nothing_is_lost() {
    let bed = Bed::new().await;
    bed.call(
        "STREAM.CREATE.DLQ",
        json!({ "name": "DLQ", "subjects": ["dlq.a"], "max_age": 60_000_000_000_u64 }),
    )
    .await;
    let put = |subject: &'static str| {
        bed.connection().publish_stored(
            subject,
            Headers::new(),
            Bytes::from("x"),
            Duration::from_secs(5),
        )
    };
    put("dlq.a").await.unwrap();
    let plan = bed.plan(&JetstreamSpec::default()).await;
    assert_eq!(action(&plan, "DLQ"), &Action::Update);
    let applied = apply(bed.connection(), &plan, false).await.unwrap();
    assert_eq!(applied.warnings, Vec::<String>::new());
    let stream = bed.stream("DLQ").await;
    assert_eq!(stream["state"]["messages"], 1);
    // Two subjects that overlap would be refused, so the old one makes way for the wider one.
    assert!(
        stream["config"]["subjects"]
            .as_array()
            .unwrap()
            .contains(&json!("dlq.>")),
        "{stream}"
    );
    put("dlq.b").await.unwrap();
}

#[tokio::test]
async fn what_is_wider_is_reported_and_narrowed_by_force_only() {
    let bed = Bed::new().await;
    bed.provision(&JetstreamSpec::default()).await;
    let mut config = bed.stream("AUDIT").await["config"].clone();
    config["max_age"] = json!(0);
    bed.call("STREAM.UPDATE.AUDIT", config).await;
    let plan = bed.plan(&JetstreamSpec::default()).await;
    assert_eq!(action(&plan, "AUDIT"), &Action::Drift);
    let applied = apply(bed.connection(), &plan, false).await.unwrap();
    assert_eq!(applied.done, Vec::<String>::new());
    assert!(applied.warnings[0].contains("drift") && applied.warnings[0].contains("AUDIT"));
    assert_eq!(bed.stream("AUDIT").await["config"]["max_age"], 0);
    apply(bed.connection(), &plan, true).await.unwrap();
    assert!(bed.plan(&JetstreamSpec::default()).await.is_same());
}

#[tokio::test]
async fn what_cannot_be_changed_is_refused_as_a_whole_and_made_anew_by_force() {
    let bed = Bed::new().await;
    let wrong = json!({ "name": "WORK_QUEUE", "subjects": ["work.>"], "retention": "limits" });
    bed.call("STREAM.CREATE.WORK_QUEUE", wrong).await;
    let put = bed.connection().publish_stored(
        "work.a.b",
        Headers::new(),
        Bytes::from("x"),
        Duration::from_secs(5),
    );
    put.await.unwrap();
    let plan = bed.plan(&JetstreamSpec::default()).await;
    assert_eq!(
        action(&plan, "WORK_QUEUE"),
        &Action::Refused { messages: 1 }
    );
    let error = apply(bed.connection(), &plan, false).await.unwrap_err();
    assert!(
        matches!(&error, ProvisionError::Refused(lines) if lines.len() == 1),
        "{error}"
    );
    let missing = bed
        .connection()
        .call::<Value>("STREAM.INFO.DLQ", &json!(null))
        .await;
    assert!(
        missing.is_err(),
        "something was made although the whole was refused"
    );
    assert_eq!(bed.stream("WORK_QUEUE").await["state"]["messages"], 1);
    apply(bed.connection(), &plan, true).await.unwrap();
    assert!(bed.plan(&JetstreamSpec::default()).await.is_same());
}

#[tokio::test]
async fn a_stream_in_the_way_is_named() {
    let bed = Bed::new().await;
    bed.call(
        "STREAM.CREATE.MINE",
        json!({ "name": "MINE", "subjects": ["work.nlp.*"] }),
    )
    .await;
    let plan = bed.plan(&JetstreamSpec::default()).await;
    assert_eq!(
        action(&plan, "WORK_QUEUE"),
        &Action::InTheWay {
            streams: vec!["MINE".into()]
        }
    );
    for force in [false, true] {
        let error = apply(bed.connection(), &plan, force)
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains("captured by stream `MINE`"), "{error}");
    }
}

#[tokio::test]
async fn replicas_are_never_touched_on_a_single_server() {
    let bed = Bed::new().await;
    let spec = JetstreamSpec {
        replicas: Some(3),
        ..JetstreamSpec::default()
    };
    bed.provision(&JetstreamSpec::default()).await;
    let plan = bed.plan(&spec).await;
    assert!(plan.is_same(), "{plan}");
    assert!(
        plan.notes.iter().any(|note| note.contains("single server")),
        "{plan}"
    );
    apply(bed.connection(), &plan, true).await.unwrap();
    assert_eq!(bed.stream("WORK_QUEUE").await["config"]["num_replicas"], 1);
}

#[tokio::test]
async fn a_small_disk_gets_smaller_reservations_and_that_is_said() {
    let bed = Bed::with("jetstream { store_dir: \"{dir}\", max_file_store: 1GB }").await;
    let applied = bed.provision(&JetstreamSpec::default()).await;
    let said: Vec<&String> = applied
        .done
        .iter()
        .filter(|line| line.contains("to reserve"))
        .collect();
    assert_eq!(said.len(), 2, "{applied}");
    let reserved = |stream: Value| stream["config"]["max_bytes"].as_i64().unwrap();
    let sum =
        reserved(bed.stream("AGENT_LIFECYCLE").await) + reserved(bed.stream("COORDINATION").await);
    assert!((100_000_000..1_100_000_000).contains(&sum), "{sum}");
    let again = bed.plan(&JetstreamSpec::default()).await;
    assert!(again.is_same(), "{again}");

    // A limit that somebody has asked for is not reduced in silence.
    let mut spec = JetstreamSpec::default();
    let asked = StreamOverride {
        max_bytes: Some(5_000_000_000),
        ..StreamOverride::default()
    };
    spec.streams.insert("COORDINATION".into(), asked);
    let error = apply(bed.connection(), &bed.plan(&spec).await, false)
        .await
        .unwrap_err();
    let ProvisionError::Failed { asset, source } = &error else {
        panic!("{error}")
    };
    assert_eq!(asset, "stream `COORDINATION`");
    assert!(matches!(source, TransportError::Full(_)), "{source:?}");
}

#[tokio::test]
async fn two_hosts_that_begin_on_a_small_disk_agree() {
    // After 1.25 GB for one and 97,656,250 bytes for the other nothing is left.
    let bed = Bed::with("jetstream { store_dir: \"{dir}\", max_file_store: 1352656250 }").await;
    let spec = JetstreamSpec::default();
    let (first, second) = (bed.plan(&spec).await, bed.plan(&spec).await);
    apply(bed.connection(), &first, false).await.unwrap();
    let reserved = bed.stream("COORDINATION").await["config"]["max_bytes"].clone();
    // It has the streams before it knows, and there is no room left for its own.
    apply(bed.connection(), &second, false).await.unwrap();
    let stream = bed.stream("COORDINATION").await;
    assert_eq!(stream["config"]["max_bytes"], reserved);
}

#[tokio::test]
async fn the_limits_of_an_account_are_known_in_advance() {
    let bed = Bed::with(
        "jetstream { store_dir: \"{dir}\" }\n\
         accounts { A { jetstream { max_file: 1GB, max_memory: 0 }, users: [ { user: a, password: a } ] } }\n\
         no_auth_user: a",
    )
    .await;
    let (_, facts) = bed.wanted(&JetstreamSpec::default()).await;
    assert_eq!(facts.storage.unwrap().most, 1024 * 1024 * 1024);
    let applied = bed.provision(&JetstreamSpec::default()).await;
    assert!(
        applied.done.iter().all(|line| !line.contains("to reserve")),
        "{applied}"
    );
    let again = bed.plan(&JetstreamSpec::default()).await;
    assert!(again.is_same(), "{again}");
}

#[tokio::test]
async fn without_jetstream_it_says_so() {
    let bed = Bed::with("# no jetstream").await;
    let facts = super::ServerFacts::read(&bed.transport).await;
    assert!(
        matches!(facts, Err(TransportError::Unavailable(_))),
        "{facts:?}"
    );
}

/// Less of everything than the host asks for.
const LIMITED: &str = "jetstream { store_dir: \"{dir}\", limits { duplicate_window: \"30s\", max_ack_pending: 100, \
     max_request_batch: 10 } }";

#[tokio::test]
async fn a_server_that_allows_less_is_used_and_the_weaker_promise_is_said() {
    let bed = Bed::with(LIMITED).await;
    let spec = JetstreamSpec::default();
    for start in 0..2 {
        let applied = bed.provision(&spec).await;
        let done = if start == 0 { 15 } else { 0 };
        assert_eq!(applied.done.len(), done, "{applied}");
        let warned = |asset: &str| {
            let of_asset = |line: &&String| line.contains(asset);
            applied.warnings.iter().filter(of_asset).count()
        };
        assert_eq!(
            (warned("`DLQ`"), warned("`AGENT_LEASES`")),
            (1, 0),
            "{applied}"
        );
        assert!(
            applied
                .warnings
                .iter()
                .all(|line| line.contains("for 30s only")),
            "{applied}"
        );
    }
    for (stream, window) in [("DLQ", 30), ("WORK_QUEUE", 30), ("KV_AGENT_LEASES", 15)] {
        let config = &bed.stream(stream).await["config"];
        assert_eq!(
            config["duplicate_window"],
            window * 1_000_000_000_u64,
            "{stream}"
        );
    }
}

#[tokio::test]
async fn consumers_are_made_with_the_deliveries_that_the_server_allows() {
    let bed = Bed::with(LIMITED).await;
    bed.provision(&JetstreamSpec::default()).await;
    let claims =
        super::super::ConsumerClaims::new(bed.connection().clone(), "host-a".parse().unwrap());
    let claims = claims.await.unwrap();
    let work = mistersmith_core::config::WorkSpec {
        domain: "nlp".parse().unwrap(),
        version: None,
        task: mistersmith_core::config::TaskFilter::All,
        max_deliver: 5,
        backoff: Vec::new(),
        schema: None,
    };
    let plugin = "sentiment".parse().unwrap();
    for _ in 0..2 {
        claims
            .claim(&plugin, std::slice::from_ref(&work), &[])
            .await
            .unwrap();
        let call = "CONSUMER.INFO.WORK_QUEUE.workers-nlp_high_all";
        let made = bed.call(call, json!(null)).await;
        assert_eq!(made["config"]["max_ack_pending"], 100);
    }
    // One that somebody has changed is made as it must be, within the same limit.
    let call = "CONSUMER.DURABLE.CREATE.WORK_QUEUE.workers-nlp_high_all";
    let config = json!({ "durable_name": "workers-nlp_high_all", "ack_policy": "explicit",
        "filter_subject": "work.nlp.high.*", "max_ack_pending": 7, "ack_wait": 1_000_000_000 });
    bed.call(
        call,
        json!({ "stream_name": "WORK_QUEUE", "config": config }),
    )
    .await;
    claims.claim(&plugin, &[work], &[]).await.unwrap();
    let made = bed
        .call("CONSUMER.INFO.WORK_QUEUE.workers-nlp_high_all", json!(null))
        .await;
    assert_eq!(made["config"]["max_ack_pending"], 100);
}
