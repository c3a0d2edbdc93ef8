//! What is looked after now and then: consumers that nobody needs any longer, streams that fill
//! up, work that nobody takes or that grows too old.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use time::OffsetDateTime;
use tokio::task::JoinHandle;

use crate::limits;
use crate::names::subject;
use crate::transport::{Link, Role, StreamUse, TransportError};

use super::{Shared, payloads};

/// The streams whose filling is watched: what promises rest on.
const WATCHED: [&str; 6] = [
    "WORK_QUEUE",
    "RESULTS",
    "DLQ",
    "AUDIT",
    "AGENT_LIFECYCLE",
    "COORDINATION",
];

/// The part of a limit from which it is warned of.
const FULL: f64 = 0.8;

/// Starts to look after things; ends with the host's drain.
pub(super) fn start(shared: Arc<Shared>) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut warned = Warned::default();
        let mut clock = tokio::time::interval(limits::UPKEEP);
        clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        // The first tick is at once, when the plugins are not loaded yet.
        clock.tick().await;
        let mut swept = Instant::now();
        loop {
            tokio::select! {
                () = shared.draining.cancelled() => return,
                _ = clock.tick() => look(&shared, &mut warned).await,
            }
            if swept.elapsed() < limits::CLAIM_SWEEP {
                continue;
            }
            swept = Instant::now();
            tokio::select! {
                () = shared.draining.cancelled() => return,
                done = payloads::sweep(shared.transport.link(Role::Control)) => {
                    if let Err(error) = done {
                        tracing::debug!(%error, "stored payloads not swept");
                    }
                }
            }
        }
    })
}

/// What was said already, so that each thing is said when it begins and not every minute.
#[derive(Debug, Default)]
struct Warned(BTreeMap<String, String>);

impl Warned {
    /// Whether this is news; `None` says that there is nothing to warn of any more.
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
    if let Err(error) = shared.consumers.sweep().await {
        tracing::debug!(error = %format!("{error:#}"), "consumers not swept");
    }
    let link = shared.transport.link(Role::Control);
    if let Err(error) = shared.clock.ask(link).await {
        tracing::debug!(%error, "the time of the server is not known");
    }
    for name in WATCHED {
        match filling(link, name, shared.clock.now()).await {
            Ok(used) => {
                if let Some(text) = warned.is_news(name, warning(used)) {
                    tracing::warn!(stream = name, "{text}");
                }
            }
            Err(error) => tracing::debug!(stream = name, %error, "filling not known"),
        }
    }
    match unclaimed(link).await {
        Ok(text) => {
            if let Some(text) = warned.is_news("unclaimed", text) {
                tracing::warn!("{text}");
            }
        }
        Err(error) => tracing::debug!(%error, "unclaimed work not known"),
    }
}

async fn filling(
    link: &Link,
    stream: &str,
    now: OffsetDateTime,
) -> Result<StreamUse, TransportError> {
    let mut used = link.stream(stream)?.used(now).await?;
    // Elsewhere old messages are history; in the work queue they are work that was not done.
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

/// Work that no consumer delivers: it waits until it is too old.
async fn unclaimed(link: &Link) -> Result<Option<String>, TransportError> {
    let view = link.stream("WORK_QUEUE")?;
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
