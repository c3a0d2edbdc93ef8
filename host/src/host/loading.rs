//! From files to a version that can run: manifest, cross-check, component, connection, buckets.

use std::path::Path;
use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::agent::Version;
use crate::config::{self, Candidate, CandidateKind, PluginSpec};
use crate::files::{self, ReadError};
use crate::limits::{MAX_COMPONENT, MAX_SMALL_FILE, PluginLimits};
use crate::permissions::PluginPermissions;
use crate::provision;
use crate::runtime::Component;
use crate::transport::{Link, Role, TransportError};

use super::Shared;
use super::watch::Seen;

/// What a plugin's files say.
pub(super) enum Read {
    /// A manifest without mistakes.
    Spec(Box<PluginSpec>),
    /// A component without a manifest.
    NoManifest,
    /// Source that was not compiled yet: what to tell the user.
    NotBuilt(String),
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

/// Reads a plugin's manifest; `others` are those that it must not quarrel with.
pub(super) async fn read(seen: &Seen, others: &[&PluginSpec]) -> Result<Read, Problem> {
    let candidate = seen.candidate.clone();
    match candidate.kind() {
        CandidateKind::NoManifest => return Ok(Read::NoManifest),
        CandidateKind::NotBuilt => return Ok(Read::NotBuilt(not_built(&candidate))),
        CandidateKind::Ready => {}
    }
    let spec = tokio::task::spawn_blocking(move || config::load_plugin(&candidate))
        .await
        .map_err(|error| Problem::Passing(error.to_string()))?
        .map_err(|findings| Problem::Files(findings.to_string()))?;
    let mut all = others.to_vec();
    all.push(&spec);
    let quarrels = config::cross_check(&all);
    if !quarrels.is_empty() {
        // The other one may change or go.
        return Err(Problem::Passing(quarrels.to_string()));
    }
    Ok(Read::Spec(Box::new(spec)))
}

/// Makes a version of a manifest that can run, after the one that runs now.
pub(super) async fn load(
    shared: &Shared,
    spec: Arc<PluginSpec>,
    before: Option<&Version>,
) -> Result<Version, Problem> {
    let component = compile(shared, &spec.component, &spec.dir, &spec.limits).await?;
    let (link, credentials) = own_link(shared, &spec, before).await?;
    provision::ensure_buckets(&shared.transport, &shared.spec.jetstream, &spec)
        .await
        .map_err(|error| Problem::Passing(format!("its buckets are not set up: {error}")))?;
    let requests = Arc::new(Semaphore::new(spec.limits.requests as usize));
    let permissions = PluginPermissions::compile(&spec.permissions, &spec.name);
    Ok(Version {
        spec,
        component,
        link,
        credentials,
        permissions,
        requests,
    })
}

async fn compile(
    shared: &Shared,
    file: &Path,
    folder: &Path,
    limits: &PluginLimits,
) -> Result<Component, Problem> {
    let read = files::read_aside(file, Some(folder), MAX_COMPONENT).await;
    let bytes = read.map_err(|error| unreadable(file, &error))?;
    let compiled = shared.around.runtime.compile(bytes, limits).await;
    compiled.map_err(|error| Problem::Files(format!("`{}`: {error}", file.display())))
}

/// A file of a plugin that was not read. It may lie in the folder by mistake, or be on its way.
fn unreadable(file: &Path, error: &ReadError) -> Problem {
    let text = format!("`{}`: {error}", file.display());
    match error {
        ReadError::Io(_) => Problem::Passing(text),
        _ => Problem::Files(text),
    }
}

/// The connection of a plugin: the host's, or one for its own credentials. While these are the same
/// the connection is too, so that no subscription is there twice during a reload.
async fn own_link(
    shared: &Shared,
    spec: &PluginSpec,
    before: Option<&Version>,
) -> Result<(Link, Option<Arc<[u8]>>), Problem> {
    let Some(file) = &spec.credentials else {
        return Ok((shared.transport.link(Role::Bulk).clone(), None));
    };
    let held = files::read_aside(file, Some(&spec.dir), MAX_SMALL_FILE).await;
    let held: Option<Arc<[u8]>> = match held {
        Ok(held) => Some(held.into()),
        // To connect will say why.
        Err(ReadError::Io(_)) => None,
        Err(error) => return Err(unreadable(file, &error)),
    };
    if let Some(before) = before
        && held.is_some()
        && before.credentials == held
    {
        return Ok((before.link.clone(), held));
    }
    let connected = shared.transport.connect_own(spec.name.as_str(), file).await;
    let connected = connected.map(|link| (link, held));
    connected.map_err(|error| {
        let text = format!("{}: plugin.credentials: {error}", spec.manifest.display());
        match error {
            TransportError::Denied(_) | TransportError::Invalid(_) => Problem::Files(text),
            _ => Problem::Passing(text),
        }
    })
}

fn not_built(candidate: &Candidate) -> String {
    let (name, dir) = (&candidate.name, candidate.dir.display());
    format!("`{dir}` has source and no component yet; run: mistersmith build {name}")
}

/// A component without a manifest has no grants, so it does not run; the user gets a manifest to
/// start from.
pub(super) async fn suggest(shared: &Shared, bare: &Candidate) {
    let Some(path) = bare.components.first() else {
        return;
    };
    match compile(shared, path, &bare.dir, &PluginLimits::default()).await {
        Ok(component) => {
            let manifest = config::suggest_manifest(&bare.name, &component.imports());
            tracing::warn!(
                plugin = %bare.name,
                "`{}` has no manifest, so it has no grants and is not run; to run it, write this to `{}`:\n{manifest}",
                path.display(),
                bare.manifest_path().display()
            );
        }
        Err(problem) => tracing::error!(plugin = %bare.name, "{}", problem.text()),
    }
}
