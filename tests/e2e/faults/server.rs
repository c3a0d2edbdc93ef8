//! A server that is killed, stands still, or has no JetStream for a while.

use super::bed::Bed;
use super::load::Load;
use super::pace::Pace;

#[tokio::test]
async fn the_server_is_killed_and_restarted() {
    let mut pace = Pace::of("server killed", 5);
    let mut bed = Bed::new(2).await;
    let load = Load::start(&bed.nats, &pace);
    while load.goes_on() {
        pace.pause(800..2500).await;
        bed.nats.kill();
        pace.pause(100..2000).await;
        bed.nats.start_again().await;
    }
    bed.settle(load, &pace).await;
}

#[tokio::test]
async fn the_server_stands_still() {
    let mut pace = Pace::of("server stopped", 6);
    let mut bed = Bed::new(2).await;
    let load = Load::start(&bed.nats, &pace);
    let longest = if pace.is_long() { 30_000 } else { 5000 };
    while load.goes_on() {
        pace.pause(500..1500).await;
        bed.nats.pause();
        pace.pause(4000..longest).await;
        bed.nats.resume();
    }
    bed.settle(load, &pace).await;
}

#[tokio::test]
async fn jetstream_is_off_for_a_while() {
    let mut pace = Pace::of("JetStream off", 6);
    let mut bed = Bed::new(2).await;
    let load = Load::start(&bed.nats, &pace);
    let longest = if pace.is_long() { 25_000 } else { 4000 };
    while load.goes_on() {
        pace.pause(500..1500).await;
        bed.nats.switch_jetstream(false).await;
        pace.pause(2500..longest).await;
        bed.nats.switch_jetstream(true).await;
    }
    bed.settle(load, &pace).await;
}
