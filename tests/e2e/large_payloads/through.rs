//! The way through: in by the command or by any client, out as a result.

use serde_json::json;

use super::{LARGE, claimed, is_removed, objects, objects_for, padded, roomy};
use harness::{Host, Nats};

#[tokio::test]
async fn five_megabytes_go_in_and_five_come_out() {
    let nats = Nats::start().await;
    let host = Host::new(&nats)
        .plugin("probe", |p| roomy(p.work("lab", "*")))
        .run()
        .await;
    let text = "abcdefghij".repeat(500_000);
    let item = json!({"do": "echo", "value": text}).to_string();
    let subject = "work.lab.high.x";
    let sent = ["publish", subject, "-", "-H", "X-Request-ID: large"];
    let ran = host.cli_fed(&sent, item.as_bytes()).await.ok();
    assert!(ran.stdout.contains("stored by WORK_QUEUE"), "{ran:#?}");
    let result = nats.result_of("large").await;
    assert_eq!(result.header("X-Agent-ID"), "probe-001");
    let answer = claimed(&nats, &result).await;
    assert_eq!(answer, json!(text).to_string().into_bytes());
    nats.work_is_done().await;
    is_removed(&nats, subject).await;
    assert_eq!(objects(&nats).await.len(), 1, "the result alone");
    // A size that fits goes as it always did.
    nats.work_as("small", subject, r#"{"do": "echo", "value": 1}"#)
        .await;
    assert_eq!(nats.result_of("small").await.text(), "1");
    assert_eq!(objects(&nats).await.len(), 1);
    // The plugin does not see how its payload came.
    let headers = padded(&json!({"do": "headers"}), LARGE);
    let sent = ["publish", subject, "-", "-H", "X-Request-ID: seen"];
    host.cli_fed(&sent, &headers).await.ok();
    let seen = nats.result_of("seen").await.text();
    assert!(
        seen.contains("X-Request-ID") && !seen.contains("X-Claim"),
        "{seen}"
    );
    // Elsewhere nobody would fetch it.
    let refused = host
        .cli_fed(&["publish", "free.subject", "-"], &headers)
        .await;
    assert_eq!(refused.code, Some(64), "{refused:#?}");
}

#[tokio::test]
async fn what_a_plugin_stores_may_be_large_too() {
    let nats = Nats::start().await;
    let _host = Host::new(&nats)
        .plugin("probe", |p| {
            roomy(p.work("lab", "*"))
                .grant_publish("work.lab.>")
                .grant_publish("free.>")
        })
        .run()
        .await;
    // What it stores is no command, so that it is rejected, and looked at.
    let subject = "work.lab.low.next";
    let store = json!({"do": "publish_stored", "subject": subject, "payload": "t", "bytes": LARGE});
    let told = nats.tell("probe-001", store).await;
    assert_eq!(told["stream"], "WORK_QUEUE", "{told}");
    let letter = nats.dead_letters(subject, 1).await.remove(0);
    assert_eq!(letter.header("X-DLQ-Error-Kind"), "rejected");
    assert_eq!(claimed(&nats, &letter).await.len(), LARGE + 1);
    for (subject, what) in [("free.x", "publish_stored"), (subject, "publish")] {
        let send = json!({"do": what, "subject": subject, "bytes": LARGE});
        assert_eq!(nats.refused("probe-001", send).await.0, "too-large");
    }
    let forge = json!({
        "do": "publish_stored", "subject": subject, "headers": [["x_claim", "work.some"]],
    });
    assert_eq!(nats.refused("probe-001", forge).await.0, "invalid");
    assert_eq!(objects_for(&nats, subject).await.len(), 1);
}

#[tokio::test]
async fn the_size_from_which_it_is_so_can_be_lowered() {
    let nats = Nats::start().await;
    let host = Host::new(&nats)
        .config("[jetstream]\nclaim_over = \"1KiB\"")
        .plugin("probe", |p| p.work("lab", "*"))
        .run()
        .await;
    let subject = "work.lab.x";
    let reply = padded(&json!({"do": "big_reply", "bytes": 1025}), 2000);
    let reply = String::from_utf8(reply).unwrap();
    host.cli(&["publish", subject, &reply, "-H", "X-Request-ID: r"])
        .await
        .ok();
    let result = nats.result_of("r").await;
    assert_eq!(claimed(&nats, &result).await, vec![b'x'; 1025]);
    is_removed(&nats, subject).await;
    nats.work_as("s", subject, r#"{"do": "big_reply", "bytes": 1024}"#)
        .await;
    assert_eq!(nats.result_of("s").await.payload.len(), 1024);
}

#[tokio::test]
async fn two_hosts_share_large_items() {
    let nats = Nats::start().await;
    let host = |name: &str| {
        Host::new(&nats)
            .named(name)
            .plugin("probe", |p| roomy(p.instances(2).work("lab", "*")))
    };
    let one = host("one").run().await;
    let _two = host("two").run().await;
    let item = padded(&json!({"do": "sleep", "ms": 50, "how": "wait"}), LARGE);
    for number in 0..12 {
        let id = format!("X-Request-ID: item-{number}");
        one.cli_fed(&["publish", "work.lab.x", "-", "-H", &id], &item)
            .await
            .ok();
    }
    for number in 0..12 {
        let results = nats.results_of(&format!("item-{number}")).await;
        assert!(results.len() <= 1, "{results:?}");
        nats.result_of(&format!("item-{number}")).await;
    }
    nats.work_is_done().await;
    is_removed(&nats, "work.lab.x").await;
    assert_eq!(nats.stream_info("OBJ_PAYLOADS").await.state.messages, 0);
    assert!(nats.stored("DLQ", ">").await.is_empty());
}
