//! nats-servers of a chosen program, one alone or several as a cluster.
//!
//! Dropping a value ends its servers; so does the end of this process, by guards. Without them a
//! killed benchmark would leave servers behind.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tokio::process::{Child, ChildStdin, Command};

use super::guard::guard;
use mistersmith_nats::server::{OwnServer, Places, ServerConnection};

const USER: &str = "bench";
/// How long a server may take until it listens.
const START_WAIT: Duration = Duration::from_secs(30);
/// How often its file of ports is looked for.
const LOOK: Duration = Duration::from_millis(20);

/// The servers of a scenario.
pub(super) enum Servers {
    /// A server as a host starts it for itself.
    Own(OwnServer),
    /// Servers of a chosen program.
    Chosen(Cluster),
}

impl Servers {
    pub(super) async fn own(data: &Path, places: &Places) -> anyhow::Result<Self> {
        Ok(Self::Own(OwnServer::start(data, places).await?))
    }

    pub(super) async fn chosen(program: &Path, data: &Path, size: usize) -> anyhow::Result<Self> {
        Ok(Self::Chosen(Cluster::start(program, data, size).await?))
    }

    pub(super) fn connection(&self) -> &ServerConnection {
        match self {
            Self::Own(server) => server.connection(),
            Self::Chosen(cluster) => &cluster.connection,
        }
    }

    /// Ends them; a chosen one at once, since its data is not kept.
    pub(super) async fn stop(self) {
        match self {
            Self::Own(server) => server.stop().await,
            Self::Chosen(cluster) => drop(cluster),
        }
    }
}

pub(super) struct Cluster {
    connection: ServerConnection,
    _servers: Vec<Server>,
}

struct Server {
    _child: Child,
    _guard: ChildStdin,
}

impl Cluster {
    /// Starts so many servers, each with its data below `folder`.
    async fn start(program: &Path, folder: &Path, size: usize) -> anyhow::Result<Self> {
        let password = nuid::next().to_string();
        let routes = routes(size)?;
        let (mut servers, mut first) = (Vec::new(), None);
        for (number, route) in routes.iter().enumerate() {
            let folder = folder.join(format!("server-{number}"));
            fs::create_dir_all(&folder)
                .with_context(|| format!("cannot make {}", folder.display()))?;
            let config = folder.join("nats-server.conf");
            fs::write(&config, text(&folder, number, &password, route, &routes))?;
            let child = Command::new(program)
                .arg("-c")
                .arg(&config)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(File::create(folder.join("log"))?)
                .kill_on_drop(true)
                .process_group(0)
                .spawn()
                .with_context(|| format!("cannot start {}", program.display()))?;
            let pid = child.id().unwrap_or_default();
            servers.push(Server {
                _guard: guard(pid, &config)?,
                _child: child,
            });
            let url = listens(&folder, pid).await?;
            first.get_or_insert(ServerConnection {
                url,
                user: USER.to_owned(),
                password: password.clone(),
                pid,
            });
        }
        Ok(Self {
            connection: first.context("a cluster without a server")?,
            _servers: servers,
        })
    }
}

/// A free address for the routes of each server: servers take no "any port" for them.
fn routes(size: usize) -> anyhow::Result<Vec<String>> {
    let listeners: Result<Vec<TcpListener>, _> = (0..size)
        .map(|_| TcpListener::bind("127.0.0.1:0"))
        .collect();
    let addresses = listeners.context("no free port")?;
    let addresses = addresses.iter().map(TcpListener::local_addr);
    addresses.map(|address| Ok(address?.to_string())).collect()
}

fn text(folder: &Path, number: usize, password: &str, route: &str, routes: &[String]) -> String {
    let folder = folder.display();
    let alone = format!(
        "listen: \"127.0.0.1:-1\"\nports_file_dir: \"{folder}\"\nserver_name: s{number}\n\
         jetstream {{ store_dir: \"{folder}\" }}\n\
         authorization {{ user: {USER}, password: \"{password}\" }}\n"
    );
    if routes.len() < 2 {
        return alone;
    }
    let all: Vec<String> = routes
        .iter()
        .map(|route| format!("nats://{route}"))
        .collect();
    format!("{alone}cluster {{ name: bench, listen: \"{route}\", routes: {all:?} }}\n")
}

/// Waits until the server has written where it listens.
async fn listens(folder: &Path, pid: u32) -> anyhow::Result<String> {
    let file = folder.join(format!("nats-server_{pid}.ports"));
    let begun = Instant::now();
    while begun.elapsed() < START_WAIT {
        let text = fs::read_to_string(&file).unwrap_or_default();
        let ports: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        if let Some(url) = ports.pointer("/nats/0").and_then(|url| url.as_str()) {
            return Ok(url.to_owned());
        }
        tokio::time::sleep(LOOK).await;
    }
    bail!("the nats-server in {} does not listen", folder.display());
}
