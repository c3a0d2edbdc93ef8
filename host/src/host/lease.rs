//! The host's lease: `host.<host_id>` in AGENT_LEASES, renewed every third of its time.
//!
//! Who holds the lease may use the agent ids it has claimed. The holder counts by its own
//! monotonic clock, from before each renewal was sent: it stops its agents before another host can
//! see the lease expired, whatever the server, the network or the wall clock do.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::limits;
use crate::names::HostId;
use crate::transport::{Kv, TransportError};

use crate::patterns::lifecycle::now;

/// A lease that is being renewed.
pub(super) struct Lease {
    held: watch::Receiver<bool>,
    task: JoinHandle<()>,
    kv: Kv,
    key: String,
}

/// The key of a host's lease.
pub(super) fn key(host: &str) -> String {
    format!("host.{host}")
}

impl Lease {
    /// Takes the lease and keeps it. The data folder is locked, so a lease of our own id that is
    /// still there is that of our own predecessor.
    pub(super) async fn take(kv: Kv, host: &HostId, name: &str) -> Result<Self, TransportError> {
        let key = key(host.as_str());
        let begun = Instant::now();
        let value = |term: u64| {
            json!({"host_id": host.as_str(), "name": name, "term": term, "renewed_at": now()})
                .to_string()
        };
        // The term is the revision of the write that took the lease; the value has it from the
        // first renewal on.
        let term = kv.put(&key, value(0).into()).await?;
        let revision = term;
        let (tell, held) = watch::channel(true);
        let renewing = Renewing {
            kv: kv.clone(),
            key: key.clone(),
            host: host.as_str().to_owned(),
            name: name.to_owned(),
            term,
            revision,
            renewed: begun,
        };
        Ok(Self {
            held,
            task: tokio::spawn(renewing.run(tell)),
            kv,
            key,
        })
    }

    /// Resolves when the lease was lost (`false`) or came back (`true`).
    pub(super) async fn turned(&mut self) -> bool {
        if self.held.changed().await.is_err() {
            // The task ends only with this lease.
            std::future::pending::<()>().await;
        }
        *self.held.borrow_and_update()
    }

    /// Gives the lease up, so that other hosts need not wait for it to expire.
    pub(super) async fn give_up(self, limit: Duration) {
        self.task.abort();
        let _ = tokio::time::timeout(limit, self.kv.delete(&self.key, None)).await;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Renewing {
    kv: Kv,
    key: String,
    host: String,
    name: String,
    term: u64,
    /// Of our last write: a renewal counts only if nothing came after it.
    revision: u64,
    renewed: Instant,
}

/// What came of one renewal.
enum Renewal {
    /// It began then, and was written with this revision.
    Done(Instant, u64),
    /// Nobody knows.
    Failed,
    /// Our last write is gone: the lease had expired, or somebody else has written it.
    Lost,
}

impl Renewing {
    async fn run(mut self, tell: watch::Sender<bool>) {
        let mut held = true;
        let mut wait = limits::LEASE_RENEWAL;
        loop {
            let left = limits::LEASE_SAFE.saturating_sub(self.renewed.elapsed());
            let renewal = async {
                tokio::time::sleep(wait).await;
                self.renew(held).await
            };
            // While the lease is held, losing it is noticed on time even if no answer ever comes.
            let renewed = if held {
                let renewed = tokio::time::timeout(left, renewal).await;
                renewed.unwrap_or(Renewal::Failed)
            } else {
                renewal.await
            };
            let lost = matches!(renewed, Renewal::Lost);
            if let Renewal::Done(begun, revision) = renewed {
                self.renewed = begun;
                self.revision = revision;
                if !held {
                    self.term = revision;
                }
                wait = limits::LEASE_RENEWAL;
            } else {
                wait = limits::LEASE_RETRY;
            }
            let now_held = !lost && self.renewed.elapsed() < limits::LEASE_SAFE;
            if now_held != held {
                held = now_held;
                let _ = tell.send(held);
            }
        }
    }

    /// Renews once. A lease that was lost is acquired anew, and the revision of that write is its
    /// term. One that is held is renewed only on top of our own last write: a clock that stood still
    /// (a machine that slept) does not notice that the lease has expired, but the server does.
    async fn renew(&self, held: bool) -> Renewal {
        let begun = Instant::now();
        let term = if held { self.term } else { 0 };
        let value =
            json!({"host_id": self.host, "name": self.name, "term": term, "renewed_at": now()});
        let value = value.to_string().into();
        let written = if held {
            self.kv.update(&self.key, value, self.revision).await
        } else {
            self.kv.put(&self.key, value).await
        };
        match written {
            Ok(revision) => Renewal::Done(begun, revision),
            Err(TransportError::Conflict) if held => {
                tracing::error!(
                    "the host's lease had expired, or another host with a copy of this data folder has taken it"
                );
                Renewal::Lost
            }
            Err(error) => {
                tracing::warn!(%error, "the host's lease was not renewed; trying again");
                Renewal::Failed
            }
        }
    }
}
