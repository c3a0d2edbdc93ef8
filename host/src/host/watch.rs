//! What lies in the plugins folder, and whether it is the same as before.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use tokio::task::JoinHandle;
use tokio::time::{Interval, MissedTickBehavior};

use crate::config::{self, Candidate, Findings};
use crate::limits;

/// One plugin in the folder.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    /// Its name, from the folder or the file.
    pub(super) name: String,
    /// What was found of it.
    pub(super) candidate: Candidate,
    /// What tells this content from another.
    pub(super) fingerprint: Fingerprint,
}

/// Path, size and time of change of every file that a plugin is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fingerprint(Vec<(PathBuf, Option<(u64, SystemTime)>)>);

impl Fingerprint {
    /// What stands for a name that two plugins have: like no content.
    pub(super) fn doubled() -> Self {
        Self(Vec::new())
    }
}

/// Looks at the folder again and again, one look at a time.
pub(super) struct Watch {
    folder: PathBuf,
    clock: Interval,
    /// Kept when whoever waits for it turns to something else: a file system that hangs must not
    /// collect a blocked thread for each time.
    looking: Option<JoinHandle<(Vec<Seen>, Findings)>>,
}

impl Watch {
    pub(super) fn new(folder: &Path) -> Self {
        let mut clock = tokio::time::interval(limits::SCAN);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            folder: folder.to_owned(),
            clock,
            looking: None,
        }
    }

    /// What the next look sees; cancel safe.
    pub(super) async fn next(&mut self) -> (Vec<Seen>, Findings) {
        if self.looking.is_none() {
            self.clock.tick().await;
        }
        let folder = &self.folder;
        // The file system may be slow, so not on a thread that serves messages.
        let looking = self.looking.get_or_insert_with(|| {
            let folder = folder.clone();
            tokio::task::spawn_blocking(move || look(&folder))
        });
        let looked = looking.await.unwrap_or_default();
        self.looking = None;
        looked
    }
}

fn look(folder: &Path) -> (Vec<Seen>, Findings) {
    let scan = config::scan(folder);
    let seen = scan.plugins.into_iter().map(|candidate| Seen {
        name: candidate.name.clone(),
        fingerprint: fingerprint(&candidate),
        candidate,
    });
    (seen.collect(), scan.findings)
}

fn fingerprint(candidate: &Candidate) -> Fingerprint {
    let state = |path: &PathBuf| {
        let meta = std::fs::metadata(path).ok()?;
        Some((meta.len(), meta.modified().ok()?))
    };
    // Whatever lies in a plugin's own folder may be a part of it (schemas, credentials, a component
    // of another name); the folders in it are source and build output.
    let beside = std::fs::read_dir(&candidate.dir)
        .into_iter()
        .flatten()
        .flatten();
    let mut files: Vec<PathBuf> = if candidate.bare {
        candidate
            .components
            .iter()
            .cloned()
            .chain(candidate.manifest.clone())
            .collect()
    } else {
        beside
            .map(|entry| entry.path())
            .filter(|path| is_part(path))
            .collect()
    };
    files.sort();
    let states = files.into_iter().map(|path| {
        let state = state(&path);
        (path, state)
    });
    Fingerprint(states.collect())
}

/// Whether a file beside a manifest can change what the plugin is.
fn is_part(path: &Path) -> bool {
    let ending = path.extension().and_then(|ending| ending.to_str());
    let cargo = path.file_name().is_some_and(|name| name == "Cargo.toml");
    matches!(ending, Some("wasm" | "toml" | "json" | "creds")) && !cargo
}
