//! What JetStream should hold for the host, and how to get there: read → plan (pure) → apply.
//!
//! Creates what is missing and widens what is too narrow. Never narrows, moves or deletes anything that
//! somebody may still need, unless forced; never changes replicas on a single server, where a server
//! of that age accepts it and loses the stream at its next start. Safe to repeat, and safe when
//! several hosts start at once.

mod apply;
mod assets;
pub mod claims;
pub mod consumers;
mod current;
mod diff;
mod facts;
mod fit;
mod plan;
mod window;

pub use apply::{Applied, ProvisionError, apply};
pub use assets::{Asset, Kind, desired};
pub use claims::ConsumerClaims;
pub use current::{Current, read};
pub use diff::{Effect, FieldDiff};
pub use facts::{Cluster, ServerFacts, Storage};
pub use plan::{Action, Change, Plan, plan};

use std::time::Duration;

use crate::config::{JetstreamSpec, PluginSpec};
use crate::transport::{Role, Transport, TransportError, persist};

/// How long a cluster that just starts, or has lost a leader, is waited for.
const PATIENCE: Duration = Duration::from_secs(15);

/// Compares what the host and these plugins need with what the server holds. Changes nothing.
pub async fn look(
    transport: &Transport,
    spec: &JetstreamSpec,
    plugins: &[&PluginSpec],
) -> Result<Plan, TransportError> {
    let facts = ServerFacts::read(transport).await?;
    compare(transport, desired(spec, plugins, &facts), &facts).await
}

/// Sees to it that everything the host needs is there, without force.
///
/// Errors: `Refused` names what cannot be used as it is.
pub async fn ensure(transport: &Transport, spec: &JetstreamSpec) -> Result<(), ProvisionError> {
    let plan = persist(PATIENCE, || look(transport, spec, &[])).await?;
    for note in &plan.notes {
        tracing::info!("JetStream: {note}");
    }
    carry_out(transport, &plan).await
}

/// Sees to it that the buckets are there that a plugin is granted. A bucket that exists is taken as it is.
pub async fn ensure_buckets(
    transport: &Transport,
    spec: &JetstreamSpec,
    plugin: &PluginSpec,
) -> Result<(), ProvisionError> {
    if plugin.permissions.kv.is_empty() {
        return Ok(());
    }
    let plan = persist(PATIENCE, || async {
        let facts = ServerFacts::read(transport).await?;
        let mut assets = desired(spec, &[plugin], &facts);
        assets.retain(Asset::is_granted);
        compare(transport, assets, &facts).await
    })
    .await?;
    carry_out(transport, &plan).await
}

async fn compare(
    transport: &Transport,
    assets: Vec<Asset>,
    facts: &ServerFacts,
) -> Result<Plan, TransportError> {
    let current = read(transport.link(Role::Control), &assets).await?;
    Ok(plan(assets, &current, facts))
}

async fn carry_out(transport: &Transport, plan: &Plan) -> Result<(), ProvisionError> {
    let applied = apply(transport.link(Role::Control), plan, false).await?;
    for line in &applied.done {
        tracing::info!("JetStream: {line}");
    }
    for line in &applied.warnings {
        tracing::warn!("JetStream: {line}");
    }
    Ok(())
}

#[cfg(test)]
mod tests;
