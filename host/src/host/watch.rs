//! What lies in the plugins folder, and whether it is the same as before.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::config::{self, Candidate};

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

/// Looks at the folder; the file system may be slow, so not on a thread that serves messages.
pub(super) async fn look(folder: &Path) -> std::io::Result<Vec<Seen>> {
    let folder = folder.to_owned();
    let looked = tokio::task::spawn_blocking(move || {
        let scan = config::scan(&folder)?;
        let seen = scan.into_iter().map(|candidate| Seen {
            name: candidate.name().to_owned(),
            fingerprint: fingerprint(&candidate),
            candidate,
        });
        Ok(seen.collect())
    });
    looked.await.unwrap_or_else(|error| Err(std::io::Error::other(error)))
}

fn fingerprint(candidate: &Candidate) -> Fingerprint {
    let state = |path: &PathBuf| {
        let meta = std::fs::metadata(path).ok()?;
        Some((meta.len(), meta.modified().ok()?))
    };
    let files = candidate.files();
    Fingerprint(files.into_iter().map(|path| { let s = state(&path); (path, s) }).collect())
}
