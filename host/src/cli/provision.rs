//! `mistersmith provision`: creates or lists the JetStream resources that are missing.
//!
//! These are the streams, consumers and buckets that hosts and plugins need. A host creates them at
//! its start too, except for changes that need force.

use anyhow::Context;
use serde_json::json;

use crate::cli::global::Global;
use crate::cli::{audit, connect, output};
use mistersmith_core::config::{self, CandidateKind, HostSpec, PluginSpec};
use mistersmith_nats::provision::{self, Action, Plan};
use mistersmith_nats::{Connection, Role};

/// Arguments of `provision`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Show the difference, and change nothing
    #[arg(long)]
    plan: bool,
    /// Also narrow what is too wide, and delete and make anew what cannot be changed
    #[arg(long, conflicts_with = "plan")]
    force: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(global: &Global, args: &Args) -> anyhow::Result<()> {
    let spec = global.host_spec()?;
    let plugins = plugins(&spec);
    let transport = connect::to(&spec).await?;
    let plugins: Vec<&PluginSpec> = plugins.iter().collect();
    let plan = provision::plan_for(&transport, &spec.jetstream, &plugins)
        .await
        .context("cannot compare what is needed with what JetStream holds")?;
    if args.plan {
        return show(&plan, args.json);
    }
    let applied = apply(transport.connection(Role::Control), &plan, args.force).await?;
    if args.json {
        return output::json(&json!({ "done": applied.done, "warnings": applied.warnings }));
    }
    for line in &applied.done {
        output::line(line)?;
    }
    for warning in &applied.warnings {
        output::remark(&format!("warning: {warning}"));
    }
    if applied.done.is_empty() && applied.warnings.is_empty() {
        output::line("everything is as it should be")?;
    }
    Ok(())
}

/// The plugins of the folder, for the buckets that they are granted. A plugin that cannot be loaded
/// does not prevent provisioning the rest.
fn plugins(spec: &HostSpec) -> Vec<PluginSpec> {
    let mut loaded = Vec::new();
    for candidate in config::scan(&spec.plugins).plugins {
        if candidate.kind() == CandidateKind::NoManifest {
            continue;
        }
        match config::load_plugin(&candidate, &spec.policy) {
            Ok(plugin) => loaded.push(plugin),
            Err(_) => output::remark(&format!(
                "without the buckets of `{0}`: `mistersmith check {0}` says what is wrong with it",
                candidate.name
            )),
        }
    }
    loaded
}

fn show(plan: &Plan, as_json: bool) -> anyhow::Result<()> {
    if as_json {
        return output::json(plan);
    }
    output::line(plan.to_string().trim_end())
}

async fn apply(
    connection: &Connection,
    plan: &Plan,
    force: bool,
) -> anyhow::Result<provision::Applied> {
    let forced: Vec<String> = plan
        .changes
        .iter()
        .filter(|change| matches!(change.action, Action::Drift | Action::Refused { .. }))
        .map(ToString::to_string)
        .collect();
    if !force || forced.is_empty() {
        return Ok(provision::apply(connection, plan, force).await?);
    }
    let entry = json!({ "changes": forced });
    let command = "provision --force";
    let recorded = audit::write(connection, audit::FORCED, command, entry.clone()).await;
    let applied = provision::apply(connection, plan, force).await?;
    if recorded.is_err() {
        // The stream of the audit trail may itself have been missing.
        audit::write(connection, audit::FORCED, command, entry).await?;
    }
    Ok(applied)
}
