//! Connections of the commands that use NATS.

use std::time::Duration;

use anyhow::{Context, bail};

use crate::cli::global::Global;
use mistersmith_core::config::HostSpec;
use mistersmith_nats::server::ServerConnection;
use mistersmith_nats::{ConnectSpec, Transport};

/// The base of the connection names: `mistersmith-cli-control` and so on.
const NAME: &str = "cli";

/// How long a command retries when no server answers. A user is waiting.
const PATIENCE: Duration = Duration::from_secs(3);

/// Connects to the configured servers, else to the server that the host of this data folder has
/// started.
pub(crate) async fn connect(global: &Global) -> anyhow::Result<Transport> {
    to(&global.host_spec()?).await
}

/// As [`connect`], with a configuration that was read before.
pub(crate) async fn to(spec: &HostSpec) -> anyhow::Result<Transport> {
    let transport = open(spec).await?;
    if let Some(bytes) = spec.jetstream.claim_over {
        transport.set_claim_over(bytes);
    }
    Ok(transport)
}

async fn open(spec: &HostSpec) -> anyhow::Result<Transport> {
    if !spec.nats.servers.is_empty() {
        let mut connect = ConnectSpec::configured(&spec.nats, NAME);
        connect.patience = Some(PATIENCE);
        connect.domain.clone_from(&spec.jetstream.domain);
        return Ok(Transport::connect(connect).await?);
    }
    let data = spec.data.display();
    let Some(server) = ServerConnection::read(&spec.data)? else {
        bail!(
            "no NATS server is named, and no host runs on {data}; start `mistersmith run`, or name \
             a server with --nats, NATS_URL, or [nats] servers in mistersmith.toml"
        );
    };
    let mut connect = server.connect_spec(NAME);
    connect.patience = Some(PATIENCE);
    Transport::connect(connect).await.with_context(|| {
        format!("the host of {data} does not run any more, it seems; start `mistersmith run`")
    })
}
