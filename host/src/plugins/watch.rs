//! The scan of the plugins folder, and the fingerprints by which it detects changes.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::Mutex;
use tokio::task::JoinHandle;
use tokio::time::{Interval, MissedTickBehavior};

use mistersmith_core::config::{self, Candidate, Findings};
use mistersmith_core::limits;

use super::pins::{LockFile, Pins};

/// One plugin in the folder.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    /// Its name, from the folder or the file.
    pub(super) name: String,
    /// The files found.
    pub(super) candidate: Candidate,
    /// The fingerprint of these files.
    pub(super) fingerprint: Fingerprint,
}

/// The result of one scan.
#[derive(Debug)]
pub(crate) struct Looked {
    /// The plugins in the folder.
    pub(super) seen: Vec<Seen>,
    /// The parts of the folder that could not be read.
    pub(super) findings: Findings,
    /// The lock's verdict.
    pub(super) pins: Arc<Pins>,
}

/// Path, size and modification time of every file that makes up a plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fingerprint(Vec<(PathBuf, Option<(u64, SystemTime)>)>);

impl Fingerprint {
    /// The fingerprint of a name that two plugins share; no content has the same.
    pub(super) fn doubled() -> Self {
        Self(Vec::new())
    }
}

#[cfg(test)]
impl Fingerprint {
    /// The fingerprint of one file of this size.
    pub(super) fn of(bytes: u64) -> Self {
        Self(vec![(
            "plugin.wasm".into(),
            Some((bytes, SystemTime::UNIX_EPOCH)),
        )])
    }
}

/// Scans the folder repeatedly, one scan at a time.
pub(crate) struct Watch {
    folder: PathBuf,
    lock: Arc<Mutex<LockFile>>,
    clock: Interval,
    /// Kept when the caller turns to something else: a file system that hangs must not add a
    /// blocked thread with each scan.
    looking: Option<JoinHandle<Looked>>,
}

impl Watch {
    pub(super) fn new(folder: &Path, lock: &Path) -> Self {
        let mut clock = tokio::time::interval(limits::SCAN);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            folder: folder.to_owned(),
            lock: Arc::new(Mutex::new(LockFile::new(lock))),
            clock,
            looking: None,
        }
    }

    /// The result of the next scan; cancel safe.
    pub(super) async fn next(&mut self) -> Looked {
        if self.looking.is_none() {
            self.clock.tick().await;
        }
        let (folder, lock) = (&self.folder, &self.lock);
        // The file system may be slow, so the scan runs on a blocking thread.
        let looking = self.looking.get_or_insert_with(|| {
            let (folder, lock) = (folder.clone(), lock.clone());
            tokio::task::spawn_blocking(move || look(&folder, &lock))
        });
        let looked = looking.await.unwrap_or_else(|error| Looked {
            seen: Vec::new(),
            findings: Findings::default(),
            pins: Arc::new(Pins::Unreadable(error.to_string())),
        });
        self.looking = None;
        looked
    }
}

fn look(folder: &Path, lock: &Mutex<LockFile>) -> Looked {
    // Before the folder: of a lock that is written after the files, one scan later is soon enough.
    let pins = lock.lock().look();
    let scan = config::scan(folder);
    let seen = scan.plugins.into_iter().map(|candidate| Seen {
        name: candidate.name.clone(),
        fingerprint: fingerprint(&candidate),
        candidate,
    });
    Looked {
        seen: seen.collect(),
        findings: scan.findings,
        pins,
    }
}

fn fingerprint(candidate: &Candidate) -> Fingerprint {
    let state = |path: &PathBuf| {
        let meta = std::fs::metadata(path).ok()?;
        Some((meta.len(), meta.modified().ok()?))
    };
    // Any file in a plugin's own folder may be a part of it (schemas, credentials, a component of
    // another name); the folders in it are source and build output.
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

/// Whether a file beside a manifest can change the plugin.
fn is_part(path: &Path) -> bool {
    let ending = path.extension().and_then(|ending| ending.to_str());
    let cargo = path.file_name().is_some_and(|name| name == "Cargo.toml");
    matches!(ending, Some("wasm" | "toml" | "json" | "creds")) && !cargo
}
