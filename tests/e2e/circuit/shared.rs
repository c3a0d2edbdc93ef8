//! One circuit of several hosts and plugins.

use serde_json::json;

use super::{host, open, slow, state};
use harness::{Host, Nats, Plugin, component, until};

#[tokio::test]
async fn hosts_and_plugins_of_a_service_share_its_circuit() {
    let nats = Nats::start().await;
    let said = nats.listen("circuit.>").await;
    let _one = host(&nats, "one", 1, "3s").await;
    let other = Plugin::bare("other").component(component("probe"));
    let _two = Host::new(&nats)
        .named("two")
        .with(
            other
                .section("[circuit]\nservice = \"db\"\nreset = \"3s\"")
                .work("den", "*"),
        )
        .run()
        .await;
    open(&nats, &said).await;
    // Whoever has not failed itself asks its own host how it stands, and is refused work.
    until("the other plugin follows", async || {
        let told = nats
            .tell("other-001", json!({"do": "circuit", "service": "db"}))
            .await;
        (told["kind"] == "circuit-open" || said.count("circuit.db.closed") > 0).then_some(())
    })
    .await;
    nats.work_as("den", "work.den.x", r#"{"do": "circuit", "service": "db"}"#)
        .await;
    nats.work_is_done().await;
    said.on_subject("circuit.db.closed").await;
    assert_eq!(nats.result_of("den").await.header("X-Retry-Count"), "0");
    assert_eq!(nats.result_of("opener").await.header("X-Retry-Count"), "2");
    let opened = said.count("circuit.db.open");
    assert_eq!(
        opened,
        1,
        "said once, by whoever wrote it: {:?}",
        said.subjects()
    );
}

#[tokio::test]
async fn the_probe_of_a_host_that_dies_goes_to_another() {
    let nats = Nats::start().await;
    let said = nats.listen("circuit.>").await;
    let mut hosts = [
        host(&nats, "one", 1, "1s").await,
        host(&nats, "two", 1, "1s").await,
    ];
    let ran = nats.listen("ran").await;
    for _ in 0..2 {
        nats.tell("probe-001", json!({"do": "fail_other", "message": "no db"}))
            .await;
    }
    said.on_subject("circuit.db.open").await;
    for number in 0..2 {
        nats.work_as(&format!("slow-{number}"), "work.lab.critical.x", slow(8000))
            .await;
    }
    ran.number(1).await;
    let holder = nats.kv_json("CIRCUITS", "db").await.unwrap();
    let index = usize::from(holder["host"] == "two");
    hosts[index].kill();
    // The other one takes the right over when nothing is heard, and closes the circuit.
    said.on_subject("circuit.db.closed").await;
    nats.work_as("after", "work.lab.high.x", r#"{"do": "echo", "value": 1}"#)
        .await;
    nats.result_of("after").await;
    assert_eq!(state(&nats).await, "closed");
}
