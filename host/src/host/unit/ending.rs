//! The end of a plugin on this host, and of some of its agents.

use std::time::Duration;

use futures_util::future::join_all;

use crate::limits;
use crate::names::AgentId;
use crate::patterns::work_queue::give_back_waiting;

use super::super::beat;
use super::{Running, Unit};

impl Unit {
    /// Stops taking, lets the agents finish, at most for `limit`; then ends them.
    pub(in crate::host) async fn stop(
        mut self,
        reason: &'static str,
        limit: Duration,
    ) -> Vec<AgentId> {
        let listeners = self.listeners.drain(..).map(|listening| listening.running);
        let feeding: Vec<Running> = listeners.chain(self.work.take()).collect();
        let ids: Vec<AgentId> = self.agents.keys().cloned().collect();
        let election = self.election.take();
        // First of all, and before anything is waited for, nobody of ours leads any more.
        if let Some(election) = &election {
            election.vacate();
        }
        let resigned = async {
            if let Some(election) = election {
                election.resign(limits::RESIGN.min(limit)).await;
            }
        };
        let all = async {
            join_all(feeding.into_iter().map(Running::stop)).await;
            self.end(ids.clone(), reason).await;
        };
        let (ended, ()) = tokio::join!(tokio::time::timeout(limit, all), resigned);
        if ended.is_err() {
            self.cut_off().await;
        }
        let rest = give_back_waiting(&self.crew, &self.shared.around.settler);
        // What is not handed back in time comes back after the ack wait.
        let _ = tokio::time::timeout(limits::LAST_WORDS, rest).await;
        ids
    }

    /// Ends the agents now. All of them before anything is waited for: a server that does not answer
    /// must not keep one alive whose id another host may soon have.
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
        join_all(agents.keys().map(|id| beat::forget(&self.shared, id))).await;
    }

    /// Ends agents and forgets them, together.
    pub(super) async fn end(&mut self, ids: Vec<AgentId>, reason: &'static str) {
        let ended = ids
            .iter()
            .filter_map(|id| self.agents.get(id))
            .map(|agent| agent.stop(reason));
        join_all(ended).await;
        for id in ids {
            self.agents.remove(&id);
            self.shared.directory.remove(&id);
            beat::forget(&self.shared, &id).await;
        }
    }
}
