//! The pulse of the agents: `agent.<id>.heartbeat`, and the values in AGENT_STATE.
//!
//! One task for the whole host. A value is written when something changed, at most once a second
//! per agent, and with each heartbeat, since a value that is not renewed expires.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::stream::{self, StreamExt};
use tokio::task::JoinHandle;

use crate::limits;
use crate::names::AgentId;
use crate::patterns::{AgentPort, health, lifecycle};
use crate::status::AgentStatus;
use crate::transport::{Headers, RequestId, Role, Trace};

use super::Shared;

/// How often changes are looked for; a value is written at most this often.
const LOOK: Duration = Duration::from_secs(1);

/// Starts the pulse; it ends with the host's drain.
pub(super) fn start(shared: Arc<Shared>) -> JoinHandle<()> {
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
            let now = Instant::now();
            let mut due = Vec::new();
            for port in agents {
                let beat = beats
                    .get(&port.id)
                    .is_none_or(|last| now.duration_since(*last) >= shared.spec.heartbeat);
                if beat {
                    beats.insert(port.id.clone(), now);
                }
                let changes = port.crew.failing_pulls.changes();
                let changed = failing.insert(port.id.clone(), changes) != Some(changes);
                if port.cell.take_dirty() || beat || changed {
                    due.push((port, beat));
                }
            }
            beats.retain(|id, _| shared.directory.contains(id));
            failing.retain(|id, _| shared.directory.contains(id));
            stream::iter(due)
                .for_each_concurrent(limits::STATE_WRITES, |(port, beat)| {
                    tell(&shared, port, beat)
                })
                .await;
        }
    })
}

async fn tell(shared: &Shared, port: AgentPort, beat: bool) {
    if beat {
        port.cell.measure_load();
        health::ask(&port).await;
    }
    let snapshot = port.snapshot();
    if snapshot.status == AgentStatus::Stopped {
        // A command ended it: nobody reaches it any longer.
        shared.directory.remove_same(&port);
        return forget(shared, &port.id).await;
    }
    let state = lifecycle::state(&snapshot).to_string();
    if beat {
        let mut headers = Headers::default();
        headers.set("Content-Type", "application/json");
        Trace::begin(RequestId::new()).stamp(Some(&port.id), &mut headers);
        let subject = format!("agent.{}.heartbeat", port.id);
        let control = shared.transport.link(Role::Control);
        if let Err(error) = control
            .publish(&subject, None, headers, state.clone().into())
            .await
        {
            tracing::debug!(agent = %port.id, %error, "heartbeat not sent");
        }
    }
    if let Err(error) = shared
        .kv
        .state
        .put(&state_key(&port.id), state.into())
        .await
    {
        tracing::debug!(agent = %port.id, %error, "AGENT_STATE not written");
        // Still worth telling.
        port.cell.mark_dirty();
    }
    // The agent may have ended, and its value been deleted, while ours was on its way.
    if port.snapshot().status == AgentStatus::Stopped {
        forget(shared, &port.id).await;
    }
}

/// Takes an agent that ended out of AGENT_STATE.
pub(super) async fn forget(shared: &Shared, id: &AgentId) {
    if let Err(error) = shared.kv.state.delete(&state_key(id), None).await {
        tracing::debug!(agent = %id, %error, "AGENT_STATE not cleared; the value expires");
    }
}

fn state_key(id: &AgentId) -> String {
    format!("agent.{id}")
}
