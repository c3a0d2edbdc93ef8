//! Checks the claims of this host while its agents use them.
//!
//! A living host can lose a claim: the bucket was lost and another host was faster, or somebody
//! changed the key by hand. The agent then ends at once: its fence is closed here, and its plugin
//! takes another id (`plugins/running_plugin/supervise`). An unclaimed id is claimed again.

use std::sync::Arc;
use std::time::Instant;

use tokio::task::JoinHandle;

use mistersmith_core::limits;
use mistersmith_core::names::AgentId;
use mistersmith_nats::{Fingerprint, Role, StreamView, TransportError};

use super::claims;
use super::shared::Shared;

/// The claims on ids, as opposed to those on consumers.
const CLAIMS: &str = "$KV.AGENT_CLAIMS.*";

/// Starts the checks; they end with the host's drain.
pub(super) fn start(shared: Arc<Shared>) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut holding = Holding::default();
        let mut clock = tokio::time::interval(limits::HOLD_LOOK);
        clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = shared.draining.cancelled() => return,
                _ = clock.tick() => {}
            }
            if let Err(error) = holding.check(&shared).await {
                tracing::debug!(%error, "claims not checked");
            }
            if let Err(error) = shared.consumers.note_floors().await {
                tracing::debug!(%error, "progress of stages not recorded");
            }
        }
    })
}

/// The state of the bucket at the last check.
#[derive(Debug, Default)]
struct Holding {
    /// Its fingerprint at the last check, and the time when all claims were last checked.
    seen: Option<(Fingerprint, Instant)>,
}

impl Holding {
    /// Checks the claims: all of them when the bucket was replaced or a full check is due;
    /// otherwise those written since the last check, most of which are other hosts'.
    async fn check(&mut self, shared: &Shared) -> Result<(), TransportError> {
        let bucket = format!("KV_{}", claims::BUCKET);
        let view = shared.transport.connection(Role::Control).stream(&bucket)?;
        let now = view.fingerprint().await?;
        if shared.term.left().is_zero() {
            return Ok(());
        }
        // Includes ids whose agents are still to be started, after the lease was lost.
        let mut ids = shared.claims.mine.all();
        let mut at = Instant::now();
        if let Some((seen, checked)) = &self.seen {
            if *seen == now {
                return Ok(());
            }
            if seen.created != now.created {
                shared.claims.neighbours.forget();
            } else if checked.elapsed() < limits::UPKEEP {
                ids = written(&view, seen.last() + 1, &ids).await?;
                at = *checked;
            }
        }
        let lost = shared.claims.keep(ids).await?;
        shared.claims.mine.lost(&lost);
        let agents = shared.directory.all();
        for agent in agents.iter().filter(|agent| lost.contains(&agent.id)) {
            tracing::error!(agent = %agent.id,
                "another host has this agent's id; the agent ends here, and its plugin takes another id");
            agent.state.fence.revoke();
        }
        self.seen = Some((now, at));
        Ok(())
    }
}

/// Those of the ids whose claims were written from a sequence on; after many writes, all of them.
async fn written(
    view: &StreamView,
    mut from: u64,
    ids: &[AgentId],
) -> Result<Vec<AgentId>, TransportError> {
    let mut found = Vec::new();
    for _ in 0..limits::MAX_CLAIMS_READ {
        let Some(claim) = view.next(from, CLAIMS).await? else {
            return Ok(found);
        };
        from = claim.sequence.saturating_add(1);
        let id = claim.subject.rsplit('.').next();
        found.extend(ids.iter().find(|one| id == Some(one.as_str())).cloned());
    }
    Ok(ids.to_vec())
}
