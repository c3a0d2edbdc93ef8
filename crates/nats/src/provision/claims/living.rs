//! The hosts that are alive, judged by their leases.
//!
//! A lease that does not exist has expired, except in a bucket that was made a moment ago: the
//! leases were lost with the old bucket, their hosts live, and would lose their consumers to
//! others.

use std::collections::BTreeSet;

use crate::{Connection, Kv, StreamView, TransportError};
use mistersmith_core::limits;
use mistersmith_core::names::HostId;

/// The bucket, as a stream, and the subjects of leases in it.
const STREAM: &str = "KV_AGENT_LEASES";
const LEASES: &str = "$KV.AGENT_LEASES.host.";

/// The hosts that count as living.
#[derive(Debug, Default)]
pub(super) struct Living {
    there: BTreeSet<String>,
    /// The bucket is younger than the time for which a host relies on its lease.
    is_young: bool,
    /// Leases that were given up in a young bucket.
    given_up: BTreeSet<String>,
}

impl Living {
    pub(super) fn contains(&self, host: &str) -> bool {
        self.there.contains(host) || (self.is_young && !self.given_up.contains(host))
    }
}

impl From<BTreeSet<String>> for Living {
    fn from(there: BTreeSet<String>) -> Self {
        Self {
            there,
            ..Self::default()
        }
    }
}

impl Living {
    /// The hosts whose lease in the bucket `leases` lives; `us` is one of them.
    pub(super) async fn read(
        connection: &Connection,
        leases: &Kv,
        us: &HostId,
    ) -> Result<Self, TransportError> {
        let view = connection.stream(STREAM)?;
        let ours = format!("{LEASES}{us}");
        let age = view.age_at(&view, &ours).await?;
        let is_young = age.is_none_or(|age| age <= limits::LEASE_TERM);
        let keys = leases.keys("host.*", limits::MAX_HOSTS).await?;
        let there = keys.iter().filter_map(|key| key.strip_prefix("host."));
        let mut there: BTreeSet<String> = there.map(str::to_owned).collect();
        there.insert(us.as_str().to_owned());
        let mut given_up = BTreeSet::new();
        if is_young {
            given_up = known(&view).await?;
            given_up.retain(|host| !there.contains(host));
        }
        Ok(Self {
            there,
            is_young,
            given_up,
        })
    }
}

/// The hosts that have a lease, or the mark of one that was given up.
async fn known(view: &StreamView) -> Result<BTreeSet<String>, TransportError> {
    let all = format!("{LEASES}*");
    let subjects = view.subjects(&all, limits::MAX_HOSTS).await?.into_keys();
    let host = |subject: String| subject.strip_prefix(LEASES).map(str::to_owned);
    Ok(subjects.filter_map(host).collect())
}
