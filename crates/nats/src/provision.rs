//! Streams, buckets and object stores that the host needs: read → plan (pure) → apply.
//!
//! Creates what is missing and widens what is too narrow. Without force it never narrows, moves or
//! deletes what somebody may still need, and never changes replicas on a single server: such a
//! server accepts the change and loses the stream at its next start. Safe to repeat, and safe when
//! several hosts start at once.

mod apply;
mod assets;
pub mod claims;
pub mod consumers;
mod current;
mod diff;
mod facts;
mod fit;
mod heal;
mod plan;
mod shown;
mod window;

pub use apply::{Applied, ProvisionError, apply};
pub use assets::{Asset, Kind, desired};
pub use claims::ConsumerClaims;
pub use current::{Current, read};
pub use diff::{Effect, FieldDiff};
pub use facts::{Cluster, ServerFacts, Storage};
pub use heal::{Made, Needs, absent};
pub use plan::{Action, Change, Plan, plan};

use apply::PATIENCE;

use crate::{Role, Transport, TransportError, retry};
use mistersmith_core::config::{JetstreamSpec, PluginSpec};

/// Compares what the host and these plugins need with what the server holds. Changes nothing.
pub async fn plan_for(
    transport: &Transport,
    spec: &JetstreamSpec,
    plugins: &[&PluginSpec],
) -> Result<Plan, TransportError> {
    let facts = ServerFacts::read(transport).await?;
    compare(transport, desired(spec, plugins, &facts), &facts).await
}

/// Creates or widens everything that the host needs, without force.
///
/// Errors: `Refused` names what cannot be used as it is.
pub async fn ensure(transport: &Transport, spec: &JetstreamSpec) -> Result<(), ProvisionError> {
    let plan = retry(PATIENCE, || plan_for(transport, spec, &[])).await?;
    for note in &plan.notes {
        tracing::info!("JetStream: {note}");
    }
    carry_out(transport, &plan).await
}

/// Creates the buckets that a plugin is granted. A bucket that exists is taken as it is.
pub async fn ensure_buckets(
    transport: &Transport,
    spec: &JetstreamSpec,
    plugin: &PluginSpec,
) -> Result<(), ProvisionError> {
    if plugin.permissions.kv.is_empty() {
        return Ok(());
    }
    let plan = retry(PATIENCE, || async {
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
    let current = read(transport.connection(Role::Control), &assets).await?;
    Ok(plan(assets, &current, facts))
}

async fn carry_out(transport: &Transport, plan: &Plan) -> Result<(), ProvisionError> {
    let applied = apply(transport.connection(Role::Control), plan, false).await?;
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
