//! `[idempotence]`: what was handled is not handled again within the window.

use serde_json::{Value, json};

use harness::{Host, Nats, Plugin, headers, until, until_in};

/// Publishes on `ran` whenever it is run, so that runs can be counted from outside.
const RUN: &str = r#"{"do": "publish", "subject": "ran", "payload": "x"}"#;

fn once(plugin: Plugin, window: &str) -> Plugin {
    plugin
        .work("lab", "*")
        .grant_publish("ran")
        .table(&format!("[idempotence]\nwindow = \"{window}\""))
}

#[tokio::test]
async fn a_request_published_again_runs_once_on_whichever_host() {
    let nats = Nats::start().await;
    let runs = nats.listen("ran").await;
    let host = |name: &str| {
        Host::new(&nats)
            .named(name)
            .plugin("probe", |p| once(p, "10m"))
    };
    let _first = host("h1").run().await;
    let _second = host("h2").run().await;
    nats.work_as("order-1", "work.lab.high.x", RUN).await;
    nats.work_is_done().await;
    for _ in 0..6 {
        nats.work_as("order-1", "work.lab.high.x", RUN).await;
        nats.work_is_done().await;
    }
    let results = nats.results_of("order-1").await;
    assert_eq!(results.len(), 7, "each publisher has its result");
    assert!(
        results
            .iter()
            .all(|result| (&result.subject, &result.payload)
                == (&results[0].subject, &results[0].payload)),
        "{results:?}"
    );
    assert_eq!(runs.all().len(), 1);

    // Another request, another task, and other content under the same id are other items.
    nats.work_as("order-2", "work.lab.high.x", RUN).await;
    nats.work_as("order-1", "work.lab.high.y", RUN).await;
    let other = format!("{RUN} ");
    nats.work_as("order-1", "work.lab.high.x", other).await;
    // An id that nobody gave tells redeliveries, and no copies, apart.
    nats.work("work.lab.high.x", RUN).await;
    nats.work("work.lab.high.x", RUN).await;
    nats.work_is_done().await;
    runs.number(6).await;
    assert_eq!(runs.all().len(), 6);
}

#[tokio::test]
async fn outside_the_window_and_after_a_failure_a_request_runs_again() {
    let nats = Nats::start().await;
    let runs = nats.listen("ran").await;
    let _host = Host::new(&nats)
        .plugin("probe", |p| once(p, "1s"))
        .run()
        .await;
    let mut copies = 0;
    until("the window has passed", async || {
        nats.work_as("order-1", "work.lab.high.x", RUN).await;
        copies += 1;
        nats.work_is_done().await;
        (runs.all().len() >= 2).then_some(())
    })
    .await;
    assert!(copies > 2, "copies within the window were not run");

    let fail = r#"{"do": "fail_reject", "message": "no"}"#;
    for _ in 0..2 {
        nats.work_as("order-2", "work.lab.low.fail", fail).await;
    }
    nats.dead_letters("work.lab.low.fail", 2).await;
    let malformed = headers(&[("X-Request-ID", "not a.token\u{e4}>")]);
    nats.work_with("work.lab.high.x", malformed, RUN).await;
    nats.work_is_done().await;
    runs.number(3).await;
}

#[tokio::test]
async fn what_was_recorded_before_its_host_died_does_not_run_again() {
    let nats = Nats::start().await;
    let runs = nats.listen("ran").await;
    let host = |name: &str| {
        Host::new(&nats)
            .named(name)
            .plugin("probe", |p| once(p, "10m"))
    };
    let mut first = host("h1").run().await;
    // No result can be stored: the host stands between the record and the acknowledgement.
    nats.js.delete_stream("RESULTS").await.unwrap();
    nats.work_as("order-1", "work.lab.high.x", RUN).await;
    runs.number(1).await;
    let key = until("the result is recorded", async || {
        let keys = nats.keys("IDEMPOTENCE").await;
        keys.into_iter()
            .find(|key| key.starts_with("probe.order-1."))
    })
    .await;
    let record: Value = nats.kv_json("IDEMPOTENCE", &key).await.unwrap();
    assert_eq!(record["agent_id"], "probe-001");
    first.kill();

    // The next host provisions the stream again, and the item comes after its ack wait.
    let _second = host("h2").run().await;
    let minute = std::time::Duration::from_secs(90);
    let result = until_in(minute, "the result is stored", async || {
        nats.results_of("order-1").await.pop()
    })
    .await;
    assert_eq!(result.subject, "agent.probe-001.resp.order-1");
    nats.work_is_done().await;
    assert_eq!(runs.all().len(), 1, "{:?}", runs.all());
}

#[tokio::test]
async fn no_plugin_may_say_what_was_done() {
    let nats = Nats::start().await;
    let host = Host::new(&nats)
        .plugin("probe", |p| {
            p.grant_kv("IDEMPOTENCE", ">", "read-write").not_awaited()
        })
        .written();
    let checked = host.cli(&["check"]).await;
    assert_eq!(checked.code, Some(64), "{checked:#?}");
    assert!(checked.stderr.contains("IDEMPOTENCE"), "{checked:#?}");

    // A record that somebody else has spoilt is none.
    let runs = nats.listen("ran").await;
    let _host = Host::new(&nats)
        .plugin("probe", |p| once(p, "10m"))
        .run()
        .await;
    nats.work_as("order-1", "work.lab.high.x", RUN).await;
    nats.work_is_done().await;
    let key = nats.keys("IDEMPOTENCE").await.pop().unwrap();
    let junk = json!({"agent_id": 7}).to_string();
    let bucket = nats.kv("IDEMPOTENCE").await;
    bucket.put(key, junk.into()).await.unwrap();
    nats.work_as("order-1", "work.lab.high.x", RUN).await;
    nats.work_is_done().await;
    runs.number(2).await;
}
