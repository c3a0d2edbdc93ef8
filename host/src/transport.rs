//! The only door for messages: named connections to NATS, and on them publish, request, subscribe,
//! stored publish, pull consumers and key-value buckets.
//!
//! It does what it is told on whatever subject it is given, within the rules of the protocol; who may do
//! what is decided elsewhere. It never waits without a bound, never copies a payload but where much
//! waits, and never queues for a server that is away.

mod address;
pub(crate) mod api;
mod backlog;
mod budget;
mod check;
mod claim;
mod clock;
mod connect;
mod deadline;
mod delivered;
mod error;
mod headers;
mod health;
mod intake;
mod kv;
mod link;
mod listing;
mod message;
mod object;
mod pull;
mod replies;
pub mod server;
mod stored;
mod stream;
mod subscription;
pub mod trace;
mod unreadable;
mod usage;
pub mod version;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub(crate) use backlog::Backlog;
pub use budget::{Budget, Charge};
pub use claim::{CLAIM, CLAIM_SIZE, Claim, ClaimError, PAYLOADS};
pub use clock::ServerClock;
pub use connect::{Auth, ConnectSpec, TlsFiles};
pub(crate) use deadline::{at_most, by, within};
pub use delivered::{Delivered, Fate, Meta};
pub use error::TransportError;
pub use headers::{Headers, SharedHeaders};
pub use intake::Intake;
pub use kv::{Change, Entry, Kv, Watch};
pub use link::Link;
pub use message::Message;
pub use object::{ObjectFacts, Objects};
pub use pull::{Pull, Puller};
pub(crate) use stored::persist;
pub use stored::{MESSAGE_ID, Stored};
pub use stream::{ConsumerFacts, StoredMessage, StreamFacts, StreamView};
pub use subscription::Subscription;
pub use trace::{RequestId, Trace};
pub use unreadable::Unreadable;
pub use usage::StreamUse;

/// What a connection is for. One connection is about one core's worth of messages, and a flood on one
/// must not delay what keeps the host alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Commands, health, leases, lifecycle.
    Control,
    /// Work: pulls, acknowledgements, results.
    Work,
    /// What plugins publish, request and subscribe.
    Bulk,
}

impl Role {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Control => "control",
            Self::Work => "work",
            Self::Bulk => "bulk",
        }
    }
}

/// What is known about the connections, for status and start-up lines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LinkState {
    /// All connections are up.
    pub connected: bool,
    /// The name of the server.
    pub server: String,
    /// Its version.
    pub version: String,
    /// It has JetStream.
    pub jetstream: bool,
    /// How often a connection was lost and came back, all connections together.
    pub reconnects: u64,
    /// The servers that were named, without credentials.
    pub url: String,
}

/// The host's connections. Cheap to clone; all clones share them.
#[derive(Clone)]
pub struct Transport {
    shared: Arc<Shared>,
}

struct Shared {
    spec: ConnectSpec,
    control: Link,
    work: Link,
    bulk: Link,
    all_up: watch::Sender<bool>,
    watcher: tokio::task::AbortHandle,
    /// A connection has ended for good.
    ended: CancellationToken,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.watcher.abort();
    }
}

impl Transport {
    /// Opens one connection for each role. While no server answers it goes on trying, for as long as
    /// `spec.patience` says.
    ///
    /// Errors: `Invalid` for an address that is none, `Denied` for credentials that are refused or cannot
    /// be read, `Unavailable` when patience is over.
    pub async fn connect(spec: ConnectSpec) -> Result<Self, TransportError> {
        let (changed, ended) = (watch::channel(0).0, CancellationToken::new());
        let open = |role: Role| Self::open(&spec, role.as_str(), &changed, &ended);
        let (control, work, bulk) =
            tokio::try_join!(open(Role::Control), open(Role::Work), open(Role::Bulk))?;
        if control.has_unsafe_conditions() {
            tracing::warn!(
                version = control.inner.client.server_info().version,
                "a cluster of NATS servers before 2.9.21 lets concurrent conditional writes through; \
                 going a slower way that is safe; fix: upgrade the servers"
            );
        }
        let all_up = watch::channel(true).0;
        let links = [control.clone(), work.clone(), bulk.clone()];
        let watcher = tokio::spawn(watch_links(links, changed.subscribe(), all_up.clone()));
        Ok(Self {
            shared: Arc::new(Shared {
                spec,
                control,
                work,
                bulk,
                all_up,
                watcher: watcher.abort_handle(),
                ended,
            }),
        })
    }

    /// The connection of a role.
    pub fn link(&self, role: Role) -> &Link {
        match role {
            Role::Control => &self.shared.control,
            Role::Work => &self.shared.work,
            Role::Bulk => &self.shared.bulk,
        }
    }

    /// Opens a connection of its own for a plugin that names a credentials file. Does not count in
    /// [`Transport::state`]; it closes when the last clone of the link is dropped.
    pub async fn connect_own(
        &self,
        name: &str,
        credentials: &std::path::Path,
    ) -> Result<Link, TransportError> {
        let spec = ConnectSpec {
            auth: Auth::Credentials(credentials.to_owned()),
            ..self.shared.spec.clone()
        };
        let link = Self::open(&spec, name, &watch::channel(0).0, &self.shared.ended).await?;
        let over = &self.shared.bulk.inner.claim_over;
        link.set_claim_over(over.load(std::sync::atomic::Ordering::Relaxed));
        Ok(link)
    }

    /// Has stored payloads become claims from fewer bytes on than the server takes.
    pub fn set_claim_over(&self, bytes: usize) {
        for link in self.links() {
            link.set_claim_over(bytes);
        }
    }

    /// What is known about the connections now.
    pub fn state(&self) -> LinkState {
        let info = self.shared.control.inner.client.server_info();
        LinkState {
            connected: self.links().iter().all(|link| link.is_connected()),
            server: info.server_name,
            version: info.version,
            jetstream: info.jetstream,
            reconnects: self.links().iter().map(|link| link.reconnects()).sum(),
            url: self
                .shared
                .spec
                .servers
                .iter()
                .map(|server| address::without_login(server))
                .collect::<Vec<_>>()
                .join(","),
        }
    }

    /// What a server tells who connects now: the first connection may be older than the cluster.
    pub(crate) async fn fresh_server_info(&self) -> Result<async_nats::ServerInfo, TransportError> {
        let (spec, alone) = (&self.shared.spec, CancellationToken::new());
        let link = Self::open(spec, "facts", &watch::channel(0).0, &alone).await?;
        Ok(link.inner.client.server_info())
    }

    /// Resolves when one of the connections has ended for good: it was drained, or what served it has
    /// panicked. It does not come back, and what listened by it hears nothing any more.
    pub async fn ended(&self) {
        self.shared.ended.cancelled().await;
    }

    /// How long a message to the server and back takes now; gives up after two seconds.
    pub async fn rtt(&self) -> Result<Duration, TransportError> {
        self.shared.control.round_trip(Duration::from_secs(2)).await
    }

    /// Whether all connections are up, as it changes.
    pub fn changes(&self) -> watch::Receiver<bool> {
        self.shared.all_up.subscribe()
    }

    /// Ends the connections: what was published is handed to the server first, subscriptions end.
    /// Gives up after `deadline`; returns whether everything reached the server.
    pub async fn drain(&self, deadline: Duration) -> bool {
        let drained = self.links().map(Link::drain);
        let all = futures_util::future::join_all(drained);
        tokio::time::timeout(deadline, all)
            .await
            .is_ok_and(|results| results.into_iter().all(|done| done))
    }

    fn links(&self) -> [&Link; 3] {
        [&self.shared.control, &self.shared.work, &self.shared.bulk]
    }

    async fn open(
        spec: &ConnectSpec,
        role: &str,
        changed: &watch::Sender<u64>,
        ended: &CancellationToken,
    ) -> Result<Link, TransportError> {
        let name = format!("mistersmith-{}-{role}", spec.host);
        connect::open(spec, name, changed.clone(), ended.clone()).await
    }
}

async fn watch_links(
    links: [Link; 3],
    mut changed: watch::Receiver<u64>,
    all_up: watch::Sender<bool>,
) {
    while changed.changed().await.is_ok() {
        let up = links.iter().all(Link::is_connected);
        all_up.send_if_modified(|before| std::mem::replace(before, up) != up);
    }
}
