//! Dead letters of large items: the payload stays beside the letter, goes back with it, and goes
//! with it.

use serde_json::json;

use super::{LARGE, claimed, is_removed, objects_for, padded, roomy};
use harness::{Host, Nats};

#[tokio::test]
async fn a_large_dead_letter_is_shown_sent_again_and_removed() {
    let nats = Nats::start().await;
    let host = Host::new(&nats)
        .plugin("probe", |p| {
            roomy(p.work_with("lab", "*", "max_deliver = 1"))
        })
        .run()
        .await;
    let (subject, other) = ("work.lab.high.x", "work.lab.low.y");
    let bad = padded(&json!({"do": "fail_reject", "message": "no"}), LARGE);
    for subject in [subject, other] {
        let sent = ["publish", subject, "-", "-H", "X-Request-ID: bad"];
        host.cli_fed(&sent, &bad).await.ok();
        nats.dead_letters(subject, 1).await;
    }
    let letter = nats.dead_letters(subject, 1).await.remove(0);
    assert_eq!(claimed(&nats, &letter).await, bad);
    let list = host.cli(&["dlq", "list", "--json"]).await.ok().json();
    assert_eq!(list[0]["bytes"], LARGE);
    assert_eq!(list[0]["claim"], letter.header("X-Claim").as_str());
    let shown = host.cli(&["dlq", "show", "1"]).await.ok().stdout;
    assert!(
        shown.contains("2500000 bytes") && shown.contains(&letter.header("X-Claim")),
        "{shown}"
    );

    // It fails again, as another letter with the same payload.
    host.cli(&["dlq", "replay", "1"]).await.ok();
    let again = harness::until("it is given up again", async || {
        let letters = nats.stored("DLQ", &format!("dlq.{subject}")).await;
        letters.into_iter().find(|letter| letter.sequence > 1)
    })
    .await;
    assert_eq!(claimed(&nats, &again).await, bad);
    assert_eq!(objects_for(&nats, subject).await.len(), 1);

    host.cli(&["dlq", "purge", "--yes", &again.sequence.to_string()])
        .await
        .ok();
    is_removed(&nats, subject).await;
    assert_eq!(
        objects_for(&nats, other).await.len(),
        1,
        "that of the other stays"
    );
    host.cli(&["dlq", "purge", "--yes", "--subject", "work.lab.>"])
        .await
        .ok();
    is_removed(&nats, other).await;
    assert!(nats.stored("DLQ", ">").await.is_empty());
}

#[tokio::test]
async fn an_item_that_succeeds_after_its_replay_leaves_nothing() {
    let nats = Nats::start().await;
    let host = Host::new(&nats)
        .plugin("probe", |p| p.work_with("lab", "*", "max_deliver = 1"))
        .run()
        .await;
    let subject = "work.lab.x";
    let item = padded(&json!({"do": "echo", "value": 3}), LARGE);
    let sent = ["publish", subject, "-", "-H", "X-Request-ID: r"];
    host.cli_fed(&sent, &item).await.ok();
    let letter = nats.dead_letters(subject, 1).await.remove(0);
    assert_eq!(letter.header("X-DLQ-Error-Kind"), "too-large");
    // Now it is given more room.
    let roomy = roomy(harness::Plugin::new("probe").work_with("lab", "*", "max_deliver = 1"));
    host.drop_in(&roomy.version("0.2.0"));
    nats.audited("plugin", |entry| entry["version"] == "0.2.0")
        .await;
    host.cli(&["dlq", "replay", "--all"]).await.ok();
    assert_eq!(nats.result_of("r").await.text(), "3");
    is_removed(&nats, subject).await;
    assert!(nats.stored("DLQ", ">").await.is_empty());
}
