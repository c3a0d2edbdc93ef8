//! Heartbeats of the agents on `agent.<id>.heartbeat`, and their values in AGENT_STATE.
//!
//! One task for the whole host. A value is written when something changed, at most once a second
//! per agent, and with each heartbeat, since a value that is not renewed expires.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::stream::{self, StreamExt};
use tokio::task::JoinHandle;

use crate::agents::AgentHandle;
use crate::events::lifecycle;
use crate::fleet::health;
use crate::status::AgentStatus;
use mistersmith_core::limits;
use mistersmith_core::names::AgentId;
use mistersmith_nats::{RequestId, Role, Trace};

use super::shared::Shared;

/// The interval at which changes are looked for; a value is written at most this often.
const LOOK: Duration = Duration::from_secs(1);

/// Starts the heartbeats; they end with the host's drain.
pub(crate) fn start(shared: Arc<Shared>) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut beats: HashMap<AgentId, Instant> = HashMap::new();
        let mut failing: HashMap<AgentId, u64> = HashMap::new();
        let mut clock = tokio::time::interval(LOOK);
        clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = shared.draining.cancelled() => return,
                _ = clock.tick() => {}
            }
            let agents = shared.directory.all();
            let denied = shared.transport.denials().subscriptions();
            let now = Instant::now();
            let mut due = Vec::new();
            for handle in agents {
                let subjects = denied.get(handle.plugin.as_str());
                handle.state.set_denied(subjects.map_or(&[], Vec::as_slice));
                let beat = beats
                    .get(&handle.id)
                    .is_none_or(|last| now.duration_since(*last) >= shared.spec.heartbeat);
                if beat {
                    beats.insert(handle.id.clone(), now);
                }
                let changes = handle.plugin_queue.failing_pulls.changes();
                let changed = failing.insert(handle.id.clone(), changes) != Some(changes);
                if handle.state.take_dirty() || beat || changed {
                    due.push((handle, beat));
                }
            }
            beats.retain(|id, _| shared.directory.contains(id));
            failing.retain(|id, _| shared.directory.contains(id));
            stream::iter(due)
                .for_each_concurrent(limits::STATE_WRITES, |(handle, beat)| {
                    publish(&shared, handle, beat)
                })
                .await;
        }
    })
}

async fn publish(shared: &Shared, handle: AgentHandle, beat: bool) {
    if !handle.state.fence.is_open() {
        // Another host may use this id.
        return;
    }
    if beat {
        handle.state.measure_load();
        health::ask(&handle).await;
    }
    let snapshot = handle.snapshot();
    if snapshot.status == AgentStatus::Stopped {
        // A command ended the agent, so it is unreachable.
        shared.directory.remove_same(&handle);
        return forget(shared, &handle).await;
    }
    let state = lifecycle::state(&snapshot).to_string();
    if beat {
        let headers = Trace::begin(RequestId::new()).stamped_json(Some(&handle.id));
        let subject = format!("agent.{}.heartbeat", handle.id);
        let control = shared.transport.connection(Role::Control);
        if let Err(error) = control
            .publish(&subject, None, headers, state.clone().into())
            .await
        {
            tracing::debug!(agent = %handle.id, %error, "heartbeat not sent");
        }
    }
    if let Err(error) = shared
        .kv
        .state
        .put(&state_key(&handle.id), state.into())
        .await
    {
        tracing::debug!(agent = %handle.id, %error, "AGENT_STATE not written");
        // The next check writes it.
        handle.state.mark_dirty();
    }
    // The agent may have ended, and its value been deleted, while our write was in flight.
    if handle.snapshot().status == AgentStatus::Stopped {
        forget(shared, &handle).await;
    }
}

/// Removes an agent that ended from AGENT_STATE, unless the value may be that of another host's
/// agent.
pub(crate) async fn forget(shared: &Shared, handle: &AgentHandle) {
    let id = &handle.id;
    let key = state_key(id);
    let deleted = shared.kv.state.delete(&key, None);
    if let Some(Err(error)) = handle.state.fence.guard(deleted).await {
        tracing::debug!(agent = %id, %error, "AGENT_STATE not cleared; the value expires");
    }
}

fn state_key(id: &AgentId) -> String {
    format!("agent.{id}")
}
