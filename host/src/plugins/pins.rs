//! The lock of this host, `mistersmith.lock`: read again whenever it changes.
//!
//! With a lock, a plugin that is not pinned, or whose files are not the pinned ones, is held. A
//! lock that cannot be read holds everything: otherwise whoever can damage the file could have any
//! plugin run.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use mistersmith_core::config::{Lock, Pin, PluginSpec};
use mistersmith_core::digest::Digest;
use mistersmith_core::files;
use mistersmith_core::limits::MAX_MANIFEST;

/// The result of the last read of the lock.
#[derive(Debug)]
pub(crate) enum Pins {
    /// There is no lock: nothing is held.
    Absent,
    /// The plugins that may run.
    Pinned(Lock),
    /// It cannot be read: everything is held.
    Unreadable(String),
}

impl Pins {
    /// Why a plugin with this manifest and this component is held.
    pub(super) fn holds(&self, spec: &PluginSpec, component: &[u8]) -> Option<String> {
        match self {
            Self::Absent => None,
            Self::Unreadable(problem) => Some(problem.clone()),
            Self::Pinned(lock) => {
                let files = Pin {
                    component: Digest::of(component),
                    manifest: spec.digest,
                };
                lock.holds(spec.name.as_str(), &files)
            }
        }
    }
}

/// The content of the file, and what it means.
pub(super) struct LockFile {
    path: PathBuf,
    /// None: there is no file. The error of one that cannot be read counts as content.
    content: Option<Result<Vec<u8>, String>>,
    pins: Arc<Pins>,
}

impl LockFile {
    /// The lock at this path; not read yet.
    pub(super) fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            content: None,
            pins: Arc::new(Pins::Absent),
        }
    }

    /// Reads the file, and its meaning where it has changed: without a change the same `Arc` is
    /// returned.
    pub(super) fn look(&mut self) -> Arc<Pins> {
        let content = match files::read(&self.path, MAX_MANIFEST) {
            Ok(bytes) => Some(Ok(bytes)),
            Err(error) if error.is_absent() => None,
            Err(error) => Some(Err(error.to_string())),
        };
        if content != self.content {
            self.pins = Arc::new(self.meaning(content.clone()));
            self.content = content;
        }
        self.pins.clone()
    }

    fn meaning(&self, content: Option<Result<Vec<u8>, String>>) -> Pins {
        match content {
            None => Pins::Absent,
            Some(Ok(bytes)) => match Lock::parse(&self.path, bytes) {
                Ok(lock) => Pins::Pinned(lock),
                Err(findings) => Pins::Unreadable(findings.to_string()),
            },
            Some(Err(error)) => {
                let path = self.path.display();
                Pins::Unreadable(format!(
                    "{path}: it cannot be read: {error}; run: mistersmith lock"
                ))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::testing::plugin_spec;

    #[test]
    fn the_lock_is_read_again_when_it_changes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mistersmith.lock");
        let mut file = LockFile::new(&path);
        let spec = plugin_spec("echo", "1");
        let held = |pins: &Pins| pins.holds(&spec, b"component").is_some();
        let absent = file.look();
        assert!(!held(&absent) && Arc::ptr_eq(&absent, &file.look()));

        let pin = Pin {
            component: Digest::of(b"component"),
            manifest: spec.digest,
        };
        let mut lock = Lock::default();
        std::fs::write(&path, lock.text()).unwrap();
        let empty = file.look();
        assert!(held(&empty) && Arc::ptr_eq(&empty, &file.look()));
        lock.plugins.insert("echo".to_owned(), pin);
        std::fs::write(&path, lock.text()).unwrap();
        assert!(!held(&file.look()));
        assert!(file.look().holds(&spec, b"other").is_some());

        std::fs::write(&path, "version = ").unwrap();
        let broken = file.look();
        assert!(held(&broken) && matches!(&*broken, Pins::Unreadable(_)));
        std::fs::remove_file(&path).unwrap();
        assert!(!held(&file.look()));
        std::fs::create_dir(&path).unwrap();
        assert!(held(&file.look()), "it is there, and is no file");
    }
}
