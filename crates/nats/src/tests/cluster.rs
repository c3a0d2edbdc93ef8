//! Three servers, and one of them goes.

use std::time::Instant;

use bytes::Bytes;
use serde_json::{Value, json};

use super::{bucket, payload, stream};
use crate::testing::{Cluster, Connect as _, DEADLINE, until};
use crate::{Connection, Headers, Kv, Role, Transport, TransportError};

pub(super) async fn leader(connection: &Connection, stream: &str) -> String {
    let info: Value = connection
        .call(&format!("STREAM.INFO.{stream}"), &json!(null))
        .await
        .unwrap();
    info["cluster"]["leader"].as_str().unwrap().to_owned()
}

/// Adds one to a counter; returns how often it is not known whether that happened.
async fn count(kv: &Kv) -> u64 {
    let mut unknown = 0;
    loop {
        let read = kv.get("n").await;
        let asked = read.is_ok();
        let written = match read {
            Ok(entry) => {
                let entry = entry.unwrap();
                let n: u64 = std::str::from_utf8(&entry.value).unwrap().parse().unwrap();
                kv.update("n", Bytes::from((n + 1).to_string()), entry.revision)
                    .await
            }
            Err(error) => Err(error),
        };
        match written {
            Ok(_) => return unknown,
            // Somebody else was quicker.
            Err(TransportError::Conflict) => {}
            Err(TransportError::Unavailable(_) | TransportError::Timeout) if asked => unknown += 1,
            Err(TransportError::Unavailable(_) | TransportError::Timeout) => {}
            Err(error) => panic!("{error:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_doubled_when_a_leader_is_killed() {
    let mut cluster = Cluster::start(3).await;
    let transport = Transport::connect(cluster.spec()).await.unwrap();
    let connection = transport.connection(Role::Work).clone();
    stream(
        &connection,
        json!({ "name": "S", "subjects": ["s.>"], "num_replicas": 3 }),
    )
    .await;
    bucket(&connection, "B", json!({ "num_replicas": 3 })).await;
    let kv = connection.kv("B").await.unwrap();
    kv.create("n", payload("0")).await.unwrap();

    let storing = {
        let connection = connection.clone();
        tokio::spawn(async move {
            for n in 0..300 {
                let id = format!("id-{n}");
                // As the host does: what is not stored in time is done again, under the same id.
                while let Err(error) = connection
                    .store("s.a", &id, Headers::new(), payload("x"))
                    .await
                {
                    assert!(error.is_transient(), "{error:?}");
                }
            }
        })
    };
    let counting = (0..2).map(|_| {
        let kv = kv.clone();
        tokio::spawn(async move {
            let mut unknown = 0;
            for _ in 0..40 {
                unknown += count(&kv).await;
            }
            unknown
        })
    });
    let counting: Vec<_> = counting.collect();
    let victim = leader(&connection, "S").await;
    cluster.stop_one(&victim);
    storing.await.unwrap();
    let mut unknown = 0;
    for counter in counting {
        unknown += counter.await.unwrap();
    }
    until("the connection is up", || connection.is_connected()).await;
    let info: Value = connection
        .call("STREAM.INFO.S", &json!(null))
        .await
        .unwrap();
    assert_eq!(info["state"]["messages"], 300);
    assert_ne!(leader(&connection, "S").await, victim);

    let start = Instant::now();
    let counted = loop {
        match kv.get("n").await {
            Ok(entry) => break entry.unwrap().value,
            Err(error) => assert!(
                error.is_transient() && start.elapsed() < DEADLINE,
                "{error:?}"
            ),
        }
    };
    let counted: u64 = std::str::from_utf8(&counted).unwrap().parse().unwrap();
    assert!(
        (80..=80 + unknown).contains(&counted),
        "{counted} and {unknown} unknown"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_never_was_is_not_there_to_be_deleted() {
    let cluster = Cluster::start(3).await;
    let transport = Transport::connect(cluster.spec()).await.unwrap();
    let connection = transport.connection(Role::Control);
    let config = json!({ "name": "S", "subjects": ["s.>"], "num_replicas": 3 });
    stream(connection, config).await;
    let stored = connection
        .store("s.a", "id", Headers::new(), payload("x"))
        .await;
    let view = connection.stream("S").unwrap();
    let sequence = stored.unwrap().sequence;
    for (sequence, was_there) in [(sequence + 99, false), (sequence, true), (sequence, false)] {
        assert_eq!(view.delete(sequence).await, Ok(was_there), "{sequence}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_conditional_writes_at_once_one_succeeds() {
    let cluster = Cluster::start(3).await;
    let transport = Transport::connect(cluster.spec()).await.unwrap();
    let connection = transport.connection(Role::Work).clone();
    bucket(&connection, "B", json!({ "num_replicas": 3 })).await;
    let kv = connection.kv("B").await.unwrap();
    let mut revision = 0;
    for _ in 0..5 {
        let writing = (0..10).map(|_| kv.update("k", payload("mine"), revision));
        let results = futures_util::future::join_all(writing).await;
        let won: Vec<u64> = results
            .iter()
            .filter_map(|result| result.clone().ok())
            .collect();
        assert_eq!(won.len(), 1, "{results:?}");
        let lost = results
            .iter()
            .filter(|result| **result == Err(TransportError::Conflict))
            .count();
        assert_eq!(lost, 9, "{results:?}");
        revision = won[0];
    }
}
