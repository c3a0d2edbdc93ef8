//! Finds the program nats-server on this machine, and its version.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use mistersmith_core::config::NatsSpec;
use tokio::process::Command;

use super::error::ServerError;
use crate::version;

/// The name of the program.
const NAME: &str = "nats-server";
/// Where packages put it; `/usr/sbin` is not on everybody's search path.
const FOLDERS: [&str; 3] = ["/usr/sbin", "/usr/local/bin", "/usr/local/sbin"];
/// How long it may take to say its version.
const ANSWER_WAIT: Duration = Duration::from_secs(10);

/// Where to look for the program.
#[derive(Debug, Clone, Default)]
pub struct Places {
    /// The file that somebody has named. Nothing else is taken then.
    pub named: Option<PathBuf>,
    /// The file of the program that looks: a server lies beside it, or where the build of this
    /// project puts the pinned one.
    pub beside: Option<PathBuf>,
    /// The folders of the search path. Those that are not absolute do not count: the current folder
    /// may be anybody's.
    pub path: Vec<PathBuf>,
}

impl Places {
    /// Where `[nats]` and the environment say.
    pub fn configured(nats: &NatsSpec) -> Self {
        Self {
            named: nats.program.clone(),
            beside: nats.beside.clone(),
            path: nats.path.clone(),
        }
    }
}

/// A program that has said its version.
#[derive(Debug)]
pub(super) struct Program {
    /// Its file.
    pub(super) path: PathBuf,
    /// Its version: `2.9.10`.
    pub(super) version: String,
}

impl Places {
    /// The files that may be the program, best first: what was put there for this host, before what
    /// the machine has for everybody.
    fn candidates(&self) -> Vec<PathBuf> {
        if let Some(named) = &self.named {
            return vec![named.clone()];
        }
        let mut found = Vec::new();
        if let Some(folder) = self.beside.as_deref().and_then(Path::parent) {
            found.push(folder.join(NAME));
            // target/debug/mistersmith, target/nats/<version>/bin/nats-server
            found.extend(folder.parent().map(|target| {
                let bin = target.join("nats").join(version::pinned()).join("bin");
                bin.join(NAME)
            }));
        }
        let searched = self.path.iter().filter(|folder| folder.is_absolute());
        found.extend(searched.map(|folder| folder.join(NAME)));
        found.extend(FOLDERS.map(|folder| Path::new(folder).join(NAME)));
        found
    }
}

/// The first program that is there and says its version; the one that is named must do so.
pub(super) async fn find(places: &Places) -> Result<Program, ServerError> {
    first_of(places.candidates(), places.named.as_deref()).await
}

async fn first_of(files: Vec<PathBuf>, named: Option<&Path>) -> Result<Program, ServerError> {
    for path in files.into_iter().filter(|path| is_program(path)) {
        match ask(&path).await {
            Ok(version) => return Ok(Program { path, version }),
            Err(why) if named.is_some() => return Err(ServerError::Program { path, why }),
            // Such as a stub of a version manager, or a program for other machines.
            Err(why) => {
                tracing::warn!(program = %path.display(), "not used as nats-server: it {why}");
            }
        }
    }
    Err(match named {
        Some(path) => ServerError::Program {
            path: path.to_owned(),
            why: "is no file that can be executed".to_owned(),
        },
        None => ServerError::NoBinary,
    })
}

fn is_program(path: &Path) -> bool {
    path.metadata()
        .is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

/// The version that the program says; else what it does instead, as the end of a sentence.
async fn ask(path: &Path) -> Result<String, String> {
    let asked = Command::new(path)
        .arg("--version")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(ANSWER_WAIT, asked)
        .await
        .map_err(|_| {
            format!(
                "does not say its version within {} s",
                ANSWER_WAIT.as_secs()
            )
        })?
        .map_err(|error| format!("cannot be started: {error}"))?;
    let said = String::from_utf8_lossy(&output.stdout);
    let version = said.trim().strip_prefix("nats-server: v");
    match version.filter(|version| version::numbers(version).is_some()) {
        Some(version) => Ok(version.to_owned()),
        None => Err(format!(
            "says no version of nats-server ({})",
            output.status
        )),
    }
}

#[cfg(test)]
mod tests;
