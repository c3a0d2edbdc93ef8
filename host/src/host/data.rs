//! The data folder: whose it is, and the lock that keeps two hosts from sharing it.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use crate::names::HostId;

/// A locked data folder. Dropping it gives the lock back.
#[derive(Debug)]
pub struct DataFolder {
    path: PathBuf,
    host_id: HostId,
    _lock: File,
}

impl DataFolder {
    /// Creates the folder where it is missing, locks it, and reads or makes the host's id.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let fix = "name another folder with --data or [host] data in mistersmith.toml";
        fs::create_dir_all(path).with_context(|| {
            format!("the data folder `{}` cannot be made; {fix}", path.display())
        })?;
        let file = path.join("host.lock");
        let mut lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&file)
            .with_context(|| {
                format!(
                    "the data folder `{}` cannot be written; {fix}",
                    path.display()
                )
            })?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut pid = String::new();
                let _ = lock.read_to_string(&mut pid);
                let pid = pid.trim();
                bail!(
                    "the data folder `{}` is in use by another host (process {pid}); \
                     stop that host, or {fix}",
                    path.display()
                );
            }
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| {
                    format!("the data folder `{}` cannot be locked", path.display())
                });
            }
        }
        lock.set_len(0)?;
        lock.rewind()?;
        write!(lock, "{}", std::process::id())?;
        let host_id = host_id(&path.join("host_id"))?;
        // Absolute, because the server that we start runs in another folder.
        let path = fs::canonicalize(path)?;
        Ok(Self {
            path,
            host_id,
            _lock: lock,
        })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The id of the host whose folder this is.
    pub fn host_id(&self) -> &HostId {
        &self.host_id
    }
}

fn host_id(file: &Path) -> anyhow::Result<HostId> {
    let unusable = || {
        format!(
            "`{}` does not hold a host id; remove it to get a new one",
            file.display()
        )
    };
    match fs::read_to_string(file) {
        Ok(text) => text.trim().parse().with_context(unusable),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let id: HostId = nuid::next().to_ascii_lowercase().parse()?;
            // Written beside and renamed: a crash leaves no half id.
            let new = file.with_extension("new");
            fs::write(&new, id.as_str())?;
            fs::rename(&new, file)?;
            Ok(id)
        }
        Err(error) => Err(error).with_context(unusable),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_id_stays_and_the_folder_is_not_shared() {
        let folder = tempfile::tempdir().unwrap();
        let first = DataFolder::open(folder.path()).unwrap();
        let id = first.host_id().clone();
        let error = DataFolder::open(folder.path()).unwrap_err().to_string();
        assert!(error.contains("in use by another host"), "{error}");
        assert!(error.contains(&std::process::id().to_string()), "{error}");
        drop(first);
        assert_eq!(*DataFolder::open(folder.path()).unwrap().host_id(), id);
    }

    #[test]
    fn a_file_in_its_place_is_one_clear_error() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("data");
        fs::write(&file, "").unwrap();
        let error = DataFolder::open(&file).unwrap_err().to_string();
        assert!(error.contains("--data"), "{error}");
    }
}
