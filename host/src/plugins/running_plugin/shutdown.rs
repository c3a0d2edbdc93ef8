//! The shutdown of a plugin on this host, or of some of its agents.

use std::time::Duration;

use futures_util::future::join_all;

use crate::agents::Agent;
use crate::status::StopReason;
use crate::work::give_back_waiting;
use mistersmith_core::limits;
use mistersmith_core::names::AgentId;

use super::{FeedTask, RunningPlugin};
use crate::host::heartbeat;

impl RunningPlugin {
    /// Stops taking, lets the agents finish within `limit`, then ends them.
    pub(in crate::plugins) async fn stop(
        mut self,
        reason: StopReason,
        limit: Duration,
    ) -> Vec<AgentId> {
        let listeners = self.listeners.drain(..).map(|listening| listening.running);
        let feeding: Vec<FeedTask> = listeners.chain(self.work.take()).collect();
        let ids: Vec<AgentId> = self.agents.keys().cloned().collect();
        let election = self.election.take();
        // Before the first await: none of our agents leads any more.
        if let Some(election) = &election {
            election.step_down();
        }
        let resigned = async {
            if let Some(election) = election {
                election.resign(limits::RESIGN.min(limit)).await;
            }
        };
        let all = async {
            join_all(feeding.into_iter().map(FeedTask::stop)).await;
            self.end(ids.clone(), reason).await;
        };
        let (ended, ()) = tokio::join!(tokio::time::timeout(limit, all), resigned);
        if ended.is_err() {
            self.cut_off().await;
        }
        let rest = give_back_waiting(&self.plugin_queue, &self.shared.deps.settler);
        // Items that are not returned in time are delivered again after the ack wait.
        let _ = tokio::time::timeout(limits::LAST_WORDS, rest).await;
        ids
    }

    /// Ends the agents at once, all of them before the first await: a server that does not answer
    /// must not keep an agent alive whose id another host may soon have.
    async fn cut_off(&mut self) {
        let agents = std::mem::take(&mut self.agents);
        let aborted = agents.iter().map(|(id, agent)| async move {
            if !agent.is_gone().await {
                tracing::warn!(agent = %id, "ended in the middle of a message, which will be delivered again");
            }
            agent.abort().await;
        });
        join_all(aborted).await;
        for id in agents.keys() {
            self.shared.directory.remove(id);
        }
        let ended = agents.values().map(Agent::handle);
        join_all(ended.map(|handle| heartbeat::forget(&self.shared, handle))).await;
    }

    /// Ends agents concurrently and removes them.
    pub(super) async fn end(&mut self, ids: Vec<AgentId>, reason: StopReason) {
        let ended = ids
            .iter()
            .filter_map(|id| self.agents.get(id))
            .map(|agent| agent.stop(reason));
        join_all(ended).await;
        for id in ids {
            let agent = self.agents.remove(&id);
            self.shared.directory.remove(&id);
            if let Some(agent) = agent {
                heartbeat::forget(&self.shared, agent.handle()).await;
            }
        }
    }
}
