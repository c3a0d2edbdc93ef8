//! Listing a bucket on a server that answers as a script says.

use serde_json::json;

use super::SECOND;
use super::fake_server::FakeServer;
use crate::Role;
use crate::testing::by;

#[tokio::test]
async fn a_listing_goes_on_after_a_pull_that_expired_half_way() {
    let (server, transport) = FakeServer::start().await;
    let kv = transport.connection(Role::Bulk).kv("B").await.unwrap();
    let script = async {
        let created = server.asked().await;
        assert_eq!(created.subject, "$JS.API.CONSUMER.CREATE.KV_B");
        created
            .answer(json!({ "name": "c", "num_pending": 3 }))
            .await;
        // A busy server sends one of three in time.
        let (pull, asked) = server.pull().await;
        assert_eq!(asked["batch"], 3);
        pull.message_on("$KV.B.a", 1, 2).await;
        pull.status("408 Request Timeout", Some(2)).await;
        let info = server.asked().await;
        assert_eq!(info.subject, "$JS.API.CONSUMER.INFO.KV_B.c");
        info.answer(json!({ "name": "c", "num_pending": 2 })).await;
        // Of the two that are left one is removed meanwhile.
        let (pull, asked) = server.pull().await;
        assert_eq!(asked["batch"], 2);
        pull.message_on("$KV.B.b", 2, 1).await;
        pull.status("408 Request Timeout", Some(1)).await;
        let info = server.asked().await;
        info.answer(json!({ "name": "c", "num_pending": 0 })).await;
        server
            .asked()
            .await
            .answer(json!({ "success": true }))
            .await;
    };
    let listed = by("the listing", kv.keys(">", 10));
    let (listed, ()) = tokio::time::timeout(20 * SECOND, async { tokio::join!(listed, script) })
        .await
        .unwrap();
    assert_eq!(listed.unwrap(), ["a", "b"]);
}

#[tokio::test]
async fn a_listing_of_which_nothing_comes_ends_with_an_error() {
    let (server, transport) = FakeServer::start().await;
    let kv = transport.connection(Role::Bulk).kv("B").await.unwrap();
    let script = async {
        let pending = json!({ "name": "c", "num_pending": 1 });
        server.asked().await.answer(pending.clone()).await;
        for _ in 0..5 {
            let (pull, _) = server.pull().await;
            pull.status("408 Request Timeout", Some(1)).await;
            server.asked().await.answer(pending.clone()).await;
        }
    };
    let deleting = async {
        // One message at a time is the way around a connection that broke; here it finds none.
        loop {
            let none = json!({ "error": { "code": 404, "err_code": 10037, "description": "no" } });
            server.asked().await.answer(none).await;
        }
    };
    let listing = async {
        script.await;
        deleting.await
    };
    let listed = tokio::select! {
        listed = by("the listing", kv.keys(">", 10)) => listed,
        () = listing => unreachable!("the server answers for as long as it is asked"),
    };
    assert!(listed.is_err(), "{listed:?}");
}
