//! The cache of machine code: a folder that only the host's user can write.
//!
//! Each file carries a seal, an HMAC with the key of the folder. A file that is damaged, cut or
//! from elsewhere fails the check and is compiled again; without the seal it would be executed.
//! Files are written under a temporary name and renamed. The least recently used go first.

use std::cmp::Reverse;
use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rand::RngCore;

use super::artefact::{Artefact, SEAL};
use mistersmith_core::files;
use mistersmith_core::limits::{COMPILED_FOLDER, MAX_MACHINE_CODE};

/// The file with the key of the folder.
const KEY: &str = "key";

/// How long an unfinished file is kept: another host may be writing it.
const UNFINISHED: Duration = Duration::from_secs(60 * 60);

/// A folder of machine code.
#[derive(Debug)]
pub(super) struct Cache {
    folder: PathBuf,
    key: [u8; SEAL],
}

impl Cache {
    /// Makes the folder where it is missing, closes it to others, and reads or makes its key.
    ///
    /// # Errors
    /// It belongs to somebody else, or cannot be used.
    pub(super) fn open(folder: &Path) -> io::Result<Self> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)?;
        let about = fs::metadata(folder)?;
        if about.uid() != rustix::process::geteuid().as_raw() {
            let owner = format!("it belongs to the user with the number {}", about.uid());
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, owner));
        }
        if about.mode() & 0o077 != 0 {
            fs::set_permissions(folder, Permissions::from_mode(0o700))?;
        }
        Ok(Self {
            key: key(&folder.join(KEY))?,
            folder: folder.to_owned(),
        })
    }

    /// The machine code under this name, if its seal matches.
    pub(super) fn get(&self, name: &str) -> Option<Artefact> {
        let path = self.folder.join(name);
        let kept = files::read(&path, MAX_MACHINE_CODE + SEAL as u64).ok()?;
        let artefact = Artefact::unseal(&self.key, name, kept)?;
        // Only its age depends on it.
        let file = OpenOptions::new().append(true).open(&path);
        let _ = file.and_then(|file| file.set_modified(SystemTime::now()));
        Some(artefact)
    }

    /// Keeps an artefact under this name.
    ///
    /// # Errors
    /// It cannot be written; the artefact can be used all the same.
    pub(super) fn put(&self, name: &str, artefact: &Artefact) -> io::Result<()> {
        // Another host may write the same file now.
        let unique = format!(".{name}.{:016x}", rand::rng().next_u64());
        let unfinished = self.folder.join(unique);
        let written = self.write(&unfinished, name, artefact);
        let placed = written.and_then(|()| fs::rename(&unfinished, self.folder.join(name)));
        if placed.is_err() {
            let _ = fs::remove_file(&unfinished);
        }
        placed?;
        self.shrink(COMPILED_FOLDER)
    }

    fn write(&self, path: &Path, name: &str, artefact: &Artefact) -> io::Result<()> {
        let mut file = private().create_new(true).open(path)?;
        file.write_all(&artefact.seal(&self.key, name))?;
        file.write_all(artefact.code())
    }

    /// Removes the least recently used, until the rest has at most so many bytes.
    fn shrink(&self, most: u64) -> io::Result<()> {
        let now = SystemTime::now();
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let Ok(about) = entry.metadata() else {
                // Another host was quicker.
                continue;
            };
            if !about.is_file() || entry.file_name() == KEY {
                continue;
            }
            let used = about.modified()?;
            let old = now.duration_since(used).is_ok_and(|age| age > UNFINISHED);
            let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
            match (hidden, old) {
                (true, true) => remove(&entry.path())?,
                (true, false) => {}
                (false, _) => files.push((used, about.len(), entry.path())),
            }
        }
        files.sort_unstable_by_key(|(used, ..)| Reverse(*used));
        let mut kept = 0_u64;
        for (_, size, path) in files {
            kept = kept.saturating_add(size);
            if kept > most {
                remove(&path)?;
            }
        }
        Ok(())
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// For files that only we read and write.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    options
}

/// The key of the folder, made where there is none: locked, so that hosts that start at the same
/// time have one.
fn key(path: &Path) -> io::Result<[u8; SEAL]> {
    let mut file = private().create(true).truncate(false).open(path)?;
    file.lock()?;
    let mut key = Vec::new();
    (&file).take(SEAL as u64 + 1).read_to_end(&mut key)?;
    if let Ok(key) = key.try_into() {
        return Ok(key);
    }
    let mut key = [0; SEAL];
    rand::rng().fill_bytes(&mut key);
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(&key)?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn artefact(text: &str) -> Artefact {
        Artefact::made(text.as_bytes().to_vec())
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
        let mut names: Vec<String> = entries
            .map(|entry| entry.file_name().into_string().unwrap())
            .filter(|name| name != KEY)
            .collect();
        names.sort();
        names
    }

    #[test]
    fn what_is_kept_is_found_by_the_next_and_closed_to_others() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("data").join("compiled");
        let cache = Cache::open(&folder).unwrap();
        assert!(cache.get("one").is_none());
        cache.put("one", &artefact("code")).unwrap();
        let found = Cache::open(&folder).unwrap().get("one").unwrap();
        assert_eq!(found.code(), b"code");
        assert_eq!(names(&folder), ["one"], "nothing unfinished is left");
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!(mode(&folder), 0o700);
        assert_eq!(mode(&folder.join("one")), 0o600);
        assert_eq!(mode(&folder.join(KEY)), 0o600);
    }

    #[test]
    fn an_open_folder_is_closed() {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o777)).unwrap();
        Cache::open(folder.path()).unwrap();
        assert_eq!(fs::metadata(folder.path()).unwrap().mode() & 0o777, 0o700);
    }

    #[test]
    fn what_is_damaged_renamed_or_foreign_is_not_found() {
        let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let cache = Cache::open(folder.path()).unwrap();
        cache.put("one", &artefact("code")).unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::copy(path("one"), path("two")).unwrap();
        assert!(cache.get("two").is_none(), "renamed");
        let strange = Cache::open(other.path()).unwrap();
        strange.put("three", &artefact("code")).unwrap();
        fs::copy(other.path().join("three"), path("three")).unwrap();
        assert!(cache.get("three").is_none(), "of another folder");
        let mut kept = fs::read(path("one")).unwrap();
        *kept.last_mut().unwrap() ^= 1;
        fs::write(path("one"), kept).unwrap();
        assert!(cache.get("one").is_none(), "damaged");
        cache.put("one", &artefact("again")).unwrap();
        assert_eq!(cache.get("one").unwrap().code(), b"again");
        fs::create_dir(path("four")).unwrap();
        assert!(cache.get("four").is_none(), "a folder");
    }

    #[test]
    fn a_damaged_key_is_made_again() {
        let folder = tempfile::tempdir().unwrap();
        let put = |code| {
            Cache::open(folder.path())
                .unwrap()
                .put("one", &artefact(code))
        };
        put("code").unwrap();
        fs::write(folder.path().join(KEY), "short").unwrap();
        assert!(Cache::open(folder.path()).unwrap().get("one").is_none());
        put("again").unwrap();
        let found = Cache::open(folder.path()).unwrap().get("one").unwrap();
        assert_eq!(found.code(), b"again");
    }

    #[test]
    fn what_was_not_used_for_longest_goes_first() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path()).unwrap();
        let age = |name: &str, seconds| {
            let file = private().open(folder.path().join(name)).unwrap();
            let then = SystemTime::now() - Duration::from_secs(seconds);
            file.set_modified(then).unwrap();
        };
        for (name, seconds) in [("a", 400), ("b", 300), ("c", 200), ("d", 100)] {
            cache.put(name, &artefact("code")).unwrap();
            age(name, seconds);
        }
        for (name, seconds) in [(".a.1", 7200), (".b.2", 60)] {
            fs::write(folder.path().join(name), "unfinished").unwrap();
            age(name, seconds);
        }
        cache.get("a").unwrap();
        let each = SEAL as u64 + 4;
        cache.shrink(3 * each).unwrap();
        assert_eq!(names(folder.path()), [".b.2", "a", "c", "d"]);
        cache.shrink(each).unwrap();
        assert_eq!(names(folder.path()), [".b.2", "a"]);
    }

    #[test]
    fn a_folder_that_cannot_be_one_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(Cache::open(&file).is_err());
        assert!(Cache::open(&file.join("compiled")).is_err());
    }
}
