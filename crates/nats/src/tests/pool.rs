//! The pool of connections that carry the messages of plugins.

use std::collections::BTreeSet;

use crate::testing::{Connect as _, TestServer, until};
use crate::{ConnectSpec, Connection, Headers, Role, Transport};

async fn pool_of(server: &TestServer, bulk: usize) -> Transport {
    let spec = ConnectSpec {
        bulk,
        ..server.spec()
    };
    Transport::connect(spec).await.unwrap()
}

/// The server's number of a connection.
fn number(connection: &Connection) -> u64 {
    connection.server_info().client_id
}

#[tokio::test]
async fn a_name_keeps_its_connection_and_names_spread_over_the_pool() {
    let server = TestServer::start().await;
    let transport = pool_of(&server, 3).await;
    let names: Vec<String> = (0..40).map(|number| format!("plugin-{number}")).collect();
    let used: BTreeSet<u64> = names
        .iter()
        .map(|name| number(transport.pooled(name)))
        .collect();
    assert_eq!(used.len(), 3);
    for name in &names {
        assert_eq!(
            number(transport.pooled(name)),
            number(transport.pooled(name))
        );
    }
    let others = [Role::Control, Role::Work].map(|role| number(transport.connection(role)));
    assert!(others.iter().all(|other| !used.contains(other)));
    assert!(used.contains(&number(transport.connection(Role::Bulk))));
}

#[tokio::test]
async fn a_pool_of_none_has_one() {
    let server = TestServer::start().await;
    let transport = pool_of(&server, 0).await;
    let first = number(transport.connection(Role::Bulk));
    assert_eq!(number(transport.pooled("a")), first);
    assert_eq!(number(transport.pooled("b")), first);
}

#[tokio::test]
async fn all_of_the_pool_count_in_the_state_and_drain() {
    let mut server = TestServer::start().await;
    let transport = pool_of(&server, 3).await;
    assert!(transport.state().connected);
    server.stop();
    server.start_again().await;
    // Each of the five comes back.
    until("all are back", || {
        let state = transport.state();
        state.connected && state.reconnects >= 5
    })
    .await;
    let last = transport.pooled("plugin-1");
    let sent = last.publish("pool.x", None, Headers::new(), "x".into());
    sent.await.unwrap();
    assert!(transport.drain(std::time::Duration::from_secs(5)).await);
}
