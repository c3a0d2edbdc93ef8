//! Pulls against a server that answers as a script says: statuses before, between and after the
//! messages, late ones, and unknown ones.

use std::time::Duration;

use super::SECOND;
use super::fake_server::FakeServer;
use crate::testing::by;
use crate::{Puller, Role, Transport};

async fn scripted() -> (FakeServer, Transport, Puller) {
    let (server, transport) = FakeServer::start().await;
    let puller = transport.connection(Role::Work).puller("W", "c");
    (server, transport, puller)
}

/// Pulls while the script runs; returns the sequences that came, and the error that ended it.
async fn pulled(puller: &Puller, max: usize, expires: Duration) -> (Vec<u64>, Option<String>) {
    let mut pull = puller.pull(max, expires).await.unwrap();
    let mut came = Vec::new();
    loop {
        match by("the pull", pull.next()).await {
            Some(Ok(delivered)) => came.push(delivered.info.stream_sequence),
            Some(Err(error)) => return (came, Some(error.to_string())),
            None => return (came, None),
        }
    }
}

#[tokio::test]
async fn messages_that_come_after_the_status_belong_to_the_pull() {
    let (server, _transport, puller) = scripted().await;
    let script = async {
        let (to, asked) = server.pull().await;
        assert_eq!(asked["batch"], 2);
        to.status("409 Batch Completed", Some(0)).await;
        to.message(1).await;
        to.message(2).await;
        // Three of five were sent.
        let (to, _) = server.pull().await;
        to.message(3).await;
        to.status("408 Request Timeout", Some(2)).await;
        to.message(4).await;
        to.message(5).await;
        // Nothing was there.
        let (to, _) = server.pull().await;
        to.status("404 No Messages", None).await;
    };
    let pulls = async {
        let first = pulled(&puller, 2, Duration::ZERO).await;
        assert_eq!(first, (vec![1, 2], None));
        let second = pulled(&puller, 5, 20 * SECOND).await;
        assert_eq!(second, (vec![3, 4, 5], None));
        let third = pulled(&puller, 5, Duration::ZERO).await;
        assert_eq!(third, (vec![], None));
    };
    tokio::join!(script, pulls);
    assert_eq!(puller.idle_inboxes(), 1);
}

#[tokio::test]
async fn a_status_of_an_earlier_pull_does_not_end_a_later_one() {
    let (server, _transport, puller) = scripted().await;
    let script = async {
        let (first, _) = server.pull().await;
        first.message(1).await;
        let (second, _) = server.pull().await;
        assert_ne!(first.reply, second.reply);
        for status in [
            "409 Batch Completed",
            "409 Leadership Change",
            "404 No Messages",
        ] {
            first.status(status, Some(0)).await;
        }
        second.message(2).await;
    };
    let pulls = async {
        let first = pulled(&puller, 1, 20 * SECOND).await;
        assert_eq!(first, (vec![1], None));
        let second = pulled(&puller, 1, 20 * SECOND).await;
        assert_eq!(second, (vec![2], None));
    };
    tokio::join!(script, pulls);
}

#[tokio::test]
async fn an_unknown_status_does_not_end_a_pull() {
    let (server, _transport, puller) = scripted().await;
    let script = async {
        let (to, _) = server.pull().await;
        to.status("409 Something New", Some(0)).await;
        to.message(1).await;
        to.status("499 Never Heard Of", None).await;
        to.message(2).await;
        let (to, _) = server.pull().await;
        to.status("499 Never Heard Of", None).await;
    };
    let pulls = async {
        let first = pulled(&puller, 2, Duration::ZERO).await;
        assert_eq!(first, (vec![1, 2], None));
        let (came, error) = pulled(&puller, 2, Duration::ZERO).await;
        assert!(came.is_empty());
        assert!(error.unwrap().contains("Never Heard Of (499)"));
    };
    tokio::join!(script, pulls);
}

#[tokio::test]
async fn what_comes_after_a_pull_has_failed_goes_back() {
    let (server, _transport, puller) = scripted().await;
    let script = async {
        let (to, _) = server.pull().await;
        to.message(1).await;
        to.status("409 Leadership Change", Some(1)).await;
        to.message(2).await;
        assert_eq!(server.fate().await, (2, "-NAK".to_owned()));
        // The next one looks whether the consumer is there, and goes on.
        let (again, _) = server.pull().await;
        assert_ne!(to.reply, again.reply);
        again.message(3).await;
    };
    let pulls = async {
        let (came, error) = pulled(&puller, 3, 20 * SECOND).await;
        assert_eq!(came, [1]);
        assert!(error.unwrap().contains("Leadership Change"));
        let second = pulled(&puller, 1, 20 * SECOND).await;
        assert_eq!(second, (vec![3], None));
    };
    tokio::join!(script, pulls);
}

#[tokio::test]
async fn a_message_larger_than_a_pull_of_several_is_asked_for_alone() {
    let (server, _transport, puller) = scripted().await;
    let script = async {
        let (to, asked) = server.pull().await;
        assert!(asked["max_bytes"].as_u64().unwrap() > 0);
        let status = "409 Message Size Exceeds MaxBytes";
        to.status(status, Some(8)).await;
        let (to, asked) = server.pull().await;
        assert_eq!((&asked["batch"], asked.get("max_bytes")), (&1.into(), None));
        to.message(1).await;
        let (to, asked) = server.pull().await;
        assert_eq!(asked["batch"], 8);
        to.status("404 No Messages", None).await;
    };
    let pulls = async {
        for came in [vec![], vec![1], vec![]] {
            assert_eq!(pulled(&puller, 8, Duration::ZERO).await, (came, None));
        }
    };
    tokio::join!(script, pulls);
}

#[tokio::test]
async fn a_pull_asks_for_no_more_than_the_consumer_allows() {
    let (server, _transport, puller) = scripted().await;
    let script = async {
        let (to, asked) = server.pull().await;
        assert_eq!(asked["batch"], 100);
        to.status("404 No Messages", None).await;
    };
    let (_, pulled) = tokio::join!(script, pulled(&puller, 4_000, Duration::ZERO));
    assert_eq!(pulled, (vec![], None));
}
