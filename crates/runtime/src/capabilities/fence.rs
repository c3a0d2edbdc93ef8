//! The fence of an agent: each effect checks that the host still owns the agent's id.
//!
//! An id belongs to one host, while that host's lease lives and the claim on the id is its own. A
//! suspended process or machine continues in the middle of a call when another host may own the id
//! already; so the fence is checked against the clock at each effect. Without it a host could store
//! results, publish and write keys as an agent that runs elsewhere.

use std::collections::HashMap;
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};

use mistersmith_core::names::AgentId;

/// How often a claim is checked while an effect is in flight.
const LOOK: Duration = Duration::from_secs(1);
/// How long a host may take to claim the ids of its agents again after it has a new lease.
const AGAIN: Duration = Duration::from_secs(10);

/// The end of the host's lease. Clones share it.
#[derive(Debug, Clone)]
pub struct LeaseTerm(Arc<Term>);

#[derive(Debug)]
struct Term {
    /// Counts the leases: a fence of an earlier one stays closed when the host has a new one.
    epoch: AtomicU64,
    /// On [`clock`], in nanoseconds.
    until: AtomicU64,
    /// The newest fence of each id.
    fences: Mutex<HashMap<AgentId, Weak<Right>>>,
}

impl LeaseTerm {
    /// A lease that ends at that time of [`clock`].
    pub fn until(until: Duration) -> Self {
        Self(Arc::new(Term {
            epoch: AtomicU64::new(0),
            until: AtomicU64::new(nanos(until)),
            fences: Mutex::default(),
        }))
    }

    /// A lease that never ends: where there is no host.
    pub fn unlimited() -> Self {
        Self::until(Duration::MAX)
    }

    /// The lease was renewed.
    pub fn extend(&self, until: Duration) {
        self.0.until.store(nanos(until), Ordering::Release);
    }

    /// The lease is lost, or a new one begins: the fences of the one before stay closed.
    pub fn end(&self) {
        self.0.until.store(0, Ordering::Release);
        self.0.epoch.fetch_add(1, Ordering::AcqRel);
        self.fences().retain(|_, right| right.strong_count() > 0);
    }

    /// How much is left of it.
    pub fn left(&self) -> Duration {
        let until = Duration::from_nanos(self.0.until.load(Ordering::Acquire));
        until.saturating_sub(clock())
    }

    fn fences(&self) -> MutexGuard<'_, HashMap<AgentId, Weak<Right>>> {
        self.0.fences.lock()
    }
}

/// The fence of one agent: open while the host's lease lives and the claim on the id is the host's.
#[derive(Debug, Clone)]
pub struct Fence {
    lease: LeaseTerm,
    right: Arc<Right>,
}

/// The right of one agent to its id.
#[derive(Debug)]
struct Right {
    id: AgentId,
    epoch: u64,
    revoked: AtomicBool,
}

impl Fence {
    /// Of an agent whose id is claimed under this lease.
    pub fn new(lease: LeaseTerm, id: AgentId) -> Self {
        let right = Arc::new(Right {
            epoch: lease.0.epoch.load(Ordering::Acquire),
            id: id.clone(),
            revoked: AtomicBool::new(false),
        });
        lease.fences().insert(id, Arc::downgrade(&right));
        Self { lease, right }
    }

    /// The claim on the id is lost: it is closed for good.
    pub fn revoke(&self) {
        self.right.revoked.store(true, Ordering::Release);
    }

    /// Whether the claim was lost.
    pub fn is_revoked(&self) -> bool {
        self.right.revoked.load(Ordering::Acquire)
    }

    /// Whether the agent may act under its id now.
    pub fn is_open(&self) -> bool {
        !self.left().is_zero()
    }

    /// How long it stays open if nothing happens. The time is read before the epoch, as it is
    /// written after it: the time of a new lease is never seen with the epoch of the one before.
    fn left(&self) -> Duration {
        let left = self.lease.left();
        let same = self.lease.0.epoch.load(Ordering::Acquire) == self.right.epoch;
        if same && !self.is_revoked() {
            left
        } else {
            Duration::ZERO
        }
    }

    /// The fence under which this host has the id now, if it is open.
    fn current(&self) -> Option<Self> {
        if self.is_open() {
            return Some(self.clone());
        }
        let newest = self.lease.fences().get(&self.right.id)?.upgrade()?;
        let newest = Self {
            lease: self.lease.clone(),
            right: newest,
        };
        newest.is_open().then_some(newest)
    }

    /// Runs an effect under the id of the agent while the fence is open; none when it is closed, or
    /// closes meanwhile.
    pub async fn guard<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        if !self.is_open() {
            return None;
        }
        let mut work = pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return Some(done),
                () = tokio::time::sleep(self.left().min(LOOK)) => {
                    if !self.is_open() {
                        return None;
                    }
                }
            }
        }
    }

    /// Runs the settlement of an agent's work. When the lease ends meanwhile, for instance because
    /// no server answers, the future is not polled until this host has a lease and the same id
    /// again: nobody else had it then. None when the id belongs to another host.
    pub async fn settle<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        let mut waited = Duration::ZERO;
        loop {
            if let Some(fence) = self.current() {
                waited = Duration::ZERO;
                tokio::select! {
                    biased;
                    done = &mut work => return Some(done),
                    () = tokio::time::sleep(fence.left().min(LOOK)) => {}
                }
                continue;
            }
            if self.is_revoked() || waited > AGAIN {
                return None;
            }
            tokio::time::sleep(LOOK).await;
            if !self.lease.left().is_zero() {
                waited += LOOK;
            }
        }
    }
}

/// A monotonic clock that includes the time that the machine sleeps.
#[cfg(target_os = "linux")]
pub fn clock() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::try_from(now).unwrap_or_default()
}

/// A monotonic clock.
#[cfg(not(target_os = "linux"))]
pub fn clock() -> Duration {
    use std::sync::LazyLock;
    use std::time::Instant;

    static BEGUN: LazyLock<Instant> = LazyLock::new(Instant::now);
    BEGUN.elapsed()
}

/// 584 years fit; a time beyond that is as good as never.
fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn fence(lease: &LeaseTerm, id: &str) -> Fence {
        Fence::new(lease.clone(), id.parse().unwrap())
    }

    fn lease(seconds: u64) -> LeaseTerm {
        LeaseTerm::until(clock() + Duration::from_secs(seconds))
    }

    #[test]
    fn it_is_open_while_the_lease_lives_and_the_claim_is_ours() {
        let lease = lease(60);
        let (one, two) = (fence(&lease, "a-001"), fence(&lease, "a-002"));
        assert!(one.is_open() && two.is_open());
        one.revoke();
        assert!(!one.is_open() && two.is_open());
        lease.extend(clock());
        assert!(!two.is_open());
        lease.extend(clock() + Duration::from_secs(60));
        assert!(two.is_open(), "renewed in time");
        assert!(fence(&LeaseTerm::unlimited(), "a-001").is_open());
    }

    #[test]
    fn what_was_fenced_by_a_lost_lease_stays_so_under_the_next() {
        let lease = lease(60);
        let before = fence(&lease, "a-001");
        lease.end();
        assert!(!before.is_open() && lease.left().is_zero());
        lease.extend(clock() + Duration::from_secs(60));
        assert!(!before.is_open());
        assert!(fence(&lease, "a-001").is_open());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_on_its_way_ends_with_the_fence() {
        let fence = fence(&lease(60), "a-001");
        assert_eq!(fence.guard(async { 7 }).await, Some(7));
        let cut = fence.clone();
        let (done, ()) = tokio::join!(fence.guard(std::future::pending::<()>()), async {
            tokio::time::sleep(LOOK * 2).await;
            cut.revoke();
        });
        assert_eq!(done, None);
        assert_eq!(fence.guard(async { 7 }).await, None, "nothing is begun");
    }

    #[tokio::test(start_paused = true)]
    async fn an_output_waits_for_the_lease_and_is_stored_if_the_id_is_still_ours() {
        let lease = lease(60);
        let before = fence(&lease, "a-001");
        let other = fence(&lease, "a-002");
        lease.end();
        // A lease without the id, and then with it.
        let back = async {
            tokio::time::sleep(LOOK * 5).await;
            lease.extend(clock() + Duration::from_secs(60));
            tokio::time::sleep(LOOK * 5).await;
            fence(&lease, "a-001")
        };
        let begun = AtomicBool::new(false);
        let work = async { begun.store(true, Ordering::Relaxed) };
        let settle = before.settle(work);
        let look = async {
            tokio::time::sleep(LOOK * 8).await;
            begun.load(Ordering::Relaxed)
        };
        let (done, early, _now) = tokio::join!(settle, look, back);
        assert_eq!((done, early), (Some(()), false));
        // The other id was not claimed again: another host has it.
        assert_eq!(other.settle(std::future::ready(())).await, None);
        // And one that is known to be another host's is not waited for.
        let lost = fence(&lease, "a-003");
        lost.revoke();
        let before = tokio::time::Instant::now();
        assert_eq!(lost.settle(std::future::ready(())).await, None);
        assert_eq!(before.elapsed(), Duration::ZERO);
    }
}
