//! Tests of leases on a real server: take once, keep, lose, give up.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use bytes::Bytes;
use serde_json::{Value as Json, json};

use super::*;
use mistersmith_core::config::JetstreamSpec;
use mistersmith_core::limits::LEASE_LOOK;
use mistersmith_nats::{Kv, Role, Transport};
use mistersmith_runtime::{Fence, clock};
use mistersmith_testing::{DEADLINE, TestServer};

const KEY: &str = "host.h";

struct Bed {
    _server: TestServer,
    transport: Transport,
}

impl Bed {
    async fn new() -> Self {
        let server = TestServer::start().await;
        let transport = crate::testing::connect(&server).await;
        let spec = JetstreamSpec::default();
        mistersmith_nats::provision::ensure(&transport, &spec)
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

    async fn take(&self, name: &str, place: &str) -> anyhow::Result<Lease> {
        Lease::take(self.connection(), holder(name, place), Arc::default()).await
    }

    async fn kv(&self) -> Kv {
        self.connection().kv(BUCKET).await.unwrap()
    }

    async fn holder(&self) -> Option<String> {
        let entry = self.kv().await.get(KEY).await.unwrap()?;
        let value: Json = serde_json::from_slice(&entry.value).unwrap();
        Some(value["name"].as_str().unwrap().to_owned())
    }
}

fn holder(name: &str, place: &str) -> Holder {
    Holder {
        host: "h".to_owned(),
        name: name.to_owned(),
        place: Some(place.to_owned()),
    }
}

fn fence_of(lease: &Lease) -> Fence {
    Fence::new(lease.term().clone(), "probe-001".parse().unwrap())
}

async fn turned(lease: &mut Lease) -> bool {
    tokio::time::timeout(DEADLINE, lease.turned())
        .await
        .expect("the lease turns")
}

#[tokio::test]
async fn of_two_hosts_with_one_id_the_second_is_refused_while_the_first_lives() {
    let bed = Bed::new().await;
    let first = bed.take("one", "folder").await.unwrap();
    let fence = fence_of(&first);
    let error = bed.take("two", "copy").await.err().unwrap().to_string();
    for part in ["\"one\"", "`h`", "remove the file `host_id`"] {
        assert!(error.contains(part), "{error}");
    }
    assert!(fence.is_open(), "the first one goes on");
    assert_eq!(bed.holder().await.as_deref(), Some("one"));

    // It gives up the lease: now the second host may take it at once.
    first.give_up(DEADLINE).await;
    assert!(!fence.is_open());
    assert_eq!(bed.holder().await, None);
    let _second = bed.take("two", "copy").await.unwrap();
    assert_eq!(bed.holder().await.as_deref(), Some("two"));
}

#[tokio::test]
async fn a_host_that_was_killed_has_its_lease_again_at_once() {
    let bed = Bed::new().await;
    let killed = bed.take("one", "folder").await.unwrap();
    drop(killed);
    let begun = clock();
    let _again = bed.take("one", "folder").await.unwrap();
    assert!(
        clock() - begun < LEASE_LOOK,
        "nobody waits for it to expire"
    );
}

#[tokio::test]
async fn what_a_host_left_behind_on_another_machine_is_waited_for() {
    let bed = Bed::new().await;
    drop(bed.take("one", "folder").await.unwrap());
    let waiting = bed.take("one", "folder-on-another-machine");
    let kv = bed.kv().await;
    let expires = async {
        tokio::time::sleep(LEASE_LOOK * 2).await;
        kv.delete(KEY, None).await.unwrap();
    };
    let (taken, ()) = tokio::join!(waiting, expires);
    let lease = taken.unwrap();
    assert!(!lease.term().left().is_zero());
}

#[tokio::test]
async fn who_finds_the_lease_taken_is_fenced_and_does_not_take_it_back() {
    let bed = Bed::new().await;
    let mut first = bed.take("one", "folder").await.unwrap();
    let fence = fence_of(&first);
    let value = json!({"host_id": "h", "name": "two", "place": "copy"}).to_string();
    let kv = bed.kv().await;
    let revision = kv.put(KEY, Bytes::from(value)).await.unwrap();
    assert!(!turned(&mut first).await);
    assert!(!fence.is_open());
    let entry = kv.get(KEY).await.unwrap().unwrap();
    assert_eq!(entry.revision, revision, "it left the other one alone");

    // The other host leaves: the lease returns, and closed fences stay closed.
    kv.delete(KEY, Some(revision)).await.unwrap();
    assert!(turned(&mut first).await);
    assert_eq!(bed.holder().await.as_deref(), Some("one"));
    assert!(!fence.is_open());
    assert!(fence_of(&first).is_open());
}

#[tokio::test]
async fn a_lease_whose_bucket_was_lost_goes_on_when_the_bucket_is_there_again() {
    let bed = Bed::new().await;
    let alarm = Arc::new(Notify::new());
    let taken = Lease::take(bed.connection(), holder("one", "folder"), alarm.clone()).await;
    let mut lease = taken.unwrap();
    let fence = fence_of(&lease);
    let call = format!("STREAM.DELETE.KV_{BUCKET}");
    let deleted = crate::testing::api(bed.connection(), &call, &Json::Null).await;
    assert_eq!(deleted["success"], true);
    tokio::time::timeout(DEADLINE, alarm.notified())
        .await
        .expect("it is missed");
    let spec = JetstreamSpec::default();
    mistersmith_nats::provision::ensure(&bed.transport, &spec)
        .await
        .unwrap();
    let back = async {
        while bed.holder().await.is_none() {
            tokio::time::sleep(LEASE_LOOK / 10).await;
        }
    };
    tokio::select! {
        () = back => {}
        held = lease.turned() => panic!("the lease turned: {held}"),
        () = tokio::time::sleep(DEADLINE) => panic!("the lease is not written again"),
    }
    assert!(fence.is_open());
}

#[tokio::test]
async fn a_lease_that_was_deleted_in_its_bucket_counts_as_expired() {
    let bed = Bed::new().await;
    let mut lease = bed.take("one", "folder").await.unwrap();
    let fence = fence_of(&lease);
    bed.kv().await.delete(KEY, None).await.unwrap();
    assert!(!turned(&mut lease).await);
    assert!(!fence.is_open(), "another host may have had it meanwhile");
    assert!(turned(&mut lease).await);
}
