//! Periodic maintenance: removes unused consumers, and warns of streams that fill up, of work that
//! no consumer takes, and of work that grows too old.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use time::OffsetDateTime;
use tokio::task::JoinHandle;

use mistersmith_core::limits;
use mistersmith_core::names::subject;
use mistersmith_nats::{Connection, Role, StreamUse, TransportError};

use super::leftovers::Leftovers;
use super::payloads;
use super::seen_server::SeenServer;
use super::shared::Shared;

/// The streams whose fill level is watched, because guarantees depend on them.
const WATCHED: [&str; 6] = [
    "WORK_QUEUE",
    "RESULTS",
    "DLQ",
    "AUDIT",
    "AGENT_LIFECYCLE",
    "COORDINATION",
];

/// The fraction of a limit at which the host warns.
const FULL: f64 = 0.8;

/// Starts maintenance; ends with the host's drain.
pub(super) fn start(shared: Arc<Shared>) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut warned = Warned::default();
        let mut leftovers = Leftovers::default();
        let mut clock = tokio::time::interval(limits::UPKEEP);
        clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        // The first tick fires at once, before the plugins are loaded.
        clock.tick().await;
        let mut swept = Instant::now();
        loop {
            tokio::select! {
                () = shared.draining.cancelled() => return,
                _ = clock.tick() => look(&shared, &mut warned).await,
            }
            match leftovers
                .look(shared.transport.connection(Role::Control))
                .await
            {
                Ok(0) => {}
                Ok(removed) => tracing::warn!(
                    removed,
                    "the server still held items that were acknowledged and have a result; removed"
                ),
                Err(error) => tracing::debug!(%error, "acknowledged items not looked for"),
            }
            if swept.elapsed() < limits::CLAIM_SWEEP {
                continue;
            }
            swept = Instant::now();
            tokio::select! {
                () = shared.draining.cancelled() => return,
                done = payloads::sweep(shared.transport.connection(Role::Control)) => {
                    if let Err(error) = done {
                        tracing::debug!(%error, "stored payloads not swept");
                    }
                }
            }
        }
    })
}

/// The active warnings, so that each is logged when it begins and not every minute.
#[derive(Debug, Default)]
struct Warned(BTreeMap<String, String>);

impl Warned {
    /// Returns the text if the warning is new; a text of `None` clears the warning.
    fn is_news(&mut self, what: &str, text: Option<String>) -> Option<String> {
        match text {
            None => {
                self.0.remove(what);
                None
            }
            Some(text) if self.0.contains_key(what) => {
                self.0.insert(what.to_owned(), text);
                None
            }
            Some(text) => {
                self.0.insert(what.to_owned(), text.clone());
                Some(text)
            }
        }
    }
}

async fn look(shared: &Shared, warned: &mut Warned) {
    if let Err(error) = shared
        .consumers
        .sweep(!shared.spec.jetstream.leave_missing)
        .await
    {
        tracing::debug!(error = %format!("{error:#}"), "consumers not swept");
    }
    let connection = shared.transport.connection(Role::Control);
    if let Err(error) = shared.clock.ask(connection).await {
        tracing::debug!(%error, "the time of the server is not known");
    }
    let seen = SeenServer::new(&shared.spec.data);
    if !shared.spec.nats.servers.is_empty()
        && let Some(warning) = seen.look(&shared.transport.state())
    {
        tracing::warn!("{warning}");
    }
    for name in WATCHED {
        match filling(connection, name, shared.clock.now()).await {
            Ok(used) => {
                if let Some(text) = warned.is_news(name, warning(used)) {
                    tracing::warn!(stream = name, "{text}");
                }
            }
            Err(error) => tracing::debug!(stream = name, %error, "filling not known"),
        }
    }
    match unclaimed(connection).await {
        Ok(text) => {
            if let Some(text) = warned.is_news("unclaimed", text) {
                tracing::warn!("{text}");
            }
        }
        Err(error) => tracing::debug!(%error, "unclaimed work not known"),
    }
}

async fn filling(
    connection: &Connection,
    stream: &str,
    now: OffsetDateTime,
) -> Result<StreamUse, TransportError> {
    let mut used = connection.stream(stream)?.used(now).await?;
    // Elsewhere old messages are history; in the work queue they are unfinished work.
    if stream != "WORK_QUEUE" {
        used.age = 0.0;
    }
    Ok(used)
}

fn warning(used: StreamUse) -> Option<String> {
    let percent = |part: f64| (part * 100.0).round();
    if used.age >= FULL {
        return Some(format!(
            "the oldest work item has reached {} % of the age at which it is dropped; see `mistersmith agents`",
            percent(used.age)
        ));
    }
    (used.bytes >= FULL).then(|| format!("the stream is {} % full", percent(used.bytes)))
}

/// Work that no consumer delivers: it waits until it expires.
async fn unclaimed(connection: &Connection) -> Result<Option<String>, TransportError> {
    let view = connection.stream("WORK_QUEUE")?;
    let subjects = view
        .subjects("work.>", limits::MAX_SUBJECTS_LOOKED_AT)
        .await?;
    let consumers = view.consumers(limits::MAX_CONSUMERS).await?;
    let taken = |one: &str| {
        consumers
            .iter()
            .flat_map(|c| &c.filters)
            .any(|filter| subject::matches(filter, one))
    };
    let waiting: Vec<(&String, &u64)> = subjects.iter().filter(|(one, _)| !taken(one)).collect();
    let Some((first, _)) = waiting.first() else {
        return Ok(None);
    };
    let messages: u64 = waiting.iter().map(|(_, count)| **count).sum();
    Ok(Some(format!(
        "{messages} work items wait on {} subjects that no plugin takes, `{first}` among them; \
         see `mistersmith agents`",
        waiting.len()
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_warned_at_eighty_percent() {
        let used = |bytes, age| StreamUse { bytes, age };
        assert_eq!(warning(used(0.79, 0.79)), None);
        assert_eq!(
            warning(used(0.8, 0.0)).as_deref(),
            Some("the stream is 80 % full")
        );
        assert!(warning(used(0.0, 0.95)).is_some_and(|text| text.contains("95 %")));
    }

    #[test]
    fn the_same_thing_is_said_once_until_it_is_over() {
        let mut warned = Warned::default();
        let text = |n: u32| Some(format!("{n} % full"));
        assert!(warned.is_news("s", text(80)).is_some());
        assert!(warned.is_news("s", text(81)).is_none());
        assert!(warned.is_news("s", None).is_none());
        assert!(warned.is_news("s", text(80)).is_some());
    }
}
