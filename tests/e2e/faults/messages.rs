//! Answers that are lost, and statuses that come early.

use super::bed::Bed;
use super::load::Load;
use super::pace::Pace;

#[tokio::test]
async fn answers_to_stored_publishes_are_lost() {
    let mut pace = Pace::of("lost publish acks", 6);
    let mut bed = Bed::new(2).await;
    let load = Load::start(&bed.nats, &pace);
    while load.goes_on() {
        let count = pace.below(12) + 1;
        bed.proxy.lose_acks(u64::try_from(count).unwrap());
        pace.pause(300..1200).await;
    }
    bed.proxy.lose_acks(0);
    bed.settle(load, &pace).await;
    assert!(bed.proxy.seen().acks_lost > 0);
}

#[tokio::test]
async fn statuses_come_before_the_messages_that_they_count() {
    let mut pace = Pace::of("statuses early", 5);
    let mut bed = Bed::new(2).await;
    bed.proxy.statuses_first(true);
    let load = Load::start(&bed.nats, &pace);
    while load.goes_on() {
        // Agents that were away find more than one pull can bring.
        for command in ["pause", "resume"] {
            let subject = format!("agent.probe.cmd.{command}");
            bed.nats.publish(&subject, "").await;
            pace.pause(500..1500).await;
        }
    }
    bed.settle(load, &pace).await;
    assert!(bed.proxy.seen().statuses_moved > 0);
}
