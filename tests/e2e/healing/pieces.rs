//! Single streams, buckets and consumers are deleted under running hosts.

use std::time::Duration;

use async_nats::jetstream::consumer::PullConsumer;
use serde_json::json;

use harness::{Host, Nats, Plugin, component, until, until_in};

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn streams_and_buckets_that_are_deleted_are_made_again() {
    let nats = Nats::start().await;
    let host = Host::new(&nats)
        .plugin("probe", |p| p.instances(2).work("lab", "*"))
        .run()
        .await;
    nats.request_json("agent.probe-002.cmd.pause", "").await;
    for stream in [
        "RESULTS",
        "DLQ",
        "AUDIT",
        "KV_AGENT_LEASES",
        "KV_AGENT_CONFIG",
        "KV_ATTEMPTS",
        "OBJ_PAYLOADS",
    ] {
        nats.js.delete_stream(stream).await.unwrap();
    }
    let shown = host.cli(&["agents"]).await.ok().stdout;
    for name in [
        "stream RESULTS",
        "bucket AGENT_LEASES",
        "object store PAYLOADS",
    ] {
        assert!(shown.contains(name), "{shown}");
    }
    let said = host.logs.saying("JetStream had lost").await;
    assert_eq!(said.level(), "WARN");
    for name in ["stream RESULTS", "bucket ATTEMPTS", "object store PAYLOADS"] {
        assert!(said.message().contains(name), "{}", said.message());
    }
    let entry = nats.audited("healed", |_| true).await;
    assert!(
        entry["made"].to_string().contains("stream RESULTS"),
        "{entry}"
    );
    nats.work_as("w", "work.lab.x", r#"{"do": "echo", "value": 1}"#)
        .await;
    assert_eq!(nats.result_of("w").await.text(), "1");
    until_in(MINUTE, "the pause is there again", async || {
        let value = nats.kv_json("AGENT_CONFIG", "probe-002").await?;
        (value["paused"] == true).then_some(())
    })
    .await;
    let lease = format!("host.{}", host.host_id());
    until_in(MINUTE, "the lease is there again", async || {
        nats.kv_json("AGENT_LEASES", &lease).await
    })
    .await;
    nats.state_is("probe-002", "paused").await;
}

#[tokio::test]
async fn without_healing_a_stream_that_is_missing_is_only_said_to_be() {
    let nats = Nats::start().await;
    let host = Host::new(&nats)
        .config("[jetstream]\nheal = false")
        .plugin("probe", |p| p.work("lab", "*"))
        .run()
        .await;
    let results = nats.stream_info("RESULTS").await.config;
    nats.js.delete_stream("RESULTS").await.unwrap();
    let said = host.logs.saying("not made again, because").await;
    assert!(
        said.message().contains("stream RESULTS"),
        "{}",
        said.message()
    );
    assert!(nats.js.get_stream("RESULTS").await.is_err());
    // A person restores it, and it stays as it was restored.
    nats.js.create_stream(results).await.unwrap();
    nats.work_as("w", "work.lab.x", r#"{"do": "echo", "value": 1}"#)
        .await;
    assert_eq!(nats.result_of("w").await.text(), "1");
}

/// A plugin that does one stage, and says which workflow it does.
fn stage() -> Plugin {
    Plugin::bare("reader")
        .component(component("probe"))
        .stage_doing("read", "", r#"{ do = "publish", subject = "ran" }"#)
        .grant_publish("ran")
}

#[tokio::test]
async fn a_consumer_of_a_stage_that_was_deleted_begins_behind_the_inputs_that_are_done() {
    const INPUTS: usize = 20;
    let nats = Nats::start().await;
    let ran = nats.listen("ran").await;
    let _host = Host::new(&nats).with(stage()).run().await;
    let put = async |number: usize| {
        let subject = format!("pipeline.w{number}.01.read");
        nats.work_with(&subject, harness::Headers::new(), "{}")
            .await
    };
    for number in 0..INPUTS {
        put(number).await;
    }
    ran.number(INPUTS).await;
    let floor = until_in(MINUTE, "it is recorded how far the stage is", async || {
        let stream = nats.stream("COORDINATION").await;
        let consumer: PullConsumer = stream.get_consumer("pipeline-read").await.ok()?;
        let info = consumer.cached_info();
        let done = info.num_pending == 0 && info.num_ack_pending == 0;
        let floor = info.ack_floor.stream_sequence;
        let known = nats.kv_json("ATTEMPTS", "floor.pipeline-read").await?;
        (done && known["sequence"] == floor).then_some(floor)
    })
    .await;
    let stream = nats.stream("COORDINATION").await;
    stream.delete_consumer("pipeline-read").await.unwrap();
    put(INPUTS).await;
    ran.number(INPUTS + 1).await;
    until_in(MINUTE, "all is done", async || {
        let consumer: PullConsumer = stream.get_consumer("pipeline-read").await.ok()?;
        let info = consumer.cached_info();
        (info.num_pending == 0 && info.num_ack_pending == 0).then_some(())
    })
    .await;
    assert_eq!(ran.all().len(), INPUTS + 1, "nothing ran again");
    let consumer: PullConsumer = stream.get_consumer("pipeline-read").await.unwrap();
    let config = json!(consumer.cached_info().config);
    assert_eq!(config["opt_start_seq"], floor + 1);
}

#[tokio::test]
async fn terms_do_not_fall_when_the_leases_are_lost() {
    let nats = Nats::start().await;
    let candidate = |p: Plugin| p.section("[election]\ndomain = \"lab\"");
    let _host = Host::new(&nats).plugin("probe", candidate).run().await;
    let term = async || {
        let leases = nats.js.get_key_value("AGENT_LEASES").await.ok()?;
        let value = leases.get("election.lab").await.ok()??;
        let value: serde_json::Value = serde_json::from_slice(&value).ok()?;
        value["term"].as_u64().filter(|term| *term > 0)
    };
    let mut before = until_in(MINUTE, "somebody leads", term).await;
    for _ in 0..2 {
        nats.js.delete_stream("KV_AGENT_LEASES").await.unwrap();
        let after = until_in(MINUTE, "somebody leads again", term).await;
        assert!(after > before, "{after} after {before}");
        before = after;
    }
    until("it is recorded", async || {
        let record = nats.kv_json("AGENT_CLAIMS", "term.lab").await?;
        (record["term"] == before).then_some(())
    })
    .await;
}
