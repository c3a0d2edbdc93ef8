//! Claims of others: whoever may publish work may name what they like, and gets nothing by it.

use serde_json::json;

use super::{LARGE, claim, claimed, is_removed, objects_for, padded, put, roomy};
use harness::{Host, Nats, headers};

#[tokio::test]
async fn a_claim_of_another_client_is_taken() {
    let nats = Nats::start().await;
    let _host = Host::new(&nats)
        .plugin("probe", |p| roomy(p.work("lab", "*")))
        .run()
        .await;
    let subject = "work.lab.x";
    let item = padded(&json!({"do": "echo", "value": 7}), LARGE);
    put(&nats, "work.mine-1", subject, &item).await;
    // What lies in the message beside the claim does not count.
    nats.work_with(subject, claim("mine", "work.mine-1"), "ignored")
        .await;
    assert_eq!(nats.result_of("mine").await.text(), "7");
    is_removed(&nats, subject).await;
}

#[tokio::test]
async fn a_claim_that_is_wrong_is_a_dead_letter_and_touches_nothing() {
    let nats = Nats::start().await;
    let _host = Host::new(&nats)
        .plugin("probe", |p| p.work_with("lab", "*", "backoff = [\"10ms\"]"))
        .run()
        .await;
    let subject = "work.lab.x";
    let small = json!({"do": "echo", "value": "secret"}).to_string();
    put(&nats, "work.other", "work.elsewhere.x", small.as_bytes()).await;
    put(&nats, "work.large", subject, &padded(&json!({}), LARGE)).await;
    for (request, name, kind, told) in [
        (
            "missing",
            "work.nowhere",
            "claim",
            "not in the object store",
        ),
        (
            "another",
            "work.other",
            "claim",
            "not stored for this subject",
        ),
        ("malformed", "../x", "claim", "no name of a payload"),
        ("pattern", "work.>", "claim", "no name of a payload"),
        ("large", "work.large", "too-large", "2500000 bytes"),
    ] {
        nats.work_with(subject, claim(request, name), "").await;
        let found = harness::until(request, async || {
            let letters = nats.stored("DLQ", "dlq.>").await;
            letters
                .into_iter()
                .find(|letter| letter.header("X-Request-ID") == request)
        });
        let letter = found.await;
        assert_eq!(letter.header("X-DLQ-Error-Kind"), kind, "{letter:?}");
        assert!(letter.header("X-DLQ-Error").contains(told), "{letter:?}");
        assert_eq!(letter.header("X-Claim"), name);
        assert!(
            letter.header("X-DLQ-Agent-ID").is_empty(),
            "nobody was woken"
        );
    }
    assert_eq!(objects_for(&nats, "work.elsewhere.x").await, ["work.other"]);
    assert_eq!(objects_for(&nats, subject).await, ["work.large"]);

    // A payload that was changed since.
    put(&nats, "work.changed", subject, small.as_bytes()).await;
    let first = nats.stored("OBJ_PAYLOADS", "$O.PAYLOADS.C.>").await;
    let piece = first.last().unwrap();
    let changed = small.replace("secret", "forged");
    nats.stream("OBJ_PAYLOADS")
        .await
        .delete_message(piece.sequence)
        .await
        .unwrap();
    nats.work_with(&piece.subject, headers(&[]), changed).await;
    nats.work_with(subject, claim("changed", "work.changed"), "")
        .await;
    let letter = harness::until("changed", async || {
        let letters = nats.stored("DLQ", "dlq.>").await;
        letters
            .into_iter()
            .find(|letter| letter.header("X-Request-ID") == "changed")
    })
    .await;
    assert!(
        letter.header("X-DLQ-Error").contains("digest"),
        "{letter:?}"
    );
    assert!(nats.results_of("*").await.is_empty());
}

#[tokio::test]
async fn a_payload_of_the_wrong_shape_is_kept_beside_its_letter() {
    let nats = Nats::start().await;
    let _host = Host::new(&nats)
        .plugin("probe", |p| {
            roomy(p.work_with("lab", "*", "schema = \"shape.json\""))
                .file("shape.json", r#"{"type": "object", "required": ["do"]}"#)
        })
        .run()
        .await;
    let subject = "work.lab.x";
    put(
        &nats,
        "work.shape",
        subject,
        &padded(&json!({"no": 1}), LARGE),
    )
    .await;
    nats.work_with(subject, claim("shape", "work.shape"), "")
        .await;
    let letter = nats.dead_letters(subject, 1).await.remove(0);
    assert_eq!(letter.header("X-DLQ-Error-Kind"), "schema");
    assert_eq!(claimed(&nats, &letter).await.len(), LARGE);
}
