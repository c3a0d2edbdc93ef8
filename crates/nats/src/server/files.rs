//! The files of the host's own nats-server in the data folder.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rand::Rng as _;
use rand::distr::Alphanumeric;
use serde::{Deserialize, Serialize};

use super::error::ServerError;
use super::program::Program;
use crate::version;
use mistersmith_core::files::{read_text, tail};
use mistersmith_core::limits::MAX_SMALL_FILE;

/// The one user of the server.
pub(super) const USER: &str = "mistersmith";
/// Only the owner may read what holds the credential.
const PRIVATE: u32 = 0o600;
/// Lines of the log that an error quotes.
const QUOTED_LINES: usize = 8;
/// Bytes of the log that are looked at for them.
const QUOTED_BYTES: u64 = 4096;
/// Bytes of the log that are searched for the last complaint.
const SEARCHED_BYTES: u64 = 64 * 1024;

/// Where the host's own server listens: the content of `nats.json`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerConnection {
    /// Its URL, without credentials.
    pub url: String,
    /// The user to log in as.
    pub user: String,
    /// The password, generated at each start.
    pub password: String,
    /// The process id of the server.
    pub pid: u32,
}

/// Never shows the password.
impl std::fmt::Debug for ServerConnection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerConnection")
            .field("url", &self.url)
            .field("pid", &self.pid)
            .finish_non_exhaustive()
    }
}

impl ServerConnection {
    /// Reads what a running host has left in its data folder; none when no host with a server of
    /// its own runs there.
    pub fn read(data: &Path) -> Result<Option<Self>, ServerError> {
        let path = data.join("nats.json");
        let text = match read_text(&path, MAX_SMALL_FILE) {
            Ok(text) => text,
            Err(error) if error.is_absent() => return Ok(None),
            Err(error) => {
                let source = error.into();
                return Err(ServerError::File { path, source });
            }
        };
        serde_json::from_str(&text)
            .map(Some)
            .map_err(|error| ServerError::File {
                path,
                source: error.into(),
            })
    }
}

/// The paths, all absolute.
#[derive(Debug, Clone)]
pub(super) struct Files {
    data: PathBuf,
    pub(super) config: PathBuf,
    pub(super) log: PathBuf,
    pub(super) pid: PathBuf,
    version: PathBuf,
    connection: PathBuf,
}

impl Files {
    pub(super) fn new(data: &Path) -> Result<Self, ServerError> {
        let data = fs::canonicalize(data).map_err(|source| ServerError::File {
            path: data.to_owned(),
            source,
        })?;
        Ok(Self {
            config: data.join("nats-server.conf"),
            log: data.join("nats-server.log"),
            pid: data.join("nats-server.pid"),
            version: data.join("nats-server.version"),
            connection: data.join("nats.json"),
            data,
        })
    }

    pub(super) fn write_config(&self, password: &str) -> Result<(), ServerError> {
        let data = quoted(&self.data);
        let text = format!(
            "# Written at each start of the host.\n\
             listen: \"127.0.0.1:-1\"\n\
             ports_file_dir: {data}\n\
             jetstream {{ store_dir: {data} }}\n\
             authorization {{ user: {USER}, password: \"{password}\" }}\n"
        );
        self.write_private(&self.config, &text)
    }

    /// Remembers who is about to write the data. Refused where a newer server has: the form of the
    /// data changes with the first two numbers, and an old server misreads what a newer one wrote.
    /// Written before the server starts, because after its first byte it would be too late.
    pub(super) fn note_version(&self, program: &Program) -> Result<(), ServerError> {
        let last = read_text(&self.version, MAX_SMALL_FILE).unwrap_or_default();
        if version::goes_back(last.trim(), &program.version) {
            return Err(ServerError::Older {
                path: program.path.clone(),
                version: program.version.clone(),
                data: self.data.clone(),
                last: last.trim().to_owned(),
            });
        }
        self.write_private(&self.version, &program.version)
    }

    pub(super) fn write_connection(
        &self,
        connection: &ServerConnection,
    ) -> Result<(), ServerError> {
        let text = serde_json::to_string_pretty(connection).map_err(|error| ServerError::File {
            path: self.connection.clone(),
            source: error.into(),
        })?;
        self.write_private(&self.connection, &text)
    }

    pub(super) fn write_pid(&self, pid: u32) -> Result<(), ServerError> {
        self.write_private(&self.pid, &pid.to_string())
    }

    /// Removes `nats.json`: no server runs any more.
    pub(super) fn remove_connection(&self) {
        let _ = fs::remove_file(&self.connection);
    }

    pub(super) fn remove_pid(&self) {
        let _ = fs::remove_file(&self.pid);
    }

    /// The URL that the server has written down once it listens.
    pub(super) fn listening(&self, pid: u32) -> Option<String> {
        #[derive(Deserialize)]
        struct Ports {
            nats: Vec<String>,
        }
        let path = self.data.join(format!("nats-server_{pid}.ports"));
        let ports: Ports = serde_json::from_str(&read_text(&path, MAX_SMALL_FILE).ok()?).ok()?;
        let url = ports.nats.into_iter().next()?;
        let _ = fs::remove_file(path);
        Some(url)
    }

    /// A new log file; that of the run before is kept as `nats-server.log.old`.
    pub(super) fn new_log(&self) -> Result<fs::File, ServerError> {
        let _ = fs::rename(&self.log, self.log.with_extension("log.old"));
        self.private_file(&self.log)
            .map_err(|source| ServerError::File {
                path: self.log.clone(),
                source,
            })
    }

    /// The last error or warning in the log.
    pub(super) fn complaint(&self) -> Option<String> {
        let tail = tail(&self.log, SEARCHED_BYTES).ok()?;
        let tail = String::from_utf8_lossy(&tail);
        let complains = |line: &&str| ["[ERR]", "[FTL]", "[WRN]"].iter().any(|s| line.contains(s));
        tail.lines().rfind(complains).map(str::to_owned)
    }

    /// An error with the last lines of the log.
    pub(super) fn failed(&self, what: &str) -> ServerError {
        let tail = tail(&self.log, QUOTED_BYTES).unwrap_or_default();
        let tail = String::from_utf8_lossy(&tail);
        let mut lines: Vec<&str> = tail.lines().rev().take(QUOTED_LINES).collect();
        lines.reverse();
        ServerError::Failed {
            what: what.to_owned(),
            log: self.log.clone(),
            lines: lines.join("\n"),
        }
    }

    /// Writes a file that only the owner can read, in one step: a reader sees the old or the new
    /// one.
    fn write_private(&self, path: &Path, text: &str) -> Result<(), ServerError> {
        let fresh = path.with_extension("new");
        let written = self
            .private_file(&fresh)
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .and_then(|()| fs::rename(&fresh, path));
        written.map_err(|source| ServerError::File {
            path: path.to_owned(),
            source,
        })
    }

    fn private_file(&self, path: &Path) -> std::io::Result<fs::File> {
        // An old file would keep its old mode.
        let _ = fs::remove_file(path);
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(PRIVATE)
            .open(path)
    }
}

/// A password that nobody guesses: 256 bits and more.
pub(super) fn password() -> String {
    rand::rng()
        .sample_iter(Alphanumeric)
        .take(44)
        .map(char::from)
        .collect()
}

/// A path as a string of nats-server's configuration.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
