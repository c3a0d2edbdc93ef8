//! A network that is slow, that ends connections, and in which nothing passes.

use std::time::Duration;

use harness::Way;

use super::bed::Bed;
use super::load::Load;
use super::pace::Pace;

/// Longer than what a host waits for an answer, shorter than what it takes a client to give up its
/// connection; a soak has both.
async fn hold(name: &'static str, ways: &[Way]) {
    let mut pace = Pace::of(name, 7);
    let mut bed = Bed::new(2).await;
    let load = Load::start(&bed.nats, &pace);
    let longest = if pace.is_long() { 40_000 } else { 6000 };
    while load.goes_on() {
        pace.pause(500..1000).await;
        bed.proxy.hold(ways);
        pace.pause(5000..longest).await;
        bed.proxy.hold(&[]);
    }
    bed.settle(load, &pace).await;
}

#[tokio::test]
async fn nothing_passes_for_a_while() {
    hold("black hole", Way::BOTH).await;
}

#[tokio::test]
async fn nothing_reaches_the_server_for_a_while() {
    hold("half-open to server", &[Way::Up]).await;
}

#[tokio::test]
async fn nothing_reaches_the_hosts_for_a_while() {
    hold("half-open to host", &[Way::Down]).await;
}

#[tokio::test]
async fn connections_are_reset_and_refused() {
    let mut pace = Pace::of("resets", 6);
    let mut bed = Bed::new(2).await;
    let load = Load::start(&bed.nats, &pace);
    while load.goes_on() {
        pace.pause(500..2500).await;
        // One reset of three is the beginning of a time in which nobody comes in.
        let refused = pace.below(3) == 0;
        bed.proxy.refuse(refused);
        bed.proxy.reset();
        if refused {
            pace.pause(200..1500).await;
            bed.proxy.refuse(false);
        }
    }
    bed.settle(load, &pace).await;
}

#[tokio::test]
async fn the_network_is_slow() {
    let mut pace = Pace::of("latency, slow link", 5);
    let mut bed = Bed::new(2).await;
    let load = Load::start(&bed.nats, &pace);
    while load.goes_on() {
        bed.proxy.delay(Duration::from_millis(50));
        pace.pause(1000..2000).await;
        bed.proxy.delay(Duration::ZERO);
        bed.proxy.rate(Some(150_000));
        pace.pause(1000..2000).await;
        bed.proxy.rate(None);
    }
    bed.settle(load, &pace).await;
}
