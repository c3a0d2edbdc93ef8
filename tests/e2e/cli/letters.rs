//! `dlq`: what was given up can be looked at, sent again and removed, and the trail says who did
//! it.

use serde_json::json;

use harness::{Host, Nats};

#[tokio::test]
async fn a_dead_letter_is_shown_sent_again_and_removed() {
    let nats = Nats::start().await;
    let host = Host::new(&nats)
        .plugin("probe", |p| p.work_with("lab", "*", "max_deliver = 1"))
        .run()
        .await;
    let none = host.cli(&["dlq", "list"]).await.ok();
    assert!(none.stderr.contains("no dead letters"), "{none:#?}");
    let reject = json!({"do": "fail_reject", "message": "not like this"}).to_string();
    nats.work_as("bad", "work.lab.high.one", reject.clone())
        .await;
    nats.dead_letters("work.lab.high.one", 1).await;
    nats.work("work.lab.low.two", r#"{"do": "trap"}"#).await;
    nats.dead_letters("work.lab.low.two", 1).await;

    let list = host.cli(&["dlq", "list", "--json"]).await.ok().json();
    assert_eq!(list.as_array().map(Vec::len), Some(2), "{list}");
    assert_eq!(list[0]["number"], 1);
    assert_eq!(list[0]["subject"], "work.lab.high.one");
    assert_eq!(list[0]["kind"], "rejected");
    assert_eq!(list[0]["error"], "not like this");
    assert_eq!(list[0]["deliveries"], 1);
    assert_eq!(list[0]["agent_id"], "probe-001");
    assert_eq!(list[1]["kind"], "trap");
    let table = host
        .cli(&["dlq", "list", "--subject", "work.lab.low.*"])
        .await
        .ok()
        .stdout;
    assert!(
        table.contains("work.lab.low.two") && !table.contains("work.lab.high.one"),
        "{table}"
    );
    let whole = host.cli(&["dlq", "show", "1", "--json"]).await.ok().json();
    assert_eq!(whole["payload"], reject.as_str());
    assert!(
        whole["headers"].to_string().contains("X-DLQ-Error"),
        "{whole}"
    );
    let text = host.cli(&["dlq", "show", "1"]).await.ok().stdout;
    assert!(
        text.contains("not like this") && text.contains(&reject),
        "{text}"
    );
    let absent = host.cli(&["dlq", "show", "99"]).await;
    assert_eq!(absent.code, Some(64), "{absent:#?}");

    // It fails again, as another letter; the old one is gone.
    let replayed = host.cli(&["dlq", "replay", "1"]).await.ok();
    assert!(
        replayed.stdout.contains("work.lab.high.one") && replayed.stdout.contains("WORK_QUEUE"),
        "{replayed:#?}"
    );
    let again = harness::until("it is given up again", async || {
        let letters = nats.stored("DLQ", "dlq.work.lab.high.one").await;
        letters.into_iter().find(|letter| letter.sequence > 1)
    })
    .await;
    assert_eq!(again.header("X-Request-ID"), "bad");
    assert_eq!(again.text(), reject);
    assert_eq!(nats.stored("DLQ", "dlq.>").await.len(), 2);
    nats.audited("command", |entry| {
        entry["command"] == "dlq replay" && entry["numbers"] == json!([1])
    })
    .await;

    for unsure in [&["dlq", "replay"][..], &["dlq", "purge"], &["dlq", "show"]] {
        let ran = host.cli(unsure).await;
        assert_eq!(ran.code, Some(64), "{ran:#?}");
    }
    assert_eq!(
        nats.stored("DLQ", "dlq.>").await.len(),
        2,
        "nothing was removed"
    );
    let purged = host
        .cli(&["dlq", "purge", "--subject", "work.lab.low.>", "--yes"])
        .await
        .ok();
    assert_eq!(purged.stdout.trim_end(), "1 removed");
    assert_eq!(nats.stored("DLQ", "dlq.>").await.len(), 1);
    nats.audited("forced", |entry| {
        entry["command"] == "dlq purge" && entry["subject"] == "work.lab.low.>"
    })
    .await;
    let purged = host.cli(&["dlq", "purge", "--yes"]).await.ok();
    assert_eq!(purged.stdout.trim_end(), "1 removed");
    assert!(nats.stored("DLQ", "dlq.>").await.is_empty());
}
