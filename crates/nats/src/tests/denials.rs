//! What the server's permissions refuse.

use bytes::Bytes;
use mistersmith_core::byte_budget::ByteBudget;
use mistersmith_core::config::Auth;

use super::SECOND;
use crate::testing::{Connect as _, TestServer, until};
use crate::{ConnectSpec, Headers, Role, Transport};

const USERS: &str = "authorization { users: [ { user: u, password: p, permissions: {
    subscribe: { deny: [\"shut.>\"] }, publish: { deny: [\"shut.>\"] } } } ] }";

#[tokio::test]
async fn a_denied_subscription_is_known_as_its_plugin_s() {
    let mut server = TestServer::start_with(USERS).await;
    let auth = Auth::UserPassword {
        user: "u".into(),
        password: "p".into(),
    };
    let transport = Transport::connect(ConnectSpec {
        auth,
        ..server.spec()
    })
    .await
    .unwrap();
    let denied = |plugin: &str| {
        let denied = transport.denials().subscriptions();
        denied.get(plugin).cloned().unwrap_or_default()
    };
    let bulk = transport.connection(Role::Bulk);
    let (echo, other) = (bulk.owned_by("echo"), bulk.owned_by("other"));
    let _open = other.subscribe("open.a", None).await.unwrap();
    let budget = ByteBudget::new(1024 * 1024);
    let alone = echo
        .subscribe_inline("shut.a", None, &budget)
        .await
        .unwrap();
    let grouped = echo.subscribe("shut.b", Some("q")).await.unwrap();
    // The host's own belongs to no plugin.
    let _own = bulk.subscribe("shut.own", None).await.unwrap();
    until("both are known", || denied("echo") == ["shut.a", "shut.b"]).await;
    assert_eq!(denied("other"), [""; 0]);
    drop(grouped);
    until("one has ended", || denied("echo") == ["shut.a"]).await;

    let before = transport.state().denied_publishes;
    bulk.publish("shut.a", None, Headers::new(), Bytes::new())
        .await
        .unwrap();
    until("the publish is counted", || {
        transport.state().denied_publishes == before + 1
    })
    .await;

    // With other permissions of the server the subscription is there after the next connection.
    server.stop();
    server.configure(&USERS.replace("shut", "closed"));
    server.start_again().await;
    until("nothing is denied", || {
        bulk.is_connected() && denied("echo").is_empty()
    })
    .await;
    bulk.round_trip(5 * SECOND).await.unwrap();
    assert_eq!(denied("echo"), [""; 0]);
    drop(alone);
}
