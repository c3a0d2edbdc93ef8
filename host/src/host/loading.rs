//! From files to a version that can run: manifest, cross-check, component, connection, buckets.

use std::sync::Arc;

use crate::agent::Version;
use crate::config::{self, Candidate, CandidateKind, PluginSpec};
use crate::limits::PluginLimits;
use crate::provision;
use crate::transport::{Role, TransportError};

use tokio::sync::Semaphore;

use super::Shared;
use super::watch::Seen;

/// What came of looking at a plugin's files.
pub(super) enum Loaded {
    /// It can run.
    Version(Box<Version>),
    /// There is nothing to run, and that is no mistake: what to tell the user.
    NotForRunning(String),
}

/// Why a plugin was not loaded.
#[derive(Debug)]
pub(super) enum Problem {
    /// Something is wrong with its files: only a change of them can help.
    Files(String),
    /// Something else is: it is tried again.
    Passing(String),
}

impl Problem {
    /// The whole story.
    pub(super) fn text(&self) -> &str {
        match self {
            Self::Files(text) | Self::Passing(text) => text,
        }
    }
}

impl From<anyhow::Error> for Problem {
    fn from(error: anyhow::Error) -> Self {
        Self::Passing(format!("{error:#}"))
    }
}

/// Loads a plugin; `others` are those that run beside it.
pub(super) async fn load(
    shared: &Shared,
    seen: &Seen,
    others: &[Arc<PluginSpec>],
) -> Result<Loaded, Problem> {
    let candidate = seen.candidate.clone();
    match candidate.kind() {
        CandidateKind::NoManifest => return no_manifest(shared, &candidate).await,
        CandidateKind::NotBuilt => return Ok(Loaded::NotForRunning(not_built(&candidate))),
        CandidateKind::Ready => {}
    }
    let spec = tokio::task::spawn_blocking(move || config::load_plugin(&candidate))
        .await
        .map_err(|error| Problem::Passing(error.to_string()))?
        .map_err(|findings| Problem::Files(findings.to_string()))?;
    let mut all: Vec<&PluginSpec> = others.iter().map(Arc::as_ref).collect();
    all.push(&spec);
    let quarrels = config::cross_check(&all);
    if !quarrels.is_empty() {
        return Err(Problem::Files(quarrels.to_string()));
    }
    let bytes = tokio::fs::read(&spec.component)
        .await
        .map_err(|error| Problem::Passing(format!("`{}`: {error}", spec.component.display())))?;
    let component = shared
        .around
        .runtime
        .compile(bytes, &spec.limits)
        .await
        .map_err(|error| Problem::Files(format!("{}: {error}", spec.component.display())))?;
    let link = match &spec.credentials {
        None => shared.transport.link(Role::Bulk).clone(),
        Some(file) => shared
            .transport
            .connect_own(spec.name.as_str(), file)
            .await
            .map_err(|error| own_credentials(&spec, &error))?,
    };
    provision::ensure(
        shared.transport.link(Role::Control),
        &shared.spec.jetstream,
        &[&spec],
    )
    .await
    .map_err(|error| Problem::Passing(format!("its buckets are not set up: {error:#}")))?;
    let requests = Arc::new(Semaphore::new(spec.limits.requests as usize));
    Ok(Loaded::Version(Box::new(Version {
        spec: Arc::new(spec),
        component,
        link,
        requests,
    })))
}

fn own_credentials(spec: &PluginSpec, error: &TransportError) -> Problem {
    let text = format!("{}: plugin.credentials: {error}", spec.manifest.display());
    match error {
        TransportError::Denied(_) | TransportError::Invalid(_) => Problem::Files(text),
        _ => Problem::Passing(text),
    }
}

fn not_built(candidate: &Candidate) -> String {
    let (name, dir) = (&candidate.name, candidate.dir.display());
    format!("`{dir}` has source and no component yet; run: mistersmith build {name}")
}

/// A component without a manifest has no grants, so it does not run; the user gets one to start from.
async fn no_manifest(shared: &Shared, bare: &Candidate) -> Result<Loaded, Problem> {
    let Some(path) = bare.components.first() else {
        return Err(Problem::Files(format!(
            "`{}` holds no component",
            bare.dir.display()
        )));
    };
    let bytes = tokio::fs::read(path)
        .await
        .map_err(|error| Problem::Passing(format!("`{}`: {error}", path.display())))?;
    let component = shared
        .around
        .runtime
        .compile(bytes, &PluginLimits::default())
        .await
        .map_err(|error| Problem::Files(format!("{}: {error}", path.display())))?;
    let manifest = config::suggest_manifest(&bare.name, &component.imports());
    Ok(Loaded::NotForRunning(format!(
        "`{}` has no manifest, so it has no grants and is not run; to run it, write this to `{}`:\n{manifest}",
        path.display(),
        bare.manifest_path().display()
    )))
}
