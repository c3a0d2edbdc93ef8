//! The connections of a command that talks to NATS.

use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use serde::Deserialize;

use crate::cli::global::Global;
use crate::config::{self, HostSpec, NatsSpec};
use crate::transport::{Auth, ConnectSpec, TlsFiles, Transport};

/// How the connections call themselves: `mistersmith-cli-control` and so on.
const NAME: &str = "cli";

/// How long a command goes on trying when no server answers. A person waits.
const PATIENCE: Duration = Duration::from_secs(3);

/// Where a host that has started a server of its own says how to reach it, below its data folder.
const OWN_SERVER: &str = "nats.json";

/// What that file says.
#[derive(Deserialize)]
struct OwnServer {
    url: String,
    user: String,
    password: String,
}

/// Connects to the servers that are named, else to the server that the host of this data folder
/// has started.
pub(crate) async fn connect(global: &Global) -> anyhow::Result<Transport> {
    to(&global.host_spec()?).await
}

/// As [`connect`], for a configuration that is read already.
pub(crate) async fn to(spec: &HostSpec) -> anyhow::Result<Transport> {
    let connect = if spec.nats.servers.is_empty() {
        let Some(server) = own_server(&spec.data)? else {
            bail!(
                "no NATS server is named, and no host runs on {}; start `mistersmith run`, or \
                 name a server with --nats, NATS_URL, or [nats] servers in mistersmith.toml",
                spec.data.display()
            );
        };
        let nats = NatsSpec {
            servers: vec![server.url],
            auth: config::Auth::UserPassword {
                user: server.user,
                password: server.password,
            },
            ..NatsSpec::default()
        };
        connect_spec(&nats)
    } else {
        connect_spec(&spec.nats)
    };
    Ok(Transport::connect(connect).await?)
}

fn connect_spec(nats: &NatsSpec) -> ConnectSpec {
    ConnectSpec {
        servers: nats.servers.clone(),
        auth: match nats.auth.clone() {
            config::Auth::None => Auth::None,
            config::Auth::Credentials(file) => Auth::Credentials(file),
            config::Auth::Nkey(file) => Auth::Nkey(file),
            config::Auth::UserPassword { user, password } => Auth::UserPassword { user, password },
        },
        tls: nats.tls.clone().map(|tls| TlsFiles {
            ca: tls.ca,
            cert: tls.cert,
            key: tls.key,
        }),
        plaintext: nats.plaintext,
        host: NAME.to_owned(),
        patience: Some(PATIENCE),
    }
}

/// The server that a host keeps for this data folder, if one runs; a host that was killed may have
/// left its file.
fn own_server(data: &Path) -> anyhow::Result<Option<OwnServer>> {
    let file = data.join(OWN_SERVER);
    let text = match std::fs::read_to_string(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            return Err(error).with_context(|| format!("cannot read {}", file.display()));
        }
    };
    let server = serde_json::from_str(&text)
        .with_context(|| format!("{} does not say how to reach a server", file.display()))?;
    Ok(Some(server))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_file_of_a_running_host_is_found() {
        let data = tempfile::tempdir().unwrap();
        assert!(own_server(data.path()).unwrap().is_none());
        let file = data.path().join(OWN_SERVER);
        std::fs::write(&file, "{}").unwrap();
        assert!(own_server(data.path()).is_err());
        let text = r#"{"url":"nats://127.0.0.1:1","user":"u","password":"p","pid":7}"#;
        std::fs::write(&file, text).unwrap();
        assert_eq!(own_server(data.path()).unwrap().unwrap().user, "u");
    }
}
