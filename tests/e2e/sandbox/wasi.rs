//! WASI is there with nothing in it; what is printed becomes lines of the log.

use serde_json::{Value, json};

use harness::{Host, Nats};

#[tokio::test]
async fn nothing_of_the_machine_is_in_reach() {
    let nats = Nats::start().await;
    let _host = Host::new(&nats).plugin("probe", |p| p).run().await;
    let refused: [(&str, Value); 10] = [
        ("open_file", json!({"path": "/etc/passwd"})),
        ("open_file", json!({"path": "plugin.toml"})),
        ("open_file", json!({"path": "/tmp/probe", "write": true})),
        ("list_folder", json!({"path": "/"})),
        ("list_folder", json!({"path": "."})),
        (
            "connect",
            json!({"address": format!("127.0.0.1:{}", nats.port())}),
        ),
        ("listen", json!({"address": "127.0.0.1:0"})),
        ("bind_udp", json!({"address": "127.0.0.1:0"})),
        ("resolve", json!({"host": "localhost"})),
        ("thread", json!({})),
    ];
    for (name, mut command) in refused {
        command["do"] = json!(name);
        let (kind, _) = nats.refused("probe-001", command.clone()).await;
        assert_eq!(kind, "io", "{command}");
    }
    let tell = async |command: Value| nats.tell("probe-001", command).await;
    assert_eq!(tell(json!({"do": "env"})).await, json!({"env": {}}));
    let args = tell(json!({"do": "args"})).await;
    assert_eq!(args["args"], json!([]), "{args}");
    let stdin = tell(json!({"do": "stdin"})).await;
    assert!(
        stdin["bytes"] == 0 || stdin["error"]["kind"] == "io",
        "{stdin}"
    );
    // Clocks and random numbers are there.
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_millis();
    let clock = tell(json!({"do": "clock"})).await["ms"].as_u64().unwrap();
    assert!(u128::from(clock).abs_diff(now) < 60_000);
    let one = tell(json!({"do": "random"})).await;
    let other = tell(json!({"do": "random"})).await;
    assert!(one["random"].is_u64() && one != other);
}

#[tokio::test]
async fn what_is_printed_and_logged_is_in_the_hosts_log() {
    let nats = Nats::start().await;
    let host = Host::new(&nats).plugin("probe", |p| p).run().await;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let traced = harness::headers(&[("X-Trace-ID", trace)]);
    let log = json!({"do": "log", "level": "warn", "message": "careful\r\n\u{1b}[31mnow", "fields": {"order": "7"}});
    nats.request_with("agent.probe-001.cmd.execute", traced, log.to_string())
        .await;
    let line = host.logs.saying("careful").await;
    assert_eq!(line.level(), "WARN");
    assert_eq!(line.field("agent"), "probe-001");
    assert_eq!(line.field("plugin"), "probe");
    assert_eq!(line.field("trace_id"), trace);
    assert!(line.field("fields").contains('7'), "{line:?}");
    assert!(!line.message().chars().any(char::is_control), "{line:?}");

    for (to, level) in [("stdout", "INFO"), ("stderr", "WARN")] {
        let text = format!("first {to}\nsecond {to}\u{7}");
        nats.tell("probe-001", json!({"do": "print", "text": text, "to": to}))
            .await;
        for number in ["first", "second"] {
            let line = host.logs.saying(&format!("{number} {to}")).await;
            assert_eq!(line.message(), format!("{number} {to}"));
            assert_eq!(line.level(), level);
            assert_eq!(line.field("agent"), "probe-001");
        }
    }
    // A line that looks like one of the host's is still the agent's.
    let forged = r#"{"level": "ERROR", "message": "forged", "agent": "boss-001"}"#;
    nats.tell(
        "probe-001",
        json!({"do": "print", "text": forged, "to": "stdout"}),
    )
    .await;
    let line = host.logs.saying("forged").await;
    assert_eq!(line.field("agent"), "probe-001");
    assert_eq!(line.message(), forged);

    nats.tell(
        "probe-001",
        json!({"do": "log", "level": "info", "message": "long ", "bytes": 100_000}),
    )
    .await;
    let line = host.logs.saying("long x").await;
    assert!(
        line.message().len() <= 8 * 1024 + 8,
        "{}",
        line.message().len()
    );
}
