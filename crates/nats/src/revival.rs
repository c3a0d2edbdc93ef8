//! Replaces the client of a connection when it has died.
//!
//! A header with a lone carriage return costs each receiver one connection for some milliseconds
//! (nats-io/nats.rs pull request 1612): all subscriptions are made again on the next client,
//! waiting requests end with `Unavailable`, and publishes wait for a moment. Without this the host
//! would receive nothing more, and no error would say so.

use std::sync::{Once, Weak};
use std::time::Duration;

use tokio::sync::mpsc;

use super::connection::Inner;
use super::dialer::{Dialer, pause};
use super::generation::Generation;

/// The least time between two clients of one connection: a flood of such messages must not become a
/// flood of connections.
const SPACING: Duration = Duration::from_millis(100);
/// How long after a client has died a spare one is kept connected: a sender of one such message
/// sends more, and to connect takes several round trips.
const SPARE: Duration = Duration::from_secs(30);

/// Replaces each client of a connection that dies, until the connection is dropped, or closed on
/// purpose.
pub(super) async fn keep(
    connection: Weak<Inner>,
    mut dialer: Dialer,
    mut ends: mpsc::UnboundedReceiver<u64>,
) {
    let (mut spare, mut wanted): (Option<Generation>, bool) = (None, false);
    loop {
        let number = tokio::select! {
            biased;
            number = ends.recv() => match number {
                Some(number) => number,
                None => return,
            },
            made = dialer.attempt(), if wanted => {
                (spare, wanted) = (made.ok(), false);
                continue;
            }
            () = tokio::time::sleep(SPARE), if spare.is_some() => {
                spare = None;
                continue;
            }
        };
        let Some(inner) = connection.upgrade() else {
            return;
        };
        let dead = inner.current();
        if dead.number != number {
            // A spare one, or an attempt to connect that came to nothing.
            continue;
        }
        if inner.ended_on_purpose() {
            return;
        }
        inner.health.on_client_died();
        drop(inner);
        tokio::time::sleep(SPACING.saturating_sub(dead.since.elapsed())).await;
        drop(dead);
        if !revive(&connection, &mut dialer, spare.take()).await {
            return;
        }
        wanted = true;
    }
}

/// Goes on with the spare client, or connects until that succeeds; returns whether there is still a
/// connection that wants it.
async fn revive(connection: &Weak<Inner>, dialer: &mut Dialer, spare: Option<Generation>) -> bool {
    let mut next = spare.filter(Generation::is_up);
    for attempt in 1.. {
        let Some(inner) = connection
            .upgrade()
            .filter(|inner| !inner.ended_on_purpose())
        else {
            return false;
        };
        if let Some(next) = next.take() {
            inner.replace(next).await;
            return true;
        }
        // The connection may go while its server is away.
        drop(inner);
        match dialer.attempt().await {
            Ok(made) => next = Some(made),
            Err(error) => {
                dialer.health().warn_not_connected(&error);
                tokio::time::sleep(pause(attempt)).await;
            }
        }
    }
    false
}

/// Keeps the library's panic at a header out of the log: it is known, counted and logged by
/// [`super::health::Health::on_client_died`]. Every other panic is shown as before.
pub(super) fn quiet_known_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let place = panic.location().map(std::panic::Location::file);
            if !place.is_some_and(is_known) {
                before(panic);
            }
        }));
    });
}

/// Whether a panic in this file is the one at a header that holds a carriage return.
fn is_known(file: &str) -> bool {
    let mut parts = file.rsplit(['/', '\\']);
    parts.next() == Some("header.rs")
        && parts.next() == Some("src")
        && parts
            .next()
            .is_some_and(|package| package.starts_with("async-nats"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_known_panic_is_kept_out_of_the_log() {
        assert!(is_known(
            "/root/.cargo/registry/src/x/async-nats-0.51.0/src/header.rs"
        ));
        assert!(is_known("vendor/async-nats/src/header.rs"));
        assert!(!is_known("vendor/async-nats/src/lib.rs"));
        assert!(!is_known("host/src/header.rs"));
        assert!(!is_known("header.rs"));
    }
}
