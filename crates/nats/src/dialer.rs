//! Makes the clients of one connection: the first one, and those that replace it.
//!
//! Secrets are read from their files at each attempt to connect, also at the library's own: files
//! are replaced while a host runs, and a secret that was read once would be refused after that.

mod login;
mod plan;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use async_nats::{ConnectError, ConnectOptions};
use mistersmith_core::backoff;
use tokio::sync::mpsc;

use super::generation::{Generation, TaskEndGuard};
use super::health::{Health, REPEAT_TROUBLE};
use super::{ConnectSpec, TransportError};
use plan::{Plan, explain, is_final, tls};

/// How often an idle connection is checked. Two unanswered checks break it: a dead server is
/// noticed in half a minute.
const PING: Duration = Duration::from_secs(10);
/// How long one attempt to connect may take.
const ATTEMPT: Duration = Duration::from_secs(5);
/// Messages that the client library queues for one subscription before it drops. Its task reads up
/// to 8 MiB (128 times 64 KiB) before another task has its turn: as many small messages have room
/// here. It costs nothing while they are not there, and our own tasks move them on, to where bytes
/// are counted.
const SUBSCRIPTION_CAPACITY: usize = 262_144;
/// Commands that the client library queues for the socket before a publish waits.
const SEND_CAPACITY: usize = 2_048;
/// The pause before the second attempt to connect, with jitter.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// Longest pause between two attempts to connect.
const MAX_PAUSE: Duration = Duration::from_secs(4);

/// Dials the clients of one connection: the first one, and those that replace it.
pub(super) struct Dialer {
    spec: ConnectSpec,
    plan: Plan,
    name: String,
    /// The prefix of all subjects on which this connection alone listens.
    inbox: String,
    health: Arc<Health>,
    /// Told of the number of each client that has ended.
    ends: mpsc::UnboundedSender<u64>,
    made: u64,
}

impl Dialer {
    /// A dialer that has made no client yet; `ends` receives the number of each client that ends.
    pub(super) fn new(
        spec: &ConnectSpec,
        name: String,
        health: Health,
        ends: mpsc::UnboundedSender<u64>,
    ) -> Result<Self, TransportError> {
        Ok(Self {
            spec: spec.clone(),
            plan: Plan::new(spec)?,
            name,
            inbox: format!("_INBOX.{}", nuid::next()),
            health: Arc::new(health),
            ends,
            made: 0,
        })
    }

    pub(super) fn health(&self) -> &Arc<Health> {
        &self.health
    }

    /// Connects once.
    pub(super) async fn attempt(&mut self) -> Result<Generation, TransportError> {
        // Read here first: the library's own error would not name the file.
        login::read(&self.spec.auth, self.plan.login.as_ref()).await?;
        self.connect().await?.map_err(|error| {
            let text = explain(&error, &self.plan);
            match is_final(&error) {
                true => TransportError::Denied(text),
                false => TransportError::Unavailable(text),
            }
        })
    }

    async fn connect(&mut self) -> Result<Result<Generation, ConnectError>, TransportError> {
        self.made += 1;
        let flags = Arc::default();
        let task_end = TaskEndGuard::new(self.made, &flags, &self.ends);
        let options = self.options(task_end).await?;
        let connected = options.connect(self.plan.urls.as_slice()).await;
        Ok(connected.map(|client| Generation::new(client, self.made, flags)))
    }

    /// Connects for the first time, with patience.
    pub(super) async fn first(&mut self) -> Result<Generation, TransportError> {
        let start = Instant::now();
        let mut logged: Option<(String, Instant)> = None;
        for attempt in 1.. {
            let text = match self.attempt().await {
                Err(TransportError::Unavailable(text)) => text,
                done => return done,
            };
            let over = |patience| start.elapsed() >= patience;
            if self.spec.patience.is_some_and(over) {
                return Err(TransportError::Unavailable(text));
            }
            if logged
                .as_ref()
                .is_none_or(|(before, at)| *before != text || at.elapsed() >= REPEAT_TROUBLE)
            {
                tracing::warn!(connection = self.name, "{text}; trying again");
                logged = Some((text, Instant::now()));
            }
            tokio::time::sleep(pause(attempt)).await;
        }
        Err(TransportError::disconnected())
    }

    async fn options(&self, task_end: TaskEndGuard) -> Result<ConnectOptions, TransportError> {
        let (health, plan) = (Arc::clone(&self.health), &self.plan);
        let mut options = login::options(&self.spec.auth, plan.login.as_ref(), &self.health)
            .name(&self.name)
            .custom_inbox_prefix(&self.inbox)
            .ping_interval(PING)
            .connection_timeout(ATTEMPT)
            .subscription_capacity(SUBSCRIPTION_CAPACITY)
            .client_capacity(SEND_CAPACITY)
            .read_buffer_capacity(u16::MAX)
            .max_reconnects(None)
            .reconnect_delay_callback(pauses())
            .require_tls(plan.require_tls)
            .event_callback(move |event| {
                // Held by the callback, and dropped with it when nobody serves the client any more.
                if task_end.is_in_use() {
                    health.on_event(&event);
                }
                std::future::ready(())
            });
        if !plan.discover {
            options = options.ignore_discovered_servers();
        }
        tls(options, self.spec.tls.as_ref()).await
    }
}

/// The pauses before the attempts of one connection: none before its very first.
fn pauses() -> impl Fn(usize) -> Duration + Send + Sync + 'static {
    let begun = AtomicBool::new(false);
    move |attempt| match begun.swap(true, Ordering::Relaxed) {
        false => Duration::ZERO,
        true => pause(attempt),
    }
}

/// The pause before an attempt.
pub(super) fn pause(attempt: usize) -> Duration {
    let before = u32::try_from(attempt.saturating_sub(1)).unwrap_or(u32::MAX);
    backoff::pause(FIRST_PAUSE, MAX_PAUSE, before)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_very_first_attempt_begins_at_once() {
        let pause = pauses();
        assert_eq!(pause(1), Duration::ZERO);
        assert!(pause(1) > Duration::ZERO, "after a break");
    }

    #[test]
    fn pauses_grow_to_their_bound() {
        assert!(pause(1) <= Duration::from_millis(100));
        for attempt in [0, 5, 50, usize::MAX] {
            assert!(pause(attempt) <= MAX_PAUSE);
        }
    }
}
