//! The task that takes the host's lease, renews it, and takes it again after a loss.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::sync::{Notify, watch};

use mistersmith_core::limits;
use mistersmith_core::telemetry::Repeats;
use mistersmith_nats::{TransportError, retry};
use mistersmith_runtime::LeaseTerm;

use super::key::HostKey;
use super::start::{Start, StartDecision};
use super::twice;
use super::value::{Holder, Writer, name};
use crate::kv_lease::{Clock, Conflict, KvLease, Late, Renewal, Rules};

/// The interval at which a continuing renewal failure is logged.
const REPEAT: Duration = Duration::from_secs(10);

/// The rules of a host's lease. A conflict is examined, since the bucket may have been lost and
/// created again. A late answer counts: restarting all agents gains nothing while the server
/// confirms that the key was ours throughout.
const RULES: Rules = Rules {
    safe: limits::LEASE_SAFE,
    renewal: limits::LEASE_RENEWAL,
    retry: limits::LEASE_RETRY,
    late: Late::GoesOn,
    conflict: Conflict::IsExamined,
};

pub(super) struct Renewing<P, C> {
    lease: KvLease<P, C>,
    writer: Writer,
    /// The creation time of the bucket that holds the lease.
    made: String,
    /// Ends two seconds after the lease counts as lost; agents end in that time.
    term: LeaseTerm,
    /// Raised when the bucket is missing.
    alarm: Arc<Notify>,
    failures: Repeats,
}

impl<P: HostKey, C: Clock> Renewing<P, C> {
    pub(super) fn new(key: P, clock: C, holder: Holder, alarm: Arc<Notify>) -> Self {
        Self {
            lease: KvLease::new(key, clock, RULES),
            writer: Writer::new(holder),
            made: String::new(),
            term: LeaseTerm::until(Duration::ZERO),
            alarm,
            failures: Repeats::new(REPEAT),
        }
    }

    pub(super) fn term(&self) -> LeaseTerm {
        self.term.clone()
    }

    /// Takes the lease for a process that starts.
    pub(super) async fn acquire(&mut self) -> anyhow::Result<()> {
        self.made = retry(limits::LEASE_WATCH, || self.lease.port().bucket_made()).await?;
        let mut start = Start::default();
        loop {
            let begun = self.lease.now();
            let found = retry(limits::LEASE_WATCH, || self.lease.read()).await?;
            let over = match start.judge(found.as_ref(), &self.writer, begun) {
                StartDecision::Take(over) => over,
                StartDecision::Refuse(name) => {
                    bail!("{}", twice(&self.writer.holder().host, &name))
                }
                StartDecision::Wait(first) => {
                    if let Some(host) = first {
                        tracing::info!(
                            host,
                            "the lease of this host id is not over yet; waiting until it has \
                             expired, or a living host has renewed it"
                        );
                    }
                    tokio::time::sleep(limits::LEASE_LOOK).await;
                    continue;
                }
            };
            let taken = self.lease.take(self.writer.value(0), over).await;
            if taken.context("the lease cannot be written")? {
                self.begins();
                return Ok(());
            }
            // Another host wrote first: the next read shows which.
        }
    }

    /// Starts a new term of the lease.
    fn begins(&self) {
        // The fences of an earlier lease stay closed.
        self.term.end();
        self.extends();
    }

    fn extends(&self) {
        if let Some(held) = self.lease.held() {
            self.term.extend(held.sent + limits::LEASE_TERM);
        }
    }

    /// Renews the lease, or takes it again, until stopped; then gives it up.
    pub(super) async fn run(mut self, publish: watch::Sender<bool>, stop: Arc<Notify>) {
        let mut held = true;
        loop {
            let next = async {
                if held {
                    self.keep().await;
                } else {
                    tokio::time::sleep(self.lease.pause()).await;
                    // The next read shows whether its write was stored.
                    let _ = tokio::time::timeout(RULES.safe, self.retake()).await;
                }
            };
            tokio::select! {
                () = next => {}
                () = stop.notified() => return self.give_up().await,
            }
            let now_held = self.lease.is_held();
            if now_held != held {
                held = now_held;
                let _ = publish.send(held);
            }
        }
    }

    /// Waits until a renewal is due, then renews once. Returns on time when the lease ends, even if
    /// no answer ever arrives.
    async fn keep(&mut self) {
        let (pause, left) = (self.lease.pause(), self.lease.left());
        if left <= pause {
            return tokio::time::sleep(left).await;
        }
        tokio::time::sleep(pause).await;
        let value = self.writer.value(self.first());
        match self.lease.renew(value).await {
            Renewal::Renewed => self.extends(),
            Renewal::Recognised => {}
            Renewal::Failed(error) => self.failed(&error),
            Renewal::Lost => {
                tracing::error!(
                    "another host with a copy of this data folder has taken the host's lease"
                );
                self.term.end();
            }
            Renewal::Gone { begun } => {
                let patience = self.lease.patience();
                let restored = tokio::time::timeout(patience, self.restore(begun)).await;
                if let Err(error) = restored.unwrap_or(Err(TransportError::Timeout)) {
                    self.failed(&error);
                }
            }
        }
    }

    /// The revision of the write that took the lease.
    fn first(&self) -> u64 {
        self.lease.held().map_or(0, |held| held.first)
    }

    /// Handles a missing key. A lease that was lost with its bucket, and not by time, goes on;
    /// `holding` checks the claims.
    async fn restore(&mut self, begun: Duration) -> Result<(), TransportError> {
        let made = self.lease.port().bucket_made().await?;
        if made == self.made {
            tracing::error!("the host's lease had expired");
            self.lease.lose();
            self.term.end();
            return Ok(());
        }
        let value = self.writer.value(self.first());
        self.lease.restore(value, begun).await?;
        self.made = made;
        self.extends();
        Ok(())
    }

    /// Takes a lost lease again.
    async fn retake(&mut self) {
        match self.try_retake().await {
            Ok(true) => self.begins(),
            Ok(false) => {}
            Err(error) => self.failed(&error),
        }
    }

    async fn try_retake(&mut self) -> Result<bool, TransportError> {
        let made = self.lease.port().bucket_made().await?;
        let over = match self.lease.read().await? {
            None => None,
            Some(entry) if self.lease.has_sent(&entry.value) => Some(entry.revision),
            Some(entry) => {
                if self.failures.due("twice").is_some() {
                    let host = &self.writer.holder().host;
                    tracing::error!("{}", twice(host, &name(&entry.value)));
                }
                return Ok(false);
            }
        };
        self.made = made;
        self.lease.take(self.writer.value(0), over).await
    }

    fn failed(&mut self, error: &TransportError) {
        if let TransportError::NotFound(_) = error {
            self.alarm.notify_one();
        }
        if let Some(times) = self.failures.due("not renewed") {
            tracing::warn!(%error, times, "the host's lease was not renewed; trying again");
        }
    }

    async fn give_up(&mut self) {
        self.term.end();
        if let Err(error) = self.lease.give_up().await {
            tracing::debug!(%error, "the lease was not given up; it expires");
        }
    }
}
