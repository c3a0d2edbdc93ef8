//! The environment variables that configure a host.

use std::path::PathBuf;

/// The environment of a host; the caller reads it.
#[derive(Debug, Clone, Default)]
pub struct HostEnv {
    /// `NATS_URL`: servers, separated by commas, instead of those in the file. May hold user and
    /// password.
    pub nats_url: Option<String>,
    /// `NATS_CREDS`: a credentials file instead of what the file says about authentication.
    pub nats_creds: Option<PathBuf>,
    /// `MISTERSMITH_NATS_SERVER`: the program of a server of the host's own, instead of the file's.
    pub nats_server: Option<PathBuf>,
    /// The file of this program.
    pub program: Option<PathBuf>,
    /// `PATH`, its folders.
    pub path: Vec<PathBuf>,
    /// The program that compiles components: this one, under a name that stays its own when another
    /// file is put in its place.
    pub compiler: PathBuf,
}
