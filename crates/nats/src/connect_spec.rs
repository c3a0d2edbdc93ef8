//! The settings of a connection: servers, login, TLS, name, patience.

use std::time::Duration;

use mistersmith_core::config::{Auth, NatsSpec, TlsSpec};

/// The settings of a connection.
#[derive(Clone)]
pub struct ConnectSpec {
    /// Addresses of servers of one system: `host`, `host:port`, `nats://…` or `tls://…`. At least
    /// one.
    pub servers: Vec<String>,
    /// The login. Credentials inside the first server's URL count only with [`Auth::None`].
    pub auth: Auth,
    /// Files for TLS; none for the machine's own certificates, used when the server or the URL asks
    /// for TLS.
    pub tls: Option<TlsSpec>,
    /// Allow plaintext to servers that are not on loopback. Otherwise TLS is required of them.
    pub plaintext: bool,
    /// The name of this host: connections are called `mistersmith-<host>-<role>`.
    pub host: String,
    /// How long to go on trying when no server answers; none for no limit.
    pub patience: Option<Duration>,
    /// The JetStream domain to use; none for the one that the server we connect to answers for.
    pub domain: Option<String>,
    /// Connections for the messages of plugins; at least one is opened.
    pub bulk: usize,
}

impl ConnectSpec {
    /// Servers that are open to everybody who reaches them, for the host of this name; patience
    /// without end.
    pub fn open(servers: Vec<String>, host: &str) -> Self {
        Self {
            servers,
            auth: Auth::None,
            tls: None,
            plaintext: false,
            host: host.to_owned(),
            patience: None,
            domain: None,
            bulk: 1,
        }
    }

    /// The servers of `[nats]`, for the host of this name; patience without end, since a host may
    /// be started before its server.
    pub fn configured(nats: &NatsSpec, host: &str) -> Self {
        Self {
            auth: nats.auth.clone(),
            tls: nats.tls.clone(),
            plaintext: nats.plaintext,
            ..Self::open(nats.servers.clone(), host)
        }
    }
}
