//! The record of the nats-server that kept the streams when the host last checked.
//!
//! The storage format of a server changes with the first two numbers of its version, and an older
//! server misreads what a newer one wrote, without an error: messages are delivered again, or are
//! missing. The host's own server refuses such data. For servers that a configuration names, the
//! host cannot refuse; it warns.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use mistersmith_core::files::read_text;
use mistersmith_core::limits::MAX_SMALL_FILE;
use mistersmith_nats::{ConnectionState, version};

/// The file of the record, in the data folder: the addresses and the version, a line each.
const FILE: &str = "nats-server.seen";

/// Records the version of the servers that a configuration names.
#[derive(Debug)]
pub(super) struct SeenServer {
    file: PathBuf,
}

impl SeenServer {
    pub(super) fn new(data: &Path) -> Self {
        Self {
            file: data.join(FILE),
        }
    }

    /// Compares the server with the record, then updates the record. Returns a warning if the
    /// server at the same addresses was newer.
    pub(super) fn look(&self, state: &ConnectionState) -> Option<String> {
        let seen = format!("{}\n{}\n", state.url, state.version);
        let before = read_text(&self.file, MAX_SMALL_FILE).unwrap_or_default();
        if before == seen {
            return None;
        }
        if let Err(error) = self.remember(&seen) {
            let file = self.file.display();
            tracing::debug!(%error, "`{file}` cannot be written");
        }
        let (url, last) = before.trim_end().split_once('\n')?;
        let back = url == state.url && version::goes_back(last, &state.version);
        back.then(|| {
            format!(
                "nats-server {} keeps the streams at {url} now, and {last} did before; an older server misreads \
                 what a newer one stored: messages come again or are missing; fix: go on with {last}, or \
                 begin with an empty store; while servers are upgraded one after the other this is no fault",
                state.version
            )
        })
    }

    /// Written to a temporary file and renamed: a crash leaves no partial file.
    fn remember(&self, seen: &str) -> std::io::Result<()> {
        let new = self.file.with_extension("new");
        match fs::remove_file(&new) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut options = OpenOptions::new();
        let mut file = options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&new)?;
        file.write_all(seen.as_bytes())?;
        fs::rename(&new, &self.file)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn state(url: &str, version: &str) -> ConnectionState {
        ConnectionState {
            connected: true,
            server: "s".to_owned(),
            version: version.to_owned(),
            jetstream: true,
            reconnects: 0,
            revivals: 0,
            denied_publishes: 0,
            url: url.to_owned(),
        }
    }

    #[test]
    fn an_older_server_at_the_same_addresses_is_warned_of_once() {
        let folder = tempfile::tempdir().unwrap();
        let seen = SeenServer::new(folder.path());
        let quiet = |url, version| assert_eq!(seen.look(&state(url, version)), None, "{version}");
        quiet("nats://a", "2.14.6");
        quiet("nats://a", "2.15.1");
        // The storage format does not depend on the last number.
        quiet("nats://a", "2.15.0");
        let text = seen.look(&state("nats://a", "2.9.10")).unwrap();
        assert!(text.contains("nats-server 2.9.10"), "{text}");
        assert!(text.contains("go on with 2.15.0"), "{text}");
        quiet("nats://a", "2.9.10");
        quiet("nats://a", "2.15.1");
        // Another system.
        quiet("nats://b", "2.9.10");
    }

    #[test]
    fn a_file_of_something_else_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let seen = SeenServer::new(folder.path());
        for text in ["", "\n", "nats://a", "nats://a\nnext\n"] {
            fs::write(folder.path().join(FILE), text).unwrap();
            assert_eq!(seen.look(&state("nats://a", "2.9.10")), None, "{text:?}");
        }
        assert!(seen.look(&state("nats://a", "2.8.0")).is_some());
    }
}
