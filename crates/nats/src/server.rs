//! The host's own nats-server, for a configuration that names no servers.
//!
//! It listens on a free loopback port, admits only the credential that was made for this run, and
//! ends with the host: when it is stopped, when the host panics or is terminated, and when the host
//! is killed. A process that was not started from this data folder is never ended.

mod error;
mod files;
mod process;
mod program;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use mistersmith_core::config::Auth;
use tokio::process::Child;
use tokio::sync::{mpsc, watch};

use super::ConnectSpec;
use files::Files;

pub use error::ServerError;
pub use files::ServerConnection;
pub use program::Places;

/// How long the server may take until it listens; it reads back its streams first.
const START_WAIT: Duration = Duration::from_secs(60);
/// How long it may take to end when asked to.
const STOP_WAIT: Duration = Duration::from_secs(10);
/// How often its files are looked at while it starts.
const LOOK: Duration = Duration::from_millis(20);

/// The file of the program nats-server that a host would start.
///
/// # Errors
/// `NoBinary`, `Program`.
pub async fn find(places: &Places) -> Result<PathBuf, ServerError> {
    Ok(program::find(places).await?.path)
}

/// A running nats-server that belongs to this process.
#[derive(Debug)]
pub struct OwnServer {
    connection: ServerConnection,
    program: PathBuf,
    files: Files,
    /// Closed to ask the keeper to end the server.
    stop: mpsc::Sender<()>,
    ended: watch::Receiver<Option<String>>,
}

impl OwnServer {
    /// Starts the server with its data in `data`, which exists and belongs to this host alone, and
    /// waits until it listens. Writes `nats.json` there, for the other commands to find it.
    pub async fn start(data: &Path, places: &Places) -> Result<Self, ServerError> {
        let files = Files::new(data)?;
        process::end_orphan(&files).await?;
        let program = program::find(places).await?;
        files.note_version(&program)?;
        tracing::info!(
            version = program.version,
            program = %program.path.display(),
            "starting a nats-server"
        );
        let password = files::password();
        files.write_config(&password)?;
        let mut child = process::spawn(&program.path, &files)?;
        let pid = child.id().unwrap_or_default();
        let guard = match process::guard(pid, &files) {
            Ok(guard) => guard,
            Err(error) => {
                let _ = child.kill().await;
                return Err(error);
            }
        };
        let url = match wait_until_it_listens(&mut child, pid, &files).await {
            Ok(url) => url,
            Err(error) => {
                drop(guard);
                let _ = tokio::time::timeout(STOP_WAIT, child.wait()).await;
                return Err(error);
            }
        };
        let connection = ServerConnection {
            url,
            user: files::USER.to_owned(),
            password,
            pid,
        };
        files.write_connection(&connection)?;
        let (stop, stopped) = mpsc::channel(1);
        let (report, ended) = watch::channel(None);
        tokio::spawn(supervise(child, guard, stopped, report));
        Ok(Self {
            connection,
            program: program.path,
            files,
            stop,
            ended,
        })
    }

    /// Where it listens, and how to get in.
    pub fn connection(&self) -> &ServerConnection {
        &self.connection
    }

    /// The file of its program.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Resolves when the server has ended without having been asked to, with a sentence that says
    /// so.
    pub async fn died(&self) -> String {
        let mut ended = self.ended.clone();
        let how = match ended.wait_for(Option::is_some).await {
            Ok(how) => how.clone().unwrap_or_default(),
            Err(_) => "is no longer watched".to_owned(),
        };
        self.files.failed(&how).to_string()
    }

    /// The last line of its log in which it complains of something; none where it does not.
    pub fn complaint(&self) -> Option<String> {
        self.files.complaint()
    }

    /// Ends the server and waits until its data is on disk; kills it after ten seconds.
    pub async fn stop(self) {
        let mut ended = self.ended.clone();
        // The drop closes the channel, and the supervisor ends the server.
        drop(self);
        let _ = ended.wait_for(Option::is_some).await;
    }
}

impl Drop for OwnServer {
    fn drop(&mut self) {
        // `stop` is closed with us, and the keeper ends the server; without a runtime the guard
        // does.
        let _ = self.stop.try_send(());
        self.files.remove_connection();
    }
}

impl ServerConnection {
    /// The settings of a connection to this server.
    pub fn connect_spec(&self, host: &str) -> ConnectSpec {
        ConnectSpec {
            auth: Auth::UserPassword {
                user: self.user.clone(),
                password: self.password.clone(),
            },
            ..ConnectSpec::open(vec![self.url.clone()], host)
        }
    }
}

/// Owns the process: reports its end, and ends it on request.
async fn supervise(
    mut child: Child,
    guard: process::Guard,
    mut stopped: mpsc::Receiver<()>,
    report: watch::Sender<Option<String>>,
) {
    let how = tokio::select! {
        status = child.wait() => match status {
            Ok(status) => format!("ended unexpectedly ({status})"),
            Err(error) => format!("cannot be watched: {error}"),
        },
        _ = stopped.recv() => {
            guard.end();
            if tokio::time::timeout(STOP_WAIT, child.wait()).await.is_err() {
                tracing::warn!("nats-server did not end in {} s; killing it", STOP_WAIT.as_secs());
                let _ = child.kill().await;
            }
            "was stopped".to_owned()
        }
    };
    report.send_replace(Some(how));
}

async fn wait_until_it_listens(
    child: &mut Child,
    pid: u32,
    files: &Files,
) -> Result<String, ServerError> {
    let start = Instant::now();
    while start.elapsed() < START_WAIT {
        if let Some(url) = files.listening(pid) {
            return Ok(url);
        }
        if let Ok(Some(status)) = child.try_wait() {
            return Err(files.failed(&format!("ended while starting ({status})")));
        }
        tokio::time::sleep(LOOK).await;
    }
    Err(files.failed(&format!("does not listen after {} s", START_WAIT.as_secs())))
}

#[cfg(test)]
mod tests;
