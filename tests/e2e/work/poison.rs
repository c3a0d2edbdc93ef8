//! Items that no NATS client should be able to publish, and some can.

use std::time::{Duration, Instant};

use serde_json::json;

use harness::{DEADLY, Host, Nats};

#[tokio::test]
async fn an_item_that_breaks_the_connection_becomes_a_dead_letter_and_the_work_goes_on() {
    let nats = Nats::start().await;
    let mut host = Host::new(&nats)
        .plugin("probe", |p| p.work("lab", "*"))
        .run()
        .await;
    // A consumer of which two pulls broke is looked through.
    let malformed = [
        ("work.lab.high.one", &b"NATS/1.0\r\nno colon\r\n\r\n"[..]),
        ("work.lab.high.two", b"NATS/1.0\r\nX-A: \xff\r\n\r\n"),
    ];
    let deadly = [
        ("work.lab.high.three", DEADLY),
        ("work.lab.high.four", DEADLY),
    ];
    for pair in [malformed, deadly] {
        for (subject, headers) in pair {
            nats.publish_raw(subject, headers, b"poison");
        }
        for (subject, _) in pair {
            let letter = nats.dead_letters(subject, 1).await.remove(0);
            assert_eq!(letter.text(), "poison");
            assert_eq!(letter.header("X-DLQ-Error-Kind"), "unreadable");
            assert_eq!(letter.header("X-DLQ-Subject"), subject);
        }
    }
    nats.audited("dead-letter", |entry| entry["error_kind"] == "unreadable")
        .await;
    nats.work_as(
        "good",
        "work.lab.high.x",
        json!({"do": "echo", "value": 1}).to_string(),
    )
    .await;
    nats.result_of("good").await;
    nats.work_is_done().await;
    assert_eq!(host.exited(), None);
}

#[tokio::test]
async fn work_goes_on_within_a_second_after_an_item_that_ended_the_connection() {
    let nats = Nats::start().await;
    let mut host = Host::new(&nats)
        .plugin("probe", |p| p.work("lab", "*"))
        .run()
        .await;
    let mut times = Vec::new();
    for round in 0..7 {
        let poison = format!("work.lab.high.poison{round}");
        nats.publish_raw(&poison, DEADLY, b"poison");
        let start = Instant::now();
        let good = format!("good-{round}");
        let echo = json!({"do": "echo", "value": round}).to_string();
        nats.work_as(&good, "work.lab.high.x", echo).await;
        nats.result_of(&good).await;
        times.push(start.elapsed());
        // It was looked for before the next pull, and not when it had come for the second time.
        let letters = nats.stored("DLQ", &format!("dlq.{poison}")).await;
        assert_eq!(letters.len(), 1, "{poison}");
    }
    nats.work_is_done().await;
    assert_eq!(host.exited(), None);
    // Most of them within less: another process may have the machine for a while. Whoever waited
    // for the pause after an error, or for the clock of the queue, would need about a second.
    times.sort();
    println!("{times:?}");
    let median = times[times.len() / 2];
    assert!(median < Duration::from_millis(500), "{times:?}");
}
