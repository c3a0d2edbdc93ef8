//! The data folder, with its owner and the lock that keeps two hosts from sharing it.
//!
//! Only its owner can enter it. It holds credentials and machine code that the host executes:
//! anyone who can write there can take over the host.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{ErrorKind, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use mistersmith_core::files::read_text;
use mistersmith_core::limits::MAX_SMALL_FILE;
use mistersmith_core::names::HostId;

/// The subfolder of compiled components.
pub(super) const COMPILED: &str = "compiled";
/// Number of bytes of the lock file that an error quotes: a process id.
const QUOTED: u64 = 32;

/// A locked data folder; dropping it releases the lock.
#[derive(Debug)]
pub struct DataFolder {
    path: PathBuf,
    host_id: HostId,
    place: Option<String>,
    _lock: File,
}

impl DataFolder {
    /// Creates the folder if it is missing, locks it, and reads or creates the host's id.
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
        let place = place(&lock);
        let compiled = path.join(COMPILED);
        keep_private(&compiled)
            .with_context(|| format!("the folder `{}` cannot be made", compiled.display()))?;
        // Absolute, because the server that the host starts runs in another folder.
        let path = fs::canonicalize(path)?;
        Ok(Self {
            path,
            host_id,
            place,
            _lock: lock,
        })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The id of the host that owns this folder.
    pub fn host_id(&self) -> &HostId {
        &self.host_id
    }

    /// A value that no other data folder has while this machine runs, copies included; `None` if
    /// the system does not provide one. An earlier holder of a lease with the same value has ended,
    /// because this process has the lock.
    pub fn place(&self) -> Option<&str> {
        self.place.as_deref()
    }
}

/// Identifies the lock file and this boot of the machine: a copied file is another file, and a
/// copied machine booted at another time.
#[cfg(target_os = "linux")]
fn place(lock: &File) -> Option<String> {
    use std::fmt::Write as _;
    use std::os::unix::fs::MetadataExt as _;

    use sha2::{Digest as _, Sha256};

    let boot = Path::new("/proc/sys/kernel/random/boot_id");
    let boot = read_text(boot, MAX_SMALL_FILE).ok()?;
    let file = lock.metadata().ok()?;
    let text = format!("{}:{}:{}", boot.trim(), file.dev(), file.ino());
    let digest = Sha256::digest(text.as_bytes());
    let mut place = String::new();
    for byte in digest.iter().take(16) {
        let _ = write!(place, "{byte:02x}");
    }
    Some(place)
}

/// Not available on this system.
#[cfg(not(target_os = "linux"))]
fn place(_lock: &File) -> Option<String> {
    None
}

/// Makes a folder accessible to its owner only, creating it if it is missing.
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
    // Such as `/tmp`: shared on purpose, and not ours to close.
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
        // A volume may belong to another user and be ours by its group.
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
            // Written to a temporary file and renamed: a crash leaves no partial id.
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
        let place = first.place().map(str::to_owned);
        drop(first);
        let again = DataFolder::open(folder.path()).unwrap();
        assert_eq!(*again.host_id(), id);
        assert_eq!(again.place(), place.as_deref());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_copy_has_the_same_id_and_another_place() {
        let (folder, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let first = DataFolder::open(folder.path()).unwrap();
        for file in ["host_id", "host.lock"] {
            fs::copy(folder.path().join(file), copy.path().join(file)).unwrap();
        }
        let second = DataFolder::open(copy.path()).unwrap();
        assert_eq!(first.host_id(), second.host_id());
        assert!(first.place().is_some());
        assert_ne!(first.place(), second.place());
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
