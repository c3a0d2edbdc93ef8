//! The circuit breaker: what keeps failing is not called for a while, on any host.

mod shared;

use serde_json::{Value, json};

use harness::{Ear, Host, Nats, Outside, Plugin, Running, until};

/// A plugin that rests on the service `db`; two failures open its circuit.
fn fragile(plugin: Plugin, reset: &str) -> Plugin {
    plugin
        .work_with("lab", "*", "max_deliver = 20\nbackoff = [\"50ms\"]")
        .section(&format!(
            "[circuit]\nservice = \"db\"\nfailures = 2\nreset = \"{reset}\""
        ))
        .grant_publish("ran")
        .limit("timeout = \"60s\"")
}

async fn host(nats: &Nats, name: &str, agents: u32, reset: &str) -> Running {
    Host::new(nats)
        .named(name)
        .plugin("probe", |p| fragile(p, reset).instances(agents))
        .run()
        .await
}

/// Fails twice, and is well at the third time.
fn fails_twice() -> String {
    json!({"do": "fail_times", "n": 2}).to_string()
}

/// Says that it runs, and takes its time.
fn slow(ms: u64) -> String {
    json!({"do": "sequence", "commands": [
        {"do": "publish", "subject": "ran"}, {"do": "sleep", "ms": ms, "how": "wait"}, {"do": "echo", "value": "done"},
    ]})
    .to_string()
}

/// Opens the circuit; the item that did will be well at its next try.
async fn open(nats: &Outside, said: &Ear) {
    nats.work_as("opener", "work.lab.x", fails_twice()).await;
    said.on_subject("circuit.db.open").await;
}

async fn state(nats: &Outside) -> String {
    let record = nats.kv_json("CIRCUITS", "db").await;
    record.map_or("none".to_owned(), |r| {
        r["state"].as_str().unwrap_or("?").to_owned()
    })
}

/// How often items were delivered, all consumers together.
async fn delivered(nats: &Outside) -> Vec<String> {
    let all = nats.consumers().await;
    all.into_iter()
        .map(|line| line.split(", pending").next().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn work_for_an_open_circuit_is_delayed_and_not_failed() {
    let nats = Nats::start().await;
    let said = nats.listen("circuit.>").await;
    let _host = host(&nats, "one", 2, "4s").await;
    open(&nats, &said).await;
    let opened = said.on_subject("circuit.db.open").await;
    let opened: Value = serde_json::from_slice(&opened.payload).unwrap();
    assert!(
        opened["error"].as_str().unwrap().contains("fails"),
        "{opened}"
    );
    assert_eq!(state(&nats).await, "open");

    // A requester is told at once.
    let told = nats
        .tell("probe-001", json!({"do": "echo", "value": 1}))
        .await;
    assert_eq!(told["kind"], "circuit-open", "{told}");

    // The polls are taken back, and nothing that comes is delivered.
    until("no poll stands", async || {
        (nats.polls().await == 0).then_some(())
    })
    .await;
    let before = delivered(&nats).await;
    for number in 0..5 {
        nats.work_as(
            &format!("late-{number}"),
            "work.lab.high.x",
            r#"{"do": "echo", "value": 1}"#,
        )
        .await;
    }
    if said.count("circuit.db.half-open") == 0 {
        assert_eq!(delivered(&nats).await, before);
    }
    said.on_subject("circuit.db.half-open").await;
    said.on_subject("circuit.db.closed").await;
    nats.work_is_done().await;
    for number in 0..5 {
        let result = nats.result_of(&format!("late-{number}")).await;
        assert_eq!(result.header("X-Retry-Count"), "0", "waiting is no try");
    }
    assert_eq!(nats.result_of("opener").await.header("X-Retry-Count"), "2");
    assert!(nats.stored("DLQ", ">").await.is_empty());
    assert_eq!(state(&nats).await, "closed");
}

#[tokio::test]
async fn one_message_is_let_through_to_see_whether_the_service_is_back() {
    let nats = Nats::start().await;
    let said = nats.listen("circuit.>").await;
    let ran = nats.listen("ran").await;
    let _host = host(&nats, "one", 3, "1s").await;
    for _ in 0..2 {
        nats.tell("probe-001", json!({"do": "fail_other", "message": "no db"}))
            .await;
    }
    said.on_subject("circuit.db.open").await;
    // The first probe fails, and it is open again; the second one is well.
    let item = json!({"do": "sequence", "commands": [
        {"do": "publish", "subject": "ran", "payload": "begins"},
        {"do": "sleep", "ms": 500, "how": "wait"},
        {"do": "publish", "subject": "ran", "payload": "ends"},
        {"do": "fail_times", "n": 1},
    ]});
    for number in 0..4 {
        nats.work_as(&format!("slow-{number}"), "work.lab.x", item.to_string())
            .await;
    }
    said.on_subject("circuit.db.closed").await;
    nats.work_is_done().await;
    assert!(said.count("circuit.db.open") >= 2, "{:?}", said.subjects());
    // Until it closed for the first time one ran at a time: the probes that failed, and the one
    // that did not.
    let events = said.subjects().into_iter();
    let until_closed = events.take_while(|subject| subject != "circuit.db.closed");
    let tried = until_closed.filter(|subject| subject == "circuit.db.half-open");
    let (runs, probes) = (ran.all(), 2 * tried.count());
    for (index, run) in runs.iter().take(probes).enumerate() {
        let expected = if index % 2 == 0 { "begins" } else { "ends" };
        assert_eq!(run.payload, expected, "message {index} of {probes}");
    }
    assert!(nats.stored("DLQ", ">").await.is_empty());
}

#[tokio::test]
async fn events_of_others_and_records_that_are_none_decide_nothing() {
    let nats = Nats::start().await;
    let said = nats.listen("circuit.>").await;
    let mut one = host(&nats, "one", 1, "1h").await;
    let circuits = nats.kv("CIRCUITS").await;
    circuits.put("db", "\u{0} no record".into()).await.unwrap();
    let garbled = |line: &harness::Line| line.message().contains("cannot be read");
    until("the host has seen it", async || {
        one.logs.find(garbled).pop()
    })
    .await;
    nats.publish("circuit.db.open", "{\"state\": \"open\"}")
        .await;
    nats.work_as("fine", "work.lab.x", r#"{"do": "echo", "value": 1}"#)
        .await;
    assert_eq!(nats.result_of("fine").await.text(), "1");

    said.forget();
    open(&nats, &said).await;
    assert_eq!(
        state(&nats).await,
        "open",
        "what could not be read is written over"
    );
    nats.publish("circuit.db.closed", "{\"state\": \"closed\"}")
        .await;
    nats.publish("circuit.db.half-open", "x").await;
    let told = nats
        .tell("probe-001", json!({"do": "echo", "value": 1}))
        .await;
    assert_eq!(told["kind"], "circuit-open");

    // It stays open over a restart, and an operator who deletes the record closes it.
    one.stop().await;
    one.start();
    one.wait_ready().await;
    until("the host follows the record", async || {
        let told = nats
            .tell("probe-001", json!({"do": "echo", "value": 1}))
            .await;
        (told["kind"] == "circuit-open").then_some(())
    })
    .await;
    circuits.delete("db").await.unwrap();
    nats.work_is_done().await;
    assert_eq!(nats.result_of("opener").await.header("X-Retry-Count"), "2");
}

#[tokio::test]
async fn stages_wait_for_an_open_circuit_too() {
    let nats = Nats::start().await;
    let said = nats.listen("circuit.>").await;
    let _host = Host::new(&nats)
        .plugin("probe", |p| {
            fragile(p, "3s").section("[[pipeline]]\nstage = \"one\"")
        })
        .run()
        .await;
    open(&nats, &said).await;
    let input = json!({"do": "echo", "value": 7}).to_string();
    nats.publish("pipeline.w.01.one", input).await;
    said.on_subject("circuit.db.closed").await;
    until("the workflow is complete", async || {
        (nats
            .stored("COORDINATION", "pipeline.w.complete")
            .await
            .len()
            == 1)
            .then_some(())
    })
    .await;
    let told = nats.stored("COORDINATION", "coord.w.*").await;
    let events: Vec<&str> = told
        .iter()
        .filter_map(|event| event.subject.rsplit('.').next())
        .collect();
    assert_eq!(events, ["ready", "complete"], "it was tried once");
}
