//! `mistersmith run`: runs the agents of the plugins folder until stopped.

use tokio_util::sync::CancellationToken;

use super::global::Global;
use crate::host::Host;
use mistersmith_nats::Transport;

/// Runs a host until `shutdown` is cancelled, or it ends by itself.
pub(super) async fn run(global: &Global, shutdown: CancellationToken) -> anyhow::Result<()> {
    let spec = global.host_spec()?;
    let Some(mut host) = Host::build(spec, &shutdown).await? else {
        return Ok(());
    };
    host.load().await;
    // A host that was stopped meanwhile never became ready; it only drains.
    let stopper = host.stopper();
    tokio::select! {
        biased;
        () = stopper.cancelled() => {}
        () = introduce(&host) => {}
    }
    host.run().await.into_result()
}

/// Logs the started plugins and the connection.
async fn introduce(host: &Host) {
    let summary = host.summary().await;
    let state = host.transport().state();
    let round_trip_us = round_trip(host.transport()).await;
    tracing::info!(
        server = %state.server,
        version = %state.version,
        jetstream = state.jetstream,
        url = %state.url,
        round_trip_us,
        reconnects = state.reconnects,
        "connected"
    );
    tracing::info!(
        host = %summary.name,
        host_id = %summary.host_id,
        plugins = summary.plugins,
        agents = summary.agents,
        loading = summary.loading,
        broken = summary.broken,
        "host ready"
    );
    if summary.plugins + summary.loading == 0 {
        tracing::warn!(
            "no plugin runs; make one with `mistersmith new my-agent`, then `mistersmith build`"
        );
    }
}

async fn round_trip(transport: &Transport) -> Option<u64> {
    let taken = transport.rtt().await.ok()?;
    u64::try_from(taken.as_micros()).ok()
}
