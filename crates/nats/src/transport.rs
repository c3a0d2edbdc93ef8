//! The connections of a host: one for each role, opened, watched and closed together.

use std::sync::Arc;
use std::time::Duration;

use mistersmith_core::config::Auth;
use serde::Serialize;
use tokio::sync::watch;

use super::address::without_login;
use super::{ConnectSpec, Connection, Denials, Quarantine, TransportError, connect};

/// The purpose of a connection. One connection is about one core's worth of messages, and a flood
/// on one must not delay what keeps the host alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Commands, health, leases, lifecycle.
    Control,
    /// Work: pulls, acknowledgements, results.
    Work,
    /// Messages that plugins publish, request and subscribe to. A pool: see
    /// [`Transport::pooled`].
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

/// The state of the connections, for status and start-up lines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ConnectionState {
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
    /// How many of these a message caused that the client library cannot read.
    pub revivals: u64,
    /// How many messages the server has refused to take.
    pub denied_publishes: u64,
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
    control: Connection,
    work: Connection,
    /// The pool for the messages of plugins; never empty.
    bulk: Vec<Connection>,
    /// The first of them.
    first_bulk: Connection,
    all_up: watch::Sender<bool>,
    watcher: tokio::task::AbortHandle,
    denials: Arc<Denials>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.watcher.abort();
    }
}

impl Transport {
    /// Opens one connection for each role, and more for [`Role::Bulk`] where `spec.bulk` asks for
    /// them. While no server answers it goes on trying, for as long as `spec.patience` says.
    ///
    /// Errors: `Invalid` for an address that is none, `Denied` for credentials that are refused or
    /// cannot be read, `Unavailable` when patience is over.
    pub async fn connect(spec: ConnectSpec) -> Result<Self, TransportError> {
        let (changed, denials) = (watch::channel(0).0, Arc::default());
        let open = |role: Role| Self::open(&spec, role.as_str(), &changed, &denials);
        let more = (2..=spec.bulk).map(|number| {
            let (spec, changed, denials) = (&spec, &changed, &denials);
            async move {
                let name = format!("{}-{number}", Role::Bulk.as_str());
                Self::open(spec, &name, changed, denials).await
            }
        });
        let (control, work, first_bulk, more) = tokio::try_join!(
            open(Role::Control),
            open(Role::Work),
            open(Role::Bulk),
            futures_util::future::try_join_all(more)
        )?;
        let bulk: Vec<Connection> = std::iter::once(first_bulk.clone()).chain(more).collect();
        if control.has_unsafe_conditions() {
            tracing::warn!(
                version = control.server_info().version,
                "a cluster of NATS servers before 2.9.21 lets concurrent conditional writes through; \
                 writing in a slower way that is safe; fix: upgrade the servers"
            );
        }
        let all_up = watch::channel(true).0;
        let connections = [&control, &work].into_iter().chain(&bulk);
        let connections = connections.cloned().collect();
        let watcher = tokio::spawn(watch_connections(
            connections,
            changed.subscribe(),
            all_up.clone(),
        ));
        Ok(Self {
            shared: Arc::new(Shared {
                spec,
                control,
                work,
                bulk,
                first_bulk,
                all_up,
                watcher: watcher.abort_handle(),
                denials,
            }),
        })
    }

    /// The connection of a role.
    pub fn connection(&self, role: Role) -> &Connection {
        match role {
            Role::Control => &self.shared.control,
            Role::Work => &self.shared.work,
            Role::Bulk => &self.shared.first_bulk,
        }
    }

    /// The connection of the pool that carries the messages of this name. A name always has the
    /// same one, so the order of its messages stays; the names spread over the pool.
    pub fn pooled(&self, name: &str) -> &Connection {
        let bulk = &self.shared.bulk;
        let hash = name.bytes().fold(0_usize, |hash, byte| {
            hash.wrapping_mul(31).wrapping_add(usize::from(byte))
        });
        let place = hash.checked_rem(bulk.len()).unwrap_or_default();
        bulk.get(place).unwrap_or(&self.shared.first_bulk)
    }

    /// Opens a connection of its own for a plugin that names a credentials file. Does not count in
    /// [`Transport::state`]; it closes when the last clone of the connection is dropped.
    pub async fn connect_own(
        &self,
        name: &str,
        credentials: &std::path::Path,
    ) -> Result<Connection, TransportError> {
        let spec = ConnectSpec {
            auth: Auth::Credentials(credentials.to_owned()),
            ..self.shared.spec.clone()
        };
        let denials = &self.shared.denials;
        let connection = Self::open(&spec, name, &watch::channel(0).0, denials).await?;
        let bulk = &self.shared.first_bulk.inner;
        connection.set_claim_over(bulk.claim_over.load(std::sync::atomic::Ordering::Relaxed));
        if let Some(quarantine) = bulk.quarantine.get() {
            connection.set_quarantine(Arc::clone(quarantine));
        }
        Ok(connection)
    }

    /// Sets the quarantine for unreadable messages that are found when buckets are read, on all
    /// connections.
    pub fn set_quarantine(&self, quarantine: &Arc<dyn Quarantine>) {
        for connection in self.connections() {
            connection.set_quarantine(Arc::clone(quarantine));
        }
    }

    /// The denials of the server, on all connections.
    pub fn denials(&self) -> &Denials {
        &self.shared.denials
    }

    /// Has stored payloads become claims from fewer bytes on than the server takes.
    pub fn set_claim_over(&self, bytes: usize) {
        for connection in self.connections() {
            connection.set_claim_over(bytes);
        }
    }

    /// The state of the connections now.
    pub fn state(&self) -> ConnectionState {
        let info = self.shared.control.server_info();
        ConnectionState {
            connected: self
                .connections()
                .all(|connection| connection.is_connected()),
            server: info.server_name,
            version: info.version,
            jetstream: info.jetstream,
            reconnects: self
                .connections()
                .map(|connection| connection.reconnects())
                .sum(),
            revivals: self
                .connections()
                .map(|connection| connection.revivals())
                .sum(),
            denied_publishes: self.shared.denials.publishes(),
            url: self
                .shared
                .spec
                .servers
                .iter()
                .map(|server| without_login(server))
                .collect::<Vec<_>>()
                .join(","),
        }
    }

    /// The INFO of a server to a new connection: that of the first one may be older than the
    /// cluster.
    pub(crate) async fn fresh_server_info(&self) -> Result<async_nats::ServerInfo, TransportError> {
        let (spec, alone) = (&self.shared.spec, Arc::default());
        let connection = Self::open(spec, "facts", &watch::channel(0).0, &alone).await?;
        Ok(connection.server_info())
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
        let drained = self.connections().map(Connection::drain);
        let all = futures_util::future::join_all(drained);
        tokio::time::timeout(deadline, all)
            .await
            .is_ok_and(|results| results.into_iter().all(|done| done))
    }

    fn connections(&self) -> impl Iterator<Item = &Connection> {
        let Shared {
            control,
            work,
            bulk,
            ..
        } = &*self.shared;
        [control, work].into_iter().chain(bulk)
    }

    async fn open(
        spec: &ConnectSpec,
        role: &str,
        changed: &watch::Sender<u64>,
        denials: &Arc<Denials>,
    ) -> Result<Connection, TransportError> {
        let name = format!("mistersmith-{}-{role}", spec.host);
        connect::open(spec, name, changed.clone(), Arc::clone(denials)).await
    }
}

async fn watch_connections(
    connections: Vec<Connection>,
    mut changed: watch::Receiver<u64>,
    all_up: watch::Sender<bool>,
) {
    while changed.changed().await.is_ok() {
        let up = connections.iter().all(Connection::is_connected);
        all_up.send_if_modified(|before| std::mem::replace(before, up) != up);
    }
}
