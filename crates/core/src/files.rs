//! Reads files that a stranger may have written: each is opened once, checked, and read up to a
//! bound.
//!
//! Only regular files are read: a pipe would block a thread, a device would be read without end.
//! The checks use the open file, not its name: a file may be replaced or grow between a check of
//! the name and the read.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use thiserror::Error;

/// The error of a file that was not read.
#[derive(Debug, Error)]
pub enum ReadError {
    /// It is a folder, a device, a pipe or a socket.
    #[error("it is not a regular file")]
    NotRegular,
    /// It is larger than allowed, in bytes.
    #[error("it has more than {0} bytes")]
    TooLarge(u64),
    /// It does not lie in this folder.
    #[error("it is a link out of {}", .0.display())]
    Outside(PathBuf),
    /// The error of the system.
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl ReadError {
    /// Whether there is no such file.
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Io(error) if error.kind() == io::ErrorKind::NotFound)
    }
}

impl From<ReadError> for io::Error {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Io(error) => error,
            other => Self::other(other),
        }
    }
}

/// Reads a regular file of at most `most` bytes.
pub fn read(path: &Path, most: u64) -> Result<Vec<u8>, ReadError> {
    bounded(open(path)?, most)
}

/// The same, for a file that must lie in `folder`, links followed.
pub fn read_within(path: &Path, folder: &Path, most: u64) -> Result<Vec<u8>, ReadError> {
    bounded(open_within(path, folder)?, most)
}

/// The same as [`read`], for text.
pub fn read_text(path: &Path, most: u64) -> Result<String, ReadError> {
    let text = String::from_utf8(read(path, most)?);
    text.map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8").into())
}

/// The last `most` bytes of a regular file of any size, or all of it.
pub fn tail(path: &Path, most: u64) -> Result<Vec<u8>, ReadError> {
    let mut file = open(path)?;
    let from = file.metadata()?.len().saturating_sub(most);
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Whether a path leads to something in `folder`, links followed. It may lead elsewhere a moment
/// later: this is for a message in good time, and [`read_within`] for the decision.
pub fn leads_within(path: &Path, folder: &Path) -> bool {
    match (path.canonicalize(), folder.canonicalize()) {
        (Ok(path), Ok(folder)) => path.starts_with(folder),
        _ => false,
    }
}

fn open(path: &Path) -> Result<File, ReadError> {
    // To open a device can have an effect of its own; so its name is asked first.
    if !fs::metadata(path)?.is_file() {
        return Err(ReadError::NotRegular);
    }
    // To open a pipe would wait for whoever writes to it, and a terminal could become ours.
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits();
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags.cast_signed())
        .open(path)?;
    // The name may lead elsewhere by now.
    if !file.metadata()?.is_file() {
        return Err(ReadError::NotRegular);
    }
    Ok(file)
}

fn open_within(path: &Path, folder: &Path) -> Result<File, ReadError> {
    let file = open(path)?;
    let (inner, real) = (folder.canonicalize()?, path.canonicalize()?);
    if real.starts_with(&inner) && is_inside(&file, &real, &inner)? {
        return Ok(file);
    }
    Err(ReadError::Outside(folder.to_owned()))
}

/// Whether the open file lies in a folder. `real` is the path that its name led to a moment later.
fn is_inside(file: &File, real: &Path, folder: &Path) -> io::Result<bool> {
    // Linux knows under which path it was opened.
    if let Ok(opened) = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())) {
        return Ok(opened.starts_with(folder));
    }
    let (ours, there) = (file.metadata()?, fs::symlink_metadata(real)?);
    Ok((ours.dev(), ours.ino()) == (there.dev(), there.ino()))
}

fn bounded(file: File, most: u64) -> Result<Vec<u8>, ReadError> {
    let size = file.metadata()?.len();
    if size > most {
        return Err(ReadError::TooLarge(most));
    }
    let mut bytes = Vec::new();
    // Not more than the file says that it has: it need not be true.
    bytes.reserve_exact(usize::try_from(size).unwrap_or_default());
    // One byte beyond tells a file that grows from one that fits.
    file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(ReadError::TooLarge(most));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;
