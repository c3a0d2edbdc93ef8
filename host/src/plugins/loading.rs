//! Loads a plugin's files into a revision that can run: manifest, cross-check, component,
//! connection, buckets.

use std::path::Path;
use std::sync::Arc;

use tokio::sync::{Semaphore, watch};

use crate::agents::PluginRevision;
use mistersmith_core::config::{self, Candidate, CandidateKind, PluginSpec};
use mistersmith_core::files::{self, ReadError};
use mistersmith_core::limits::{COMPILE_PATIENCE, MAX_COMPONENT, MAX_SMALL_FILE};
use mistersmith_core::permissions::PluginPermissions;
use mistersmith_nats::provision;
use mistersmith_nats::{Connection, TransportError};
use mistersmith_runtime::{Attempt, ByteRate, Component, Slow};

use super::pins::Pins;
use super::watch::Seen;
use crate::host::shared::Shared;

/// The content of a plugin's files.
pub(crate) enum Read {
    /// A manifest without mistakes.
    Spec(Box<PluginSpec>),
    /// A component without a manifest.
    NoManifest,
    /// Source that was not compiled yet, with a hint for the user.
    NotBuilt(String),
}

/// The problem that kept a plugin from loading.
#[derive(Debug)]
pub(crate) enum Problem {
    /// Its files are at fault: only a change of them can help.
    Files(String),
    /// The cause may pass: it is tried again.
    Passing(String),
    /// The lock does not pin these files: it is tried again when the lock changes.
    Held(String),
    /// Compiling its component cost too much, or the compiler failed: it is tried again at growing
    /// intervals, because each try is expensive.
    Costly(String),
}

impl Problem {
    /// The full text.
    pub(super) fn text(&self) -> &str {
        match self {
            Self::Files(text) | Self::Passing(text) | Self::Held(text) | Self::Costly(text) => text,
        }
    }
}

impl From<anyhow::Error> for Problem {
    fn from(error: anyhow::Error) -> Self {
        Self::Passing(format!("{error:#}"))
    }
}

/// Reads a plugin's manifest, which may ask for no more than the policy of the host allows;
/// `others` are those that it must not conflict with.
pub(super) async fn read(
    shared: &Arc<Shared>,
    seen: &Seen,
    others: &[&PluginSpec],
) -> Result<Read, Problem> {
    let candidate = seen.candidate.clone();
    match candidate.kind() {
        CandidateKind::NoManifest => return Ok(Read::NoManifest),
        CandidateKind::NotBuilt => return Ok(Read::NotBuilt(not_built(&candidate))),
        CandidateKind::Ready => {}
    }
    let shared = shared.clone();
    let read = move || config::load_plugin(&candidate, &shared.spec.policy);
    let spec = tokio::task::spawn_blocking(read)
        .await
        .map_err(|error| Problem::Passing(error.to_string()))?
        .map_err(|findings| Problem::Files(findings.to_string()))?;
    let mut all = others.to_vec();
    all.push(&spec);
    let quarrels = config::cross_check(&all);
    if !quarrels.is_empty() {
        // The other plugin may change or be removed.
        return Err(Problem::Passing(quarrels.to_string()));
    }
    Ok(Read::Spec(Box::new(spec)))
}

/// Reads a component, and asks the lock for it: what is held is not even compiled.
pub(super) async fn component(spec: &Arc<PluginSpec>, pins: Arc<Pins>) -> Result<Vec<u8>, Problem> {
    let bytes = bytes(&spec.component, &spec.dir).await?;
    let spec = spec.clone();
    let asked = tokio::task::spawn_blocking(move || match pins.holds(&spec, &bytes) {
        None => Ok(bytes),
        Some(why) => Err(Problem::Held(format!("it is held: {why}"))),
    });
    asked
        .await
        .map_err(|error| Problem::Passing(error.to_string()))?
}

/// Builds a revision from a manifest and its component, to follow the one that runs now.
pub(super) async fn load(
    shared: &Shared,
    spec: Arc<PluginSpec>,
    before: Option<&PluginRevision>,
    component: Component,
) -> Result<PluginRevision, Problem> {
    let (connection, credentials) = own_connection(shared, &spec, before).await?;
    provision::ensure_buckets(&shared.transport, &shared.spec.jetstream, &spec)
        .await
        .map_err(|error| Problem::Passing(format!("its buckets are not set up: {error}")))?;
    let granted = spec.permissions.kv.iter();
    let granted = granted.map(|grant| grant.bucket.clone()).collect();
    shared.healing_record.needs(&spec.name, granted);
    let requests = Arc::new(Semaphore::new(spec.limits.requests as usize));
    let bytes = Arc::new(ByteRate::new(spec.limits.publish_bytes));
    let permissions = PluginPermissions::compile(&spec.permissions, &spec.name);
    Ok(PluginRevision {
        spec,
        component,
        connection,
        credentials,
        permissions,
        requests,
        bytes,
    })
}

/// The compilation of a component, as its load task tracks it.
pub(crate) struct Compiling {
    /// How often compiling has failed before.
    pub(super) tries: u32,
    /// True while compiling takes long.
    pub(super) late: watch::Sender<bool>,
}

/// Compiles a component.
pub(super) async fn compile(
    shared: &Shared,
    spec: &PluginSpec,
    bytes: Vec<u8>,
    compiling: &Compiling,
) -> Result<Component, Problem> {
    let file = &spec.component;
    let (plugin, size) = (&spec.name, config::show_size(bytes.len() as u64));
    let slow = |slow: Slow| {
        if slow.elapsed >= COMPILE_PATIENCE || slow.gave_way {
            compiling.late.send_replace(true);
        }
        let (seconds, all) = (slow.elapsed.as_secs(), slow.running + slow.waiting);
        if slow.gave_way {
            tracing::info!(%plugin, size, seconds, "compiling begins again later: others go first");
        } else {
            tracing::info!(%plugin, size, seconds, "compiling the component, one of {all}");
        }
    };
    let attempt = Attempt {
        tries: compiling.tries,
        slow: &slow,
    };
    let runtime = &shared.deps.runtime;
    let compiled = runtime.compile(bytes, &spec.limits, &attempt).await;
    compiling.late.send_replace(false);
    compiled.map_err(|error| {
        let text = format!("`{}`: {error}", file.display());
        if error.is_passing() {
            Problem::Costly(text)
        } else {
            Problem::Files(text)
        }
    })
}

/// Reads a component, which must lie in this folder.
async fn bytes(file: &Path, folder: &Path) -> Result<Vec<u8>, Problem> {
    let read = read_within(file, folder, MAX_COMPONENT).await;
    read.map_err(|error| unreadable(file, &error))
}

/// Reads a file of a plugin's folder on a thread that may block on a slow disk.
async fn read_within(file: &Path, folder: &Path, most: u64) -> Result<Vec<u8>, ReadError> {
    let (file, folder) = (file.to_owned(), folder.to_owned());
    let reading = tokio::task::spawn_blocking(move || files::read_within(&file, &folder, most));
    reading.await.map_err(std::io::Error::other)?
}

/// The problem of an unreadable file. The file may lie in the folder by mistake, or still be on its
/// way.
fn unreadable(file: &Path, error: &ReadError) -> Problem {
    let text = format!("`{}`: {error}", file.display());
    match error {
        ReadError::Io(_) => Problem::Passing(text),
        _ => Problem::Files(text),
    }
}

/// The connection of a plugin: the host's, or one with the plugin's own credentials. It is reused
/// while the credentials are the same, so that no subscription exists twice during a reload.
async fn own_connection(
    shared: &Shared,
    spec: &PluginSpec,
    before: Option<&PluginRevision>,
) -> Result<(Connection, Option<Arc<[u8]>>), Problem> {
    let Some(file) = &spec.credentials else {
        let bulk = shared.transport.pooled(spec.name.as_str());
        return Ok((bulk.owned_by(spec.name.as_str()), None));
    };
    let held = read_within(file, &spec.dir, MAX_SMALL_FILE).await;
    let held: Option<Arc<[u8]>> = match held {
        Ok(held) => Some(held.into()),
        // The connection attempt reports the reason.
        Err(ReadError::Io(_)) => None,
        Err(error) => return Err(unreadable(file, &error)),
    };
    if let Some(before) = before
        && held.is_some()
        && before.credentials == held
    {
        return Ok((before.connection.clone(), held));
    }
    let connected = shared.transport.connect_own(spec.name.as_str(), file).await;
    let connected = connected.map(|connection| (connection.owned_by(spec.name.as_str()), held));
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

/// Suggests a manifest for a component that has none. Without a manifest it has no grants, so it is
/// neither compiled nor run.
pub(super) async fn suggest(shared: &Shared, bare: &Candidate) {
    let Some(path) = bare.components.first() else {
        return;
    };
    let imports = match bytes(path, &bare.dir).await {
        Ok(bytes) => shared.deps.runtime.imports(bytes).await,
        Err(problem) => {
            return tracing::error!(plugin = %bare.name, "{}", problem.text());
        }
    };
    match imports {
        Ok(imports) => {
            let manifest = config::suggest_manifest(&bare.name, &imports);
            tracing::warn!(
                plugin = %bare.name,
                "`{}` has no manifest, so it has no grants and is not run; to run it, write this to `{}`:\n{manifest}",
                path.display(),
                bare.manifest_path().display()
            );
        }
        Err(error) => tracing::error!(plugin = %bare.name, "`{}`: {error}", path.display()),
    }
}
