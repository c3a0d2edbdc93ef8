//! Recreates streams and buckets that JetStream lost while this host runs, and writes the values
//! that living hosts know back into them.
//!
//! A check costs one request. A stream that is missing for some seconds, over connections that do
//! not break, is created (`provision::Needs`), and that is logged once. Every host recognises a new
//! bucket by its creation time and writes what only it knows: the pauses and the configuration of
//! its agents, their states, the terms of elections. `provision::ConsumerClaims` takes care of
//! consumers, `holding` of claims, `lease` of the lease. With `[jetstream] heal = false` the host
//! only reports what is missing, so that a backup can be restored.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use serde_json::json;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::election::raise_term;
use crate::events::audit;
use mistersmith_core::limits;
use mistersmith_core::names::Bucket;
use mistersmith_nats::{Role, TransportError};

use super::healing_record::overrides_made;
use super::shared::Shared;

/// Starts the checks; they end with the host's drain. A raised `alarm` triggers one at once.
pub(super) fn start(shared: Arc<Shared>, alarm: Arc<Notify>) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut healing = Healing::default();
        loop {
            let look = healing.look(&shared);
            tokio::select! {
                () = shared.draining.cancelled() => return,
                looked = look => if let Err(error) = looked {
                    tracing::debug!(%error, "not known whether JetStream has lost anything");
                }
            }
            tokio::select! {
                () = shared.draining.cancelled() => return,
                () = tokio::time::sleep(healing.pause()) => {}
                () = alarm.notified() => {}
            }
        }
    })
}

/// The findings of one host's checks.
#[derive(Default)]
struct Healing {
    /// The names missing in the last check, each with the time since when.
    suspected: BTreeMap<String, Instant>,
    /// The number of reconnects at that time: a break between two checks proves nothing.
    reconnects: u64,
    /// The names reported already.
    said: BTreeSet<String>,
    /// Values that this host knows may be missing.
    due: bool,
    /// The time of the last check of values.
    looked: Option<Instant>,
}

impl Healing {
    /// The wait until the next check.
    fn pause(&self) -> std::time::Duration {
        if self.suspected.is_empty() {
            limits::HEAL_LOOK
        } else {
            limits::HEAL_LOOK_AGAIN
        }
    }

    async fn look(&mut self, shared: &Shared) -> Result<(), TransportError> {
        let healing_record = &shared.healing_record;
        healing_record.note(&shared.directory);
        let granted = healing_record.granted();
        let missing = healing_record
            .needs
            .missing(&shared.transport, &granted)
            .await?;
        let confirmed = self.confirm(missing, breaks(shared));
        if self.make_again(shared, &granted, &confirmed).await {
            self.due = true;
        }
        let long_ago = |at: Instant| at.elapsed() >= limits::UPKEEP;
        if self.due || self.looked.is_none_or(long_ago) {
            self.write_again(shared).await?;
            self.looked = Some(Instant::now());
            self.due = false;
        }
        Ok(())
    }

    /// The names that have been missing for long enough, over connections that did not break.
    fn confirm(&mut self, missing: BTreeSet<String>, reconnects: u64) -> BTreeSet<String> {
        if std::mem::replace(&mut self.reconnects, reconnects) != reconnects {
            self.suspected.clear();
            self.due = true;
        }
        let suspects = self.suspected.len();
        self.suspected.retain(|name, _| missing.contains(name));
        // Another host or a person has created it meanwhile.
        self.due |= self.suspected.len() < suspects;
        let now = Instant::now();
        for name in missing {
            self.suspected.entry(name).or_insert(now);
        }
        if self.suspected.is_empty() {
            self.said.clear();
        }
        let old = |(name, since): (&String, &Instant)| {
            (now.duration_since(*since) >= limits::HEAL_CONFIRM).then(|| name.clone())
        };
        self.suspected.iter().filter_map(old).collect()
    }

    /// Creates missing streams and buckets; returns whether any was created.
    async fn make_again(
        &mut self,
        shared: &Shared,
        granted: &BTreeSet<Bucket>,
        streams: &BTreeSet<String>,
    ) -> bool {
        if streams.is_empty() {
            return false;
        }
        let needs = &shared.healing_record.needs;
        if shared.spec.jetstream.leave_missing {
            let titles = streams.iter().map(|stream| needs.title(granted, stream));
            let names = titles.collect::<Vec<_>>().join(", ");
            if self.said.insert(names.clone()) {
                tracing::warn!(
                    "JetStream has lost: {names}; not made again, because [jetstream] heal is false"
                );
            }
            return false;
        }
        let made = match needs.make_again(&shared.transport, granted, streams).await {
            Ok(made) => made,
            Err(error) => {
                self.cannot(error.to_string());
                return false;
            }
        };
        for line in made.refused {
            self.cannot(line);
        }
        if made.names.is_empty() {
            return false;
        }
        let names = made.names.join(", ");
        tracing::warn!("JetStream had lost: {names}; made again, empty");
        let entry = json!({"made": made.names});
        shared.deps.events.audit(audit::HEALED, entry);
        true
    }

    fn cannot(&mut self, why: String) {
        if !self.said.contains(&why) {
            tracing::error!(
                "JetStream has lost what this host needs, and it cannot be made again: {why}"
            );
            self.said.insert(why);
        }
    }

    /// Writes the values that this host knows into buckets that were replaced.
    async fn write_again(&self, shared: &Shared) -> Result<(), TransportError> {
        let bucket = overrides_made(shared.transport.connection(Role::Control)).await?;
        for handle in shared.directory.all() {
            let overrides = handle.state.overrides();
            let lost = shared.healing_record.memory().is_lost(&handle.id, &bucket);
            if lost {
                let restored = overrides.restore(&shared.kv.config, &handle.id);
                let restored = handle.state.fence.guard(restored).await;
                restored.transpose()?;
            }
            if handle.state.fence.is_open() {
                let mut memory = shared.healing_record.memory();
                memory.saw(&handle.id, overrides, &bucket);
            }
        }
        shared.healing_record.memory().looked(&bucket);
        if self.due {
            shared
                .directory
                .all()
                .iter()
                .for_each(|handle| handle.state.mark_dirty());
            raise_terms(shared).await?;
            let swept = shared.consumers.sweep(!shared.spec.jetstream.leave_missing);
            swept
                .await
                .map_err(|error| TransportError::Other(format!("{error:#}")))?;
        }
        Ok(())
    }
}

/// How often a connection was lost and came back or was replaced.
fn breaks(shared: &Shared) -> u64 {
    let state = shared.transport.state();
    state.reconnects.saturating_add(state.revivals)
}

/// Raises the records of terms to the newest terms that this host has seen.
async fn raise_terms(shared: &Shared) -> Result<(), TransportError> {
    let terms = shared.healing_record.memory().terms().clone();
    for (domain, term) in terms {
        raise_term(&shared.kv.claims, &domain, term).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(ToString::to_string).collect()
    }

    fn long_ago() -> Instant {
        let now = Instant::now();
        now.checked_sub(limits::HEAL_CONFIRM).unwrap_or(now)
    }

    #[test]
    fn a_stream_that_is_missing_once_is_not_made_yet() {
        let mut healing = Healing::default();
        assert_eq!(healing.confirm(set(&["A", "B"]), 0), set(&[]));
        assert_eq!(healing.pause(), limits::HEAL_LOOK_AGAIN);
        for since in healing.suspected.values_mut() {
            *since = long_ago();
        }
        assert!(!healing.due);
        // One name that is newly missing, and one that is back.
        assert_eq!(healing.confirm(set(&["B", "C"]), 0), set(&["B"]));
        assert!(std::mem::take(&mut healing.due), "somebody made one");
        // Checks from before a connection broke do not count.
        assert_eq!(healing.confirm(set(&["B", "C"]), 1), set(&[]));
        assert!(healing.due);
        assert_eq!(healing.confirm(set(&[]), 1), set(&[]));
        assert_eq!(healing.pause(), limits::HEAL_LOOK);
    }
}
