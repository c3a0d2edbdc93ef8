//! `mistersmith permissions`: what each plugin may do, in words or as permissions of nats-server.

use serde::Serialize;

use crate::cli::global::{Global, complain};
use crate::cli::output;
use crate::cli::usage::usage;
use mistersmith_core::config::{self, CandidateKind, Findings, PluginSpec, ServerRights};

/// Arguments of `permissions`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Plugins to show; all when none is named
    #[arg(value_name = "PLUGIN")]
    names: Vec<String>,
    /// Print the permissions of a nats-server user for each plugin
    #[arg(long)]
    nats_server: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// The permissions of one plugin.
#[derive(Debug, Serialize)]
struct Shows {
    name: String,
    may: Vec<String>,
    nats: ServerRights,
}

pub(crate) fn run(global: &Global, args: &Args) -> anyhow::Result<()> {
    let host = global.host_spec()?;
    let scan = config::scan(&host.plugins);
    let known = |name: &&String| scan.plugins.iter().any(|found| found.name == **name);
    if let Some(unknown) = args.names.iter().find(|name| !known(name)) {
        let folder = host.plugins.display();
        return Err(usage(format!("no plugin `{unknown}` in {folder}")));
    }
    let mut mistakes = scan.findings;
    let mut shown = Vec::new();
    for candidate in &scan.plugins {
        let named = args.names.contains(&candidate.name);
        // Without a manifest or a component it does nothing yet.
        if !named && (!args.names.is_empty() || candidate.kind() != CandidateKind::Ready) {
            continue;
        }
        match config::load_plugin(candidate, &host.policy) {
            Ok(plugin) => shown.push(shows(&plugin)),
            Err(findings) => mistakes.extend(findings),
        }
    }
    print(&shown, args)?;
    fail(&mistakes)
}

fn shows(plugin: &PluginSpec) -> Shows {
    Shows {
        name: plugin.name.to_string(),
        may: config::permitted(plugin),
        nats: ServerRights::of(plugin),
    }
}

fn print(shown: &[Shows], args: &Args) -> anyhow::Result<()> {
    if args.json {
        return output::json(&shown);
    }
    for (at, plugin) in shown.iter().enumerate() {
        if at > 0 {
            output::line("")?;
        }
        if args.nats_server {
            let name = plugin.name.to_uppercase().replace('-', "_");
            let conf = plugin.nats.conf(&format!("{name}_PLUGIN"));
            output::line(output::visible(&conf).trim_end())?;
            continue;
        }
        output::line(&format!("the agents of {}", plugin.name))?;
        for sentence in &plugin.may {
            output::line(&format!("  {}", output::one_line(sentence, usize::MAX)))?;
        }
    }
    Ok(())
}

/// Mistakes come after what could be shown.
fn fail(mistakes: &Findings) -> anyhow::Result<()> {
    if mistakes.is_empty() {
        return Ok(());
    }
    Err(complain(mistakes))
}
