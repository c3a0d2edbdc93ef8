//! `mistersmith check`: imports, patterns, permissions and limits of plugins, and mistakes in them.
//!
//! Reports every mistake of every plugin at once. Starts nothing, writes nothing, needs no NATS.

mod mistake;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use futures_util::{StreamExt as _, stream};
use serde::Serialize;

use crate::cli::exit::{Exit, Shown};
use crate::cli::global::Global;
use crate::cli::output;
use crate::cli::usage::usage;
use mistake::Mistake;
use mistersmith_core::config::{
    self, Candidate, CandidateKind, Description, Findings, HostSpec, PluginSpec,
};
use mistersmith_core::files;
use mistersmith_core::limits::{COMPILE_PARALLEL, MAX_COMPONENT, PluginLimits};
use mistersmith_core::names::Priority;
use mistersmith_runtime::{
    Attempt, CompileLimits, Component, ComponentError, Runtime, RuntimeError, RuntimeOptions, Slow,
};

/// Durable consumers beyond which a cluster is loaded heavily: each is a Raft group.
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

/// The result of the check.
#[derive(Debug, Default, Serialize)]
struct Report {
    plugins: Vec<Plugin>,
    without_manifest: Vec<WithoutManifest>,
    mistakes: Vec<Mistake>,
    /// Valid settings with surprising effects.
    warnings: Vec<Mistake>,
}

/// A plugin with a readable manifest.
#[derive(Debug, Serialize)]
struct Plugin {
    #[serde(flatten)]
    description: Description,
    /// None when the component is broken.
    imports: Option<Vec<String>>,
}

/// A component without a manifest, which is not run.
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
    let runtime = runtime(&host)?;
    let mut report = Report::default();
    report.blame(scan.findings);
    // Concurrently, because compiling takes long; shown in their order.
    let looks = scan.plugins.iter().map(|candidate| {
        // The others are checked too: a mistake may concern two plugins.
        let wanted = args.names.is_empty() || args.names.contains(&candidate.name);
        look(&runtime, &host, candidate, wanted)
    });
    let looks: Vec<_> = looks.collect();
    let mut looks = stream::iter(looks).buffered(COMPILE_PARALLEL);
    let mut specs = Vec::new();
    while let Some((found, spec)) = looks.next().await {
        report.add(found);
        specs.extend(spec);
    }
    drop(looks);
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

/// A runtime that shares the compilation cache with a host of this data folder, and adds to it.
/// Where no host has run yet, or the folder belongs to another user, nothing is cached.
fn runtime(spec: &HostSpec) -> anyhow::Result<Runtime> {
    let options = |cache_dir| RuntimeOptions {
        program: spec.compiler.clone(),
        cache_dir,
        compiling: CompileLimits::default(),
        // As many as the host, so that the memory layout is the same.
        max_agents: spec.agents,
    };
    if spec.data.is_dir() {
        match Runtime::new(options(Some(spec.data.join("compiled")))) {
            Err(RuntimeError::Cache { .. }) => {}
            made => return Ok(made?),
        }
    }
    Ok(Runtime::new(options(None))?)
}

/// Checks one plugin; a mistake in its manifest does not hide those in its component.
async fn look(
    runtime: &Runtime,
    host: &HostSpec,
    candidate: &Candidate,
    wanted: bool,
) -> (Report, Option<PluginSpec>) {
    let mut report = Report::default();
    if candidate.kind() == CandidateKind::NoManifest {
        if wanted {
            without_manifest(runtime, candidate, &mut report).await;
        }
        return (report, None);
    }
    let loaded = config::load_plugin(candidate, &host.policy);
    if !wanted {
        return (report, loaded.ok());
    }
    match loaded {
        Ok(spec) => {
            let folder = &candidate.dir;
            let imports =
                imports(runtime, &spec.component, folder, &spec.limits, &mut report).await;
            report.plugins.push(Plugin {
                description: config::describe(&spec),
                imports,
            });
            (report, Some(spec))
        }
        Err(findings) => {
            report.blame(findings);
            if let Some(component) = candidate.components.first() {
                let limits = PluginLimits::default();
                imports(runtime, component, &candidate.dir, &limits, &mut report).await;
            }
            (report, None)
        }
    }
}

/// Checks components that are not run, without compiling them.
async fn without_manifest(runtime: &Runtime, candidate: &Candidate, report: &mut Report) {
    for component in &candidate.components {
        let imports = match files::read_within(component, &candidate.dir, MAX_COMPONENT) {
            Ok(bytes) => runtime
                .imports(bytes)
                .await
                .map_err(|error| error.to_string()),
            Err(error) => Err(format!("cannot be read: {error}")),
        };
        match imports {
            Ok(imports) => report.without_manifest.push(WithoutManifest {
                component: component.clone(),
                manifest: candidate.manifest_path(),
                suggestion: config::suggest_manifest(&candidate.name, &imports),
            }),
            Err(problem) => report.mistakes.push(Mistake::of_file(component, problem)),
        }
    }
}

/// Compiles a component; returns its imports, or adds a mistake.
async fn imports(
    runtime: &Runtime,
    component: &Path,
    folder: &Path,
    limits: &PluginLimits,
    report: &mut Report,
) -> Option<Vec<String>> {
    let problem = match files::read_within(component, folder, MAX_COMPONENT) {
        Ok(bytes) => match compile(runtime, component, bytes, limits).await {
            Ok(compiled) => return Some(compiled.imports()),
            Err(error) => error.to_string(),
        },
        Err(error) => format!("cannot be read: {error}"),
    };
    report.mistakes.push(Mistake::of_file(component, problem));
    None
}

async fn compile(
    runtime: &Runtime,
    file: &Path,
    bytes: Vec<u8>,
    limits: &PluginLimits,
) -> Result<Component, ComponentError> {
    let size = config::show_size(bytes.len() as u64);
    let slow = |slow: Slow| {
        output::remark(&format!(
            "compiling {} ({size}), one of {}, for {} s",
            file.display(),
            slow.running + slow.waiting,
            slow.elapsed.as_secs()
        ));
    };
    let attempt = Attempt {
        tries: 0,
        slow: &slow,
    };
    runtime.compile(bytes, limits, &attempt).await
}

impl Report {
    fn add(&mut self, other: Report) {
        self.plugins.extend(other.plugins);
        self.without_manifest.extend(other.without_manifest);
        self.mistakes.extend(other.mistakes);
    }

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

/// Imports grouped by package: `wasi:cli@0.2.6` has `exit`, `stderr` and so on.
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
