//! The data folder: whose it is, and the lock that keeps two hosts from sharing it.
//!
//! Only its owner can enter it. It holds credentials, and machine code that the host runs: whoever
//! could write there would be the host.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{ErrorKind, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use crate::files::read_text;
use crate::limits::MAX_SMALL_FILE;
use crate::names::HostId;

/// The folder, below it, of compiled components.
pub(super) const COMPILED: &str = "compiled";
/// Bytes of the lock that an error quotes: a process id.
const QUOTED: u64 = 32;

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
        keep_private(path).with_context(|| {
            format!("the data folder `{}` cannot be made; {fix}", path.display())
        })?;
        let file = path.join("host.lock");
        let mut lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .mode(0o600)
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
                let _ = lock.take(QUOTED).read_to_string(&mut pid);
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
        let compiled = path.join(COMPILED);
        keep_private(&compiled)
            .with_context(|| format!("the folder `{}` cannot be made", compiled.display()))?;
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

/// Makes a folder that only its owner can enter, or makes an existing one so.
fn keep_private(path: &Path) -> std::io::Result<()> {
    if let Some(above) = path.parent() {
        fs::create_dir_all(above)?;
    }
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists && path.is_dir() => {}
        made => return made,
    }
    let mode = fs::metadata(path)?.permissions().mode() & 0o7777;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    let shown = path.display();
    // `/tmp`, for instance: it is shared on purpose, and not for us to close.
    if mode & 0o1000 != 0 {
        tracing::warn!(
            "other users share `{shown}` (mode {mode:o}); give the host a folder of its own"
        );
        return Ok(());
    }
    match fs::set_permissions(path, Permissions::from_mode(mode & 0o700)) {
        Ok(()) => tracing::info!(
            "other users could enter `{shown}` (mode {mode:o}); now only its owner can"
        ),
        // A volume may belong to somebody else and be ours by its group.
        Err(error) => tracing::warn!(
            "other users can enter `{shown}` (mode {mode:o}), and that cannot be changed: {error}"
        ),
    }
    Ok(())
}

fn host_id(file: &Path) -> anyhow::Result<HostId> {
    let unusable = || {
        format!(
            "`{}` does not hold a host id; remove it to get a new one",
            file.display()
        )
    };
    match read_text(file, MAX_SMALL_FILE) {
        Ok(text) => text.trim().parse().with_context(unusable),
        Err(error) if error.is_absent() => {
            let id: HostId = nuid::next().to_ascii_lowercase().parse()?;
            // Written beside and renamed: a crash leaves no half id.
            let new = file.with_extension("new");
            let _ = fs::remove_file(&new);
            let mut options = OpenOptions::new();
            let opened = options.write(true).create_new(true).mode(0o600).open(&new);
            opened?.write_all(id.as_str().as_bytes())?;
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

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn only_the_owner_can_enter_it_also_where_it_was_open_before() {
        let outer = tempfile::tempdir().unwrap();
        let path = outer.path().join("new").join("data");
        drop(DataFolder::open(&path).unwrap());
        for before in [0o755, 0o777, 0o2775, 0o711] {
            for folder in [&path, &path.join(COMPILED)] {
                fs::set_permissions(folder, Permissions::from_mode(before)).unwrap();
            }
            let data = DataFolder::open(&path).unwrap();
            for (name, wanted) in [
                ("", 0o700),
                (COMPILED, 0o700),
                ("host_id", 0o600),
                ("host.lock", 0o600),
            ] {
                assert_eq!(mode(&data.path().join(name)), wanted, "{before:o} {name:?}");
            }
        }
        // Shared on purpose.
        fs::set_permissions(&path, Permissions::from_mode(0o1777)).unwrap();
        drop(DataFolder::open(&path).unwrap());
        assert_eq!(mode(&path), 0o1777);
    }

    #[test]
    fn an_id_that_is_no_file_is_one_clear_error() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("host_id");
        for target in ["/dev/zero", "/"] {
            let _ = fs::remove_file(&file);
            std::os::unix::fs::symlink(target, &file).unwrap();
            let error = format!("{:#}", DataFolder::open(folder.path()).unwrap_err());
            assert!(error.contains("does not hold a host id"), "{error}");
            assert!(error.contains("not a regular file"), "{error}");
        }
    }
}
