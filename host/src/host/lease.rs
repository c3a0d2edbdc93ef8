//! The host's lease: `host.<host_id>` in AGENT_LEASES, renewed every third of its time.
//!
//! The host that holds the lease may use the agent ids that it has claimed. The lease is taken,
//! renewed and given up by compare-and-swap ([`crate::kv_lease`]), so of two hosts with one id (a
//! copied data folder) the second is refused. The holder counts from before each renewal was sent,
//! by its own clock, which runs on while the machine sleeps. Its agents therefore lose their rights
//! before another host can see the lease expired, whatever the server, the network or the wall
//! clock do.

mod key;
mod renewing;
mod start;
mod value;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use mistersmith_nats::Connection;
use mistersmith_runtime::LeaseTerm;

use crate::kv_lease::Clock;

use key::{BootClock, HostKey, ServerKey};
use renewing::Renewing;
pub(super) use value::Holder;

/// The bucket.
pub(super) const BUCKET: &str = "AGENT_LEASES";

/// A lease with the task that renews it.
pub(super) struct Lease {
    held: watch::Receiver<bool>,
    renewing: JoinHandle<()>,
    stop: Arc<Notify>,
    term: LeaseTerm,
}

/// The key of a host's lease.
pub(super) fn key(host: &str) -> String {
    format!("host.{host}")
}

impl Lease {
    /// Takes the lease and keeps it. Waits for the expiry of a lease that an earlier process on
    /// another machine may have left; raises `alarm` when the bucket is missing.
    ///
    /// # Errors
    /// A living host has the same id, or the server does not answer.
    pub(super) async fn take(
        connection: &Connection,
        holder: Holder,
        alarm: Arc<Notify>,
    ) -> anyhow::Result<Self> {
        let key = ServerKey::new(connection, key(&holder.host)).await?;
        Self::start(key, BootClock, holder, alarm).await
    }

    async fn start(
        key: impl HostKey + 'static,
        clock: impl Clock + 'static,
        holder: Holder,
        alarm: Arc<Notify>,
    ) -> anyhow::Result<Self> {
        let mut renewing = Renewing::new(key, clock, holder, alarm);
        renewing.acquire().await?;
        let (publish, held) = watch::channel(true);
        let (term, stop) = (renewing.term(), Arc::new(Notify::new()));
        Ok(Self {
            held,
            renewing: tokio::spawn(renewing.run(publish, stop.clone())),
            stop,
            term,
        })
    }

    /// The time until which agents may act under the lease.
    pub(super) fn term(&self) -> &LeaseTerm {
        &self.term
    }

    /// Resolves when the lease was lost (`false`) or came back (`true`).
    pub(super) async fn turned(&mut self) -> bool {
        if self.held.changed().await.is_err() {
            // The task ends only with this lease.
            std::future::pending::<()>().await;
        }
        *self.held.borrow_and_update()
    }

    /// Gives up the lease, so that other hosts need not wait for it to expire.
    pub(super) async fn give_up(mut self, limit: Duration) {
        self.stop.notify_one();
        let _ = tokio::time::timeout(limit, &mut self.renewing).await;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.renewing.abort();
    }
}

/// The error for two hosts with one id.
fn twice(id: &str, name: &str) -> String {
    let name = mistersmith_core::names::quoted(name);
    format!(
        "a host named {name} runs with the same host id `{id}`: one of the two data folders is a \
         copy of the other; fix: remove the file `host_id` from the copy, and start that host again"
    )
}

#[cfg(test)]
mod paused;
#[cfg(test)]
mod tests;
