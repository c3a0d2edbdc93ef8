//! A host that cannot start: one error that says why and what to do, and no password.

use harness::{Host, Nats, Running};

/// Waits until the host has given up; returns its exit code and its one error.
async fn gives_up(mut host: Running) -> (Option<i32>, String) {
    let code = host.ended().await;
    // The last lines are read by another thread.
    host.logs
        .first("the error", |line| line.message().starts_with("error"))
        .await;
    let errors = host
        .logs
        .find(|line| line.message().starts_with("error") || line.level() == "ERROR");
    assert_eq!(errors.len(), 1, "{errors:#?}");
    (code, errors[0].message())
}

#[tokio::test]
async fn a_server_that_refuses_the_credentials_ends_the_host_with_the_reason() {
    let nats = Nats::options().user("smith", "right-one").start().await;
    let url = nats.url();
    for auth in [
        "user = \"smith\"\npassword = \"wrong-one\"",
        "user = \"neo\"\npassword = \"wrong-one\"",
        "",
    ] {
        let lines = format!("servers = [\"{url}\"]\n{auth}");
        let host = Host::new(&nats).nats(&lines).start();
        let (code, error) = gives_up(host).await;
        assert_eq!(code, Some(1), "{error}");
        for word in ["refuses the credentials", &url[7..], "fix: check [nats]"] {
            assert!(error.contains(word), "no {word:?} in: {error}");
        }
        assert!(!error.contains("wrong-one"), "{error}");
    }
    // The commands say the same.
    let wrong = Host::new(&nats)
        .nats(&format!("servers = [\"{url}\"]"))
        .written();
    for args in [
        &["agents"][..],
        &["publish", "x"],
        &["provision", "--plan"],
        &["dlq", "list"],
    ] {
        let ran = wrong.cli(args).await;
        assert_eq!(ran.code, Some(1), "{ran:#?}");
        assert!(ran.stderr.contains("refuses the credentials"), "{ran:#?}");
    }
    let right = format!("servers = [\"{url}\"]\nuser = \"smith\"\npassword = \"right-one\"");
    let host = Host::new(&nats)
        .nats(&right)
        .plugin("echo", |p| p)
        .run()
        .await;
    let answer = nats.request("agent.echo-001.cmd.execute", "in").await;
    assert_eq!(&*answer.payload, b"in");
    assert!(
        !host.logs.tail(usize::MAX).contains("right-one"),
        "no password in the log"
    );
}

#[tokio::test]
async fn a_data_folder_that_cannot_be_used_is_named_with_the_way_out() {
    let nats = Nats::start().await;
    let first = Host::new(&nats)
        .plugin("probe", |p| p.work("lab", "*"))
        .run()
        .await;
    let used = first.data().display().to_string();
    // Not even root can write into these.
    let blocked = Host::new(&nats).file("blocker", "");
    let beneath = blocked.folder().join("blocker/data").display().to_string();
    for (data, words) in [
        (
            used.as_str(),
            ["in use", &format!("process {}", first.pid())[..]],
        ),
        (beneath.as_str(), ["data folder", "blocker"]),
        ("/proc/mistersmith", ["data folder", "/proc/mistersmith"]),
        ("/sys/kernel", ["data folder", "/sys/kernel"]),
    ] {
        let host = Host::new(&nats)
            .named("second")
            .line(&format!("data = {data:?}"))
            .plugin("probe", |p| p.work("lab", "*"))
            .start();
        let (code, error) = gives_up(host).await;
        assert_eq!(code, Some(1), "{error}");
        for word in words.iter().chain(&[data, "--data", "[host] data"]) {
            assert!(error.contains(word), "no {word:?} in: {error}");
        }
    }
    nats.work_as("on", "work.lab.high.x", r#"{"do": "echo", "value": 1}"#)
        .await;
    assert_eq!(
        nats.result_of("on").await.subject,
        "agent.probe-001.resp.on"
    );
    nats.state_is("probe-001", "ready").await;
    assert_eq!(nats.keys("AGENT_STATE").await, ["agent.probe-001"]);
}

#[tokio::test]
async fn a_configuration_tells_all_its_mistakes_at_once() {
    let nats = Nats::start().await;
    let host = Host::new(&nats)
        .line("heartbeat = \"soon\"")
        .line("graze = \"10s\"")
        .nats(&format!(
            "servers = [\"{}\"]\nplaintext = \"yes\"",
            nats.url()
        ))
        .config("[jetstream.streams.WORK_QUEUE]\ndiscard = \"some\"")
        .config("[hosts]\nx = 1")
        .written();
    for args in [&["run"][..], &["agents"], &["check"]] {
        let ran = host.cli(args).await;
        assert_eq!(ran.code, Some(64), "{ran:#?}");
        for word in [
            "host.heartbeat",
            "host.graze",
            "grace",
            "nats.plaintext",
            "jetstream.streams.WORK_QUEUE.discard",
            "hosts",
        ] {
            assert!(ran.stderr.contains(word), "no {word:?} in {ran:#?}");
        }
        let placed = ran
            .stderr
            .lines()
            .filter(|line| line.contains("mistersmith.toml:"));
        assert_eq!(placed.count(), 5, "a line each: {ran:#?}");
    }
    assert!(
        nats.js.get_stream("WORK_QUEUE").await.is_err(),
        "nothing was begun"
    );
}

#[tokio::test]
async fn a_jetstream_domain_that_nobody_has_is_named() {
    let nats = Nats::start().await;
    let host = Host::new(&nats)
        .config("[jetstream]\ndomain = \"nowhere\"")
        .start();
    let (code, error) = gives_up(host).await;
    assert_eq!(code, Some(1), "{error}");
    assert!(
        error.contains("JetStream of the domain \"nowhere\" does not answer"),
        "{error}"
    );
    for (domain, word) in [
        ("a.b", "not the name of a JetStream domain"),
        ("", "not the name"),
    ] {
        let config = format!("[jetstream]\ndomain = \"{domain}\"");
        let (code, error) = gives_up(Host::new(&nats).config(&config).start()).await;
        assert_eq!(code, Some(64), "{error}");
        assert!(error.contains(word), "{error}");
    }
}
