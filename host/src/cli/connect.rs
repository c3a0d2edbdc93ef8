//! The connections of a command that talks to NATS.

use std::time::Duration;

use anyhow::{Context, bail};

use crate::cli::global::Global;
use crate::config::HostSpec;
use crate::transport::Transport;
use crate::transport::server::ServerConnection;

/// How the connections call themselves: `mistersmith-cli-control` and so on.
const NAME: &str = "cli";

/// How long a command goes on trying when no server answers. A person waits.
const PATIENCE: Duration = Duration::from_secs(3);

/// Connects to the servers that are named, else to the server that the host of this data folder
/// has started.
pub(crate) async fn connect(global: &Global) -> anyhow::Result<Transport> {
    to(&global.host_spec()?).await
}

/// As [`connect`], for a configuration that is read already.
pub(crate) async fn to(spec: &HostSpec) -> anyhow::Result<Transport> {
    let transport = open(spec).await?;
    if let Some(bytes) = spec.jetstream.claim_over {
        transport.set_claim_over(bytes);
    }
    Ok(transport)
}

async fn open(spec: &HostSpec) -> anyhow::Result<Transport> {
    if !spec.nats.servers.is_empty() {
        let mut connect = spec.nats.connect_spec(NAME);
        connect.patience = Some(PATIENCE);
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
