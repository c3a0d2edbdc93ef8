//! Files with secrets that are replaced while a host runs.

use std::time::Duration;

use nkeys::KeyPair;

use super::SECOND;
use super::revival::DEADLY;
use crate::testing::{Connect as _, TestServer, until};
use crate::{ConnectSpec, Role, Transport};
use mistersmith_core::config::{Auth, TlsSpec};

fn users(key: &KeyPair) -> String {
    format!(
        "authorization {{ users: [ {{ nkey: {} }} ] }}",
        key.public_key()
    )
}

#[tokio::test]
async fn a_renewed_key_is_used_at_the_next_attempt_to_connect() {
    let (old, new) = (KeyPair::new_user(), KeyPair::new_user());
    let mut server = TestServer::start_with(&users(&old)).await;
    let file = server.path().join("user.nk");
    std::fs::write(&file, old.seed().unwrap()).unwrap();
    let transport = Transport::connect(ConnectSpec {
        auth: Auth::Nkey(file.clone()),
        ..server.spec()
    })
    .await
    .unwrap();
    let connection = transport.connection(Role::Bulk);
    let mut heard = connection.subscribe("a", None).await.unwrap();
    connection.round_trip(SECOND).await.unwrap();

    // The library connects again by itself: first with the old key, which is refused, and with
    // none.
    server.stop();
    server.configure(&users(&new));
    server.start_again().await;
    until("the server has refused the old key", || {
        refusals(&server) > 0
    })
    .await;
    assert!(!connection.is_connected());
    std::fs::remove_file(&file).unwrap();
    std::fs::write(&file, new.seed().unwrap()).unwrap();
    until("all connections are up", || transport.state().connected).await;
    connection
        .publish("a", None, crate::Headers::new(), "x".into())
        .await
        .unwrap();
    assert!(heard.next().await.is_some());

    // A client that is replaced reads it too.
    std::fs::write(&file, "nothing").unwrap();
    end_all(&transport, &server, &new).await;
    std::fs::write(&file, new.seed().unwrap()).unwrap();
    until("the connection is made again", || connection.is_connected()).await;
    connection.round_trip(5 * SECOND).await.unwrap();
}

/// Ends the client of the connection that hears `a`, by a message of a user who may connect.
async fn end_all(transport: &Transport, server: &TestServer, key: &KeyPair) {
    let connection = transport.connection(Role::Bulk);
    let before = connection.revivals();
    server.publish_raw_as(key, "a", DEADLY, b"x").await;
    until("the client has ended", || connection.revivals() > before).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!connection.is_connected(), "without a key it is not let in");
}

fn refusals(server: &TestServer) -> usize {
    let log = std::fs::read_to_string(server.path().join("log")).unwrap_or_default();
    log.matches("authentication error").count()
}

#[tokio::test]
async fn a_renewed_certificate_is_used_at_the_next_attempt_to_connect() {
    let testdata = |name: &str| mistersmith_testing::package("src/testdata").join(name);
    let config = format!(
        "tls {{ cert_file: {:?}, key_file: {:?}, ca_file: {:?}, verify: true }}",
        testdata("server.pem"),
        testdata("server.key"),
        testdata("ca.pem")
    );
    let mut server = TestServer::start_with(&config).await;
    let cert = server.path().join("client.pem");
    let good = std::fs::read(testdata("client.pem")).unwrap();
    std::fs::write(&cert, &good).unwrap();
    let transport = Transport::connect(ConnectSpec {
        tls: Some(TlsSpec {
            ca: Some(testdata("ca.pem")),
            cert: Some(cert.clone()),
            key: Some(testdata("client.key")),
        }),
        ..server.spec()
    })
    .await
    .unwrap();
    let connection = transport.connection(Role::Work);
    std::fs::write(&cert, "expired").unwrap();
    server.stop();
    until("the connection is down", || !connection.is_connected()).await;
    server.start_again().await;
    std::fs::write(&cert, &good).unwrap();
    until("all connections are up", || transport.state().connected).await;
    connection.round_trip(5 * SECOND).await.unwrap();
}
