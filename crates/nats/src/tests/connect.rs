//! Credentials, TLS, and servers that are not there.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::net::TcpListener;

use super::SECOND;
use crate::testing::{Connect as _, TestServer, by};
use crate::{ConnectSpec, Headers, Role, Transport, TransportError};
use mistersmith_core::config::{Auth, TlsSpec};

fn testdata(name: &str) -> PathBuf {
    mistersmith_testing::package("src/testdata").join(name)
}

async fn refusal(spec: ConnectSpec) -> String {
    match tokio::time::timeout(10 * SECOND, Transport::connect(spec)).await {
        Ok(Err(TransportError::Denied(text))) => text,
        Ok(Err(other)) => panic!("{other:?}"),
        Ok(Ok(_)) => panic!("let in"),
        Err(_) => panic!("tried on and on"),
    }
}

async fn works(spec: ConnectSpec) {
    let transport = Transport::connect(spec).await.unwrap();
    transport
        .connection(Role::Work)
        .round_trip(5 * SECOND)
        .await
        .unwrap();
}

#[tokio::test]
async fn user_and_password() {
    let server = TestServer::start_with("authorization { user: u, password: \"p@ss\" }").await;
    let login = |password: &str| Auth::UserPassword {
        user: "u".into(),
        password: password.into(),
    };
    works(ConnectSpec {
        auth: login("p@ss"),
        ..server.spec()
    })
    .await;
    works(ConnectSpec {
        servers: vec![format!("nats://u:p%40ss@127.0.0.1:{}", server.port)],
        ..server.spec()
    })
    .await;
    let start = Instant::now();
    let patient = ConnectSpec {
        patience: None,
        ..server.spec()
    };
    let text = refusal(ConnectSpec {
        auth: login("hunter2"),
        ..patient.clone()
    })
    .await;
    assert!(start.elapsed() < 3 * SECOND, "a refusal is final");
    assert!(
        text.contains(&server.url()) && text.contains("refuses the credentials; fix:"),
        "{text}"
    );
    assert!(!text.contains("hunter2"), "{text}");
    refusal(patient).await;
}

#[tokio::test]
async fn nkey_seed_file() {
    let config = std::fs::read_to_string(testdata("nkey.conf")).unwrap();
    let server = TestServer::start_with(&config).await;
    works(ConnectSpec {
        auth: Auth::Nkey(testdata("user.nk")),
        ..server.spec()
    })
    .await;
    let text = refusal(ConnectSpec {
        auth: Auth::Nkey(testdata("nkey.conf")),
        ..server.spec()
    })
    .await;
    assert!(text.contains("no line with a user seed"), "{text}");
    let text = refusal(ConnectSpec {
        auth: Auth::Nkey("/no/such".into()),
        ..server.spec()
    })
    .await;
    assert!(
        text.contains("cannot read the nkey seed file /no/such"),
        "{text}"
    );
}

#[tokio::test]
async fn credentials_file_also_for_a_plugin_of_its_own() {
    let config = std::fs::read_to_string(testdata("operator.conf")).unwrap();
    let server = TestServer::start_with(&format!(
        "{config}# no jetstream: it needs a system account"
    ))
    .await;
    let spec = ConnectSpec {
        auth: Auth::Credentials(testdata("user.creds")),
        ..server.spec()
    };
    let transport = Transport::connect(spec).await.unwrap();
    let own = transport
        .connect_own("echo", &testdata("user.creds"))
        .await
        .unwrap();
    own.publish("a", None, Headers::new(), Bytes::new())
        .await
        .unwrap();
    own.round_trip(5 * SECOND).await.unwrap();
    let missing = transport
        .connect_own("echo", &testdata("nothing.creds"))
        .await;
    assert!(
        matches!(missing, Err(TransportError::Denied(_))),
        "{missing:?}"
    );
    refusal(server.spec()).await;
    let text = refusal(ConnectSpec {
        auth: Auth::Credentials(testdata("user.nk")),
        ..server.spec()
    })
    .await;
    assert!(text.contains("has no user JWT"), "{text}");
}

fn tls_server(verify: bool) -> String {
    format!(
        "tls {{ cert_file: {:?}, key_file: {:?}, ca_file: {:?}, verify: {verify} }}",
        testdata("server.pem"),
        testdata("server.key"),
        testdata("ca.pem")
    )
}

#[tokio::test]
async fn tls_with_an_own_authority_and_a_client_certificate() {
    let server = TestServer::start_with(&tls_server(true)).await;
    let files = TlsSpec {
        ca: Some(testdata("ca.pem")),
        cert: Some(testdata("client.pem")),
        key: Some(testdata("client.key")),
    };
    works(ConnectSpec {
        tls: Some(files.clone()),
        ..server.spec()
    })
    .await;

    // A server that is not trusted, and a client that is not.
    for tls in [
        None,
        Some(TlsSpec {
            cert: None,
            key: None,
            ..files.clone()
        }),
    ] {
        let spec = ConnectSpec {
            tls,
            patience: Some(Duration::ZERO),
            ..server.spec()
        };
        let failed = Transport::connect(spec).await.err();
        assert!(
            matches!(failed, Some(TransportError::Unavailable(_))),
            "{failed:?}"
        );
    }
    let half = ConnectSpec {
        tls: Some(TlsSpec {
            key: None,
            ..files.clone()
        }),
        ..server.spec()
    };
    assert!(matches!(
        Transport::connect(half).await.err(),
        Some(TransportError::Invalid(_))
    ));
    let text = refusal(ConnectSpec {
        tls: Some(TlsSpec {
            ca: Some("/no/such.pem".into()),
            ..files
        }),
        ..server.spec()
    })
    .await;
    assert!(text.contains("/no/such.pem"), "{text}");
}

#[tokio::test]
async fn tls_is_not_given_up_for_a_server_without_it() {
    let server = TestServer::start().await;
    let spec = ConnectSpec {
        servers: vec![format!("tls://127.0.0.1:{}", server.port)],
        patience: Some(Duration::ZERO),
        ..server.spec()
    };
    let failed = Transport::connect(spec).await.err().unwrap().to_string();
    assert!(failed.contains("by TLS"), "{failed}");
}

#[tokio::test]
async fn the_first_connection_waits_for_the_server() {
    let mut server = TestServer::start().await;
    server.stop();
    let impatient = ConnectSpec {
        patience: Some(Duration::ZERO),
        ..server.spec()
    };
    let failed = Transport::connect(impatient).await.err();
    assert!(
        matches!(failed, Some(TransportError::Unavailable(_))),
        "{failed:?}"
    );
    // Listens where the server did, and never answers.
    let silent = TcpListener::bind(("127.0.0.1", server.port)).await.unwrap();
    let connecting = tokio::spawn(Transport::connect(ConnectSpec {
        patience: None,
        ..server.spec()
    }));
    let attempt = by("an attempt to connect", silent.accept()).await.unwrap();
    drop((attempt, silent));
    server.start_again().await;
    let connected = by("the server that came back", connecting).await;
    let transport = connected.unwrap().unwrap();
    assert!(transport.state().connected);
}

#[tokio::test]
async fn connections_have_names_and_a_server_must_be_named() {
    let server = TestServer::start_with(
        "accounts { A { users: [ { user: a, password: a } ] }, S { users: [ { user: s, password: s } ] } }\n\
         system_account: S",
    )
    .await;
    let login = |name: &str| Auth::UserPassword {
        user: name.into(),
        password: name.into(),
    };
    let _ours = Transport::connect(ConnectSpec {
        auth: login("a"),
        ..server.spec()
    })
    .await
    .unwrap();
    let system = Transport::connect(ConnectSpec {
        auth: login("s"),
        ..server.spec()
    })
    .await
    .unwrap();
    let connection = system.connection(Role::Control);
    let listed = connection
        .request(
            "$SYS.REQ.SERVER.PING.CONNZ",
            Headers::new(),
            Bytes::new(),
            5 * SECOND,
        )
        .await;
    let listed: serde_json::Value = serde_json::from_slice(&listed.unwrap().payload).unwrap();
    let listed = listed["data"]["connections"].to_string();
    for role in ["control", "work", "bulk"] {
        assert!(
            listed.contains(&format!("mistersmith-test-{role}")),
            "{listed}"
        );
    }
    let nowhere = ConnectSpec {
        servers: vec![],
        ..server.spec()
    };
    assert!(matches!(
        Transport::connect(nowhere).await.err(),
        Some(TransportError::Invalid(_))
    ));
}
