//! `mistersmith check`: what each plugin imports, takes part in, may do and may use, and every
//! mistake of every plugin at once. Starts nothing, writes nothing, needs no NATS.

mod mistake;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::cli::exit::{Exit, Shown, usage};
use crate::cli::global::Global;
use crate::cli::output;
use crate::config::{self, Candidate, CandidateKind, Description, Findings, PluginSpec};
use crate::files;
use crate::limits::{MAX_COMPONENT, PluginLimits};
use crate::names::Priority;
use crate::runtime::{Runtime, RuntimeOptions};
use mistake::Mistake;

/// Durable consumers of which a cluster should not have many more: each is a Raft group.
const MANY_CONSUMERS: usize = 200;

/// Arguments of `check`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Plugins to show; all when none is named
    names: Vec<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What was found.
#[derive(Debug, Default, Serialize)]
struct Report {
    plugins: Vec<Plugin>,
    without_manifest: Vec<WithoutManifest>,
    mistakes: Vec<Mistake>,
    /// What works, and surprises.
    warnings: Vec<Mistake>,
}

/// A plugin whose manifest can be read.
#[derive(Debug, Serialize)]
struct Plugin {
    #[serde(flatten)]
    description: Description,
    /// None when the component is broken.
    imports: Option<Vec<String>>,
}

/// A component that has no manifest, and so is not run.
#[derive(Debug, Serialize)]
struct WithoutManifest {
    component: PathBuf,
    manifest: PathBuf,
    suggestion: String,
}

pub(crate) async fn run(global: &Global, args: &Args) -> anyhow::Result<()> {
    let host = global.host_spec()?;
    let folder = &host.plugins;
    let scan = config::scan(folder);
    let known = |name: &String| scan.plugins.iter().any(|found| found.name == *name);
    if let Some(unknown) = args.names.iter().find(|name| !known(name)) {
        return Err(usage(format!(
            "no plugin `{unknown}` in {}",
            folder.display()
        )));
    }
    let runtime = Runtime::new(RuntimeOptions {
        cache_dir: None,
        max_agents: 1,
    })?;
    let mut report = Report::default();
    report.blame(scan.findings);
    let mut specs = Vec::new();
    for candidate in &scan.plugins {
        // Others are looked at too: a mistake may be between two of them.
        let wanted = args.names.is_empty() || args.names.contains(&candidate.name);
        specs.extend(look(&runtime, candidate, wanted, &mut report).await);
    }
    let all: Vec<&PluginSpec> = specs.iter().collect();
    report.blame(config::cross_check(&all));
    let wanted =
        |spec: &&PluginSpec| args.names.is_empty() || args.names.contains(&spec.name.to_string());
    let outlasting = specs
        .iter()
        .filter(wanted)
        .filter_map(|spec| config::outlasts_drain(spec, &host));
    report.warnings.extend(outlasting.map(Mistake::from));
    if args.json {
        output::json(&report)?;
    } else {
        show(&report, &specs)?;
    }
    if report.mistakes.is_empty() {
        return Ok(());
    }
    Err(Shown(Exit::USAGE).into())
}

/// Looks at one plugin; what is wrong with its manifest does not hide what is wrong with its
/// component.
async fn look(
    runtime: &Runtime,
    candidate: &Candidate,
    wanted: bool,
    report: &mut Report,
) -> Option<PluginSpec> {
    if candidate.kind() == CandidateKind::NoManifest {
        if wanted {
            without_manifest(runtime, candidate, report).await;
        }
        return None;
    }
    let loaded = config::load_plugin(candidate);
    if !wanted {
        return loaded.ok();
    }
    match loaded {
        Ok(spec) => {
            let folder = &candidate.dir;
            let imports = imports(runtime, &spec.component, folder, &spec.limits, report).await;
            report.plugins.push(Plugin {
                description: config::describe(&spec),
                imports,
            });
            Some(spec)
        }
        Err(findings) => {
            report.blame(findings);
            if let Some(component) = candidate.components.first() {
                let limits = PluginLimits::default();
                imports(runtime, component, &candidate.dir, &limits, report).await;
            }
            None
        }
    }
}

async fn without_manifest(runtime: &Runtime, candidate: &Candidate, report: &mut Report) {
    for component in &candidate.components {
        let limits = PluginLimits::default();
        let imports = imports(runtime, component, &candidate.dir, &limits, report).await;
        if let Some(imports) = imports {
            report.without_manifest.push(WithoutManifest {
                component: component.clone(),
                manifest: candidate.manifest_path(),
                suggestion: config::suggest_manifest(&candidate.name, &imports),
            });
        }
    }
}

/// Compiles a component; what it imports, or a mistake more.
async fn imports(
    runtime: &Runtime,
    component: &Path,
    folder: &Path,
    limits: &PluginLimits,
    report: &mut Report,
) -> Option<Vec<String>> {
    let problem = match files::read_within(component, folder, MAX_COMPONENT) {
        Ok(bytes) => match runtime.compile(bytes, limits).await {
            Ok(compiled) => return Some(compiled.imports()),
            Err(error) => error.to_string(),
        },
        Err(error) => format!("cannot be read: {error}"),
    };
    report.mistakes.push(Mistake::of_file(component, problem));
    None
}

impl Report {
    fn blame(&mut self, findings: Findings) {
        self.mistakes
            .extend(findings.into_iter().map(Mistake::from));
    }
}

fn show(report: &Report, specs: &[PluginSpec]) -> anyhow::Result<()> {
    for plugin in &report.plugins {
        show_plugin(plugin)?;
    }
    for found in &report.without_manifest {
        output::line(&format!(
            "{} has no manifest, so that it has no grants and is not run; to run it, write this \
             to {}:\n\n{}",
            found.component.display(),
            found.manifest.display(),
            found.suggestion
        ))?;
    }
    for mistake in &report.mistakes {
        output::complain(&mistake.to_string());
    }
    for warning in &report.warnings {
        output::remark(&format!("warning: {warning}"));
    }
    let consumers =
        specs.iter().map(|spec| spec.work.len()).sum::<usize>() * (Priority::ALL.len() + 1);
    let agents: u64 = specs.iter().map(|spec| u64::from(spec.instances)).sum();
    output::line(&format!(
        "{} plugins, {agents} agents on each host, {consumers} work queue consumers, {} mistakes",
        specs.len(),
        report.mistakes.len()
    ))?;
    if consumers > MANY_CONSUMERS {
        output::remark(&format!(
            "warning: on a cluster each of the {consumers} consumers is a Raft group; use \
             task = \"*\" for a whole domain where one plugin takes all its tasks"
        ));
    }
    Ok(())
}

fn show_plugin(plugin: &Plugin) -> anyhow::Result<()> {
    let Description {
        name,
        version,
        description,
        ..
    } = &plugin.description;
    let title = format!("{name} {version}  {}", output::one_line(description, 100));
    output::line(title.trim_end())?;
    for line in plugin.description.lines() {
        output::line(&format!("  {}", output::one_line(&line, usize::MAX)))?;
    }
    if let Some(imports) = &plugin.imports {
        output::line("  imports")?;
        for (package, interfaces) in by_package(imports) {
            let text = format!("    {package:<24} {}", interfaces.join(" "));
            output::line(&output::one_line(&text, usize::MAX))?;
        }
    }
    output::line("")
}

/// Imports by the package they are from: `wasi:cli@0.2.6` has `exit`, `stderr` and so on.
fn by_package(imports: &[String]) -> BTreeMap<String, Vec<&str>> {
    let mut packages: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for import in imports {
        let (path, version) = match import.split_once('@') {
            Some((path, version)) => (path, format!("@{version}")),
            None => (import.as_str(), String::new()),
        };
        let (package, interface) = path.split_once('/').unwrap_or((path, ""));
        packages
            .entry(format!("{package}{version}"))
            .or_default()
            .push(interface);
    }
    packages
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imports_are_grouped_by_package() {
        let imports = ["a:b/c@0.1.0", "a:b/d@0.1.0", "a:b/e@0.2.0", "bare"].map(str::to_owned);
        let packages = by_package(&imports);
        assert_eq!(packages.get("a:b@0.1.0"), Some(&vec!["c", "d"]));
        assert_eq!(packages.get("a:b@0.2.0"), Some(&vec!["e"]));
        assert_eq!(packages.get("bare"), Some(&vec![""]));
    }
}
