//! Ways to say who the host is.

use harness::{Host, Nats};

/// The pair of nkeys that the documentation of NATS shows: nothing is secret about it.
const SEED: &str = "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY";
const PUBLIC: &str = "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4";

#[tokio::test]
async fn the_environment_names_the_server_and_its_user() {
    let nats = Nats::options().user("smith", "under-wraps").start().await;
    let url = format!("nats://smith:under-wraps@127.0.0.1:{}", nats.port());
    // What the file says counts less.
    let host = Host::new(&nats)
        .nats("servers = [\"nats://127.0.0.1:1\"]")
        .variable("NATS_URL", &url)
        .plugin("echo", |p| p.subscribe("tools.echo"))
        .run()
        .await;
    let ran = host.cli(&["request", "tools.echo", "hello"]).await.ok();
    assert_eq!(ran.stdout.trim_end(), "hello");
    let agents = host.cli(&["agents", "--json"]).await.ok();
    let server = &agents.json()["server"];
    assert_eq!(server["jetstream"], true, "{server}");
    assert!(
        server["version"].is_string() && server["round_trip_ms"].is_number(),
        "{server}"
    );
    let shown = host.logs.tail(usize::MAX) + &agents.stdout;
    assert!(
        !shown.contains("under-wraps"),
        "the password is shown nowhere"
    );
    // An option counts more than both.
    let elsewhere = host.cli(&["agents", "--nats", "nats://127.0.0.1:1"]).await;
    assert_eq!(elsewhere.code, Some(1), "{elsewhere:#?}");
    assert!(elsewhere.stderr.contains("127.0.0.1:1"), "{elsewhere:#?}");
}

#[tokio::test]
async fn an_nkey_proves_who_the_host_is() {
    let users =
        format!("authorization {{ users: [ {{ nkey: {PUBLIC} }}, {{ user: t, password: t }} ] }}");
    let nats = Nats::options()
        .line(&users)
        .with_user("t", "t")
        .start()
        .await;
    let lines = format!("servers = [\"{}\"]\nnkey = \"host.nk\"", nats.url());
    let host = Host::new(&nats)
        .file("host.nk", format!("# the seed of the host\n{SEED}\n"))
        .nats(&lines)
        .plugin("echo", |p| p.subscribe("tools.echo"))
        .run()
        .await;
    assert_eq!(
        &*nats.request("tools.echo", "by key").await.payload,
        b"by key"
    );
    host.cli(&["agents"]).await.ok();
    assert!(!host.logs.tail(usize::MAX).contains(SEED));

    // Another key is refused, and a file without one is named.
    let wrong = "SUAMK2FG4MI6UE3ACF3FK3OIQBCEIEZV7NSWFFEW63UXMRLFM2XLAXK4GY";
    for (text, word) in [(wrong, "refuses the credentials"), ("nothing", "host.nk")] {
        let mut host = Host::new(&nats).file("host.nk", text).nats(&lines).start();
        assert_eq!(host.ended().await, Some(1));
        let error = host.logs.saying(word).await.message();
        assert!(!error.contains(wrong), "{error}");
    }
}

#[tokio::test]
async fn credentials_that_are_no_credentials_are_named() {
    let nats = Nats::start().await;
    let lines = format!(
        "servers = [\"{}\"]\ncredentials = \"host.creds\"",
        nats.url()
    );
    let mut host = Host::new(&nats)
        .file("host.creds", "no JWT")
        .nats(&lines)
        .start();
    assert_eq!(host.ended().await, Some(1));
    host.logs.saying("host.creds has no user JWT").await;
    // A file that is not there is a mistake of the configuration.
    let absent = Host::new(&nats).nats(&lines).written().cli(&["run"]).await;
    assert_eq!(absent.code, Some(64), "{absent:#?}");
    assert!(absent.stderr.contains("nats.credentials"), "{absent:#?}");
    let absent = Host::new(&nats)
        .variable("NATS_CREDS", "/nowhere.creds")
        .written();
    let absent = absent.cli(&["run"]).await;
    assert_eq!(absent.code, Some(64), "{absent:#?}");
    assert!(absent.stderr.contains("NATS_CREDS") && absent.stderr.contains("/nowhere.creds"));
}

#[tokio::test]
async fn plaintext_stays_on_this_machine() {
    let nats = Nats::start().await;
    let host = Host::new(&nats)
        .nats("servers = [\"nats://192.0.2.1:4222\"]")
        .written();
    for args in [&["run"][..], &["agents"], &["publish", "x"]] {
        let ran = host.cli(args).await;
        assert_eq!(ran.code, Some(64), "{ran:#?}");
        for word in ["192.0.2.1", "tls://", "plaintext = true", "nats.servers"] {
            assert!(ran.stderr.contains(word), "no {word:?} in {ran:#?}");
        }
    }
    let named = Host::new(&nats).variable("NATS_URL", "192.0.2.1").written();
    assert_eq!(named.cli(&["run"]).await.code, Some(64));
}
