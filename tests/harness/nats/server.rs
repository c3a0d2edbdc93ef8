//! A nats-server process with its configuration and its folder.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU16, Ordering};

use tempfile::TempDir;

use crate::process::{Owned, program, signal};
use crate::wait::until;

/// The nats-server program of these tests; hosts without a configured server start it too.
///
/// # Panics
/// When the variable does not name it: a server that happens to be installed is not the version
/// under test.
pub fn nats_server() -> PathBuf {
    let program = std::env::var_os("MISTERSMITH_NATS_SERVER").map(PathBuf::from);
    program.filter(|program| program.is_file()).expect(
        "MISTERSMITH_NATS_SERVER does not name a nats-server: run `make test`, \
         or `export MISTERSMITH_NATS_SERVER=$(scripts/nats-server)`",
    )
}

/// One process, its configuration and its folder.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) name: String,
    pub(super) folder: TempDir,
    pub(super) lines: Vec<String>,
    pub(super) port: u16,
    pub(super) child: Option<Owned>,
}

impl Server {
    /// A server with JetStream, in a domain or in none, or without JetStream.
    pub(super) fn new(name: &str, jetstream: Option<Option<&str>>, lines: &[String]) -> Self {
        Self::configured(name, |name, folder| {
            let mut lines = lines.to_vec();
            lines.push(format!("server_name: {name}"));
            if let Some(domain) = jetstream {
                let domain = domain.map_or_else(String::new, |name| format!(", domain: {name}"));
                lines.push(format!(
                    "jetstream {{ store_dir: \"{}/store\", max_memory_store: 64MB, max_file_store: 20GB{domain} }}",
                    folder.display()
                ));
            }
            lines.join("\n")
        })
    }

    /// A server with this configuration; the address and the files for the tests are added.
    pub(super) fn configured(
        name: &str,
        configuration: impl FnOnce(&str, &Path) -> String,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().display();
        let lines = vec![
            configuration(name, folder.path()),
            format!("ports_file_dir: \"{path}\""),
            format!("log_file: \"{path}/log\""),
        ];
        Self {
            name: name.to_owned(),
            folder,
            lines,
            port: 0,
            child: None,
        }
    }

    pub(super) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Starts the server and waits until it listens.
    pub(super) async fn start(&mut self, port: Option<u16>) {
        self.spawn(port);
        self.listens().await;
    }

    pub(super) fn spawn(&mut self, port: Option<u16>) {
        let file = self.write(port, |_| true);
        let child = program(nats_server())
            .arg("-c")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        self.child = Some(Owned::new(child));
    }

    /// Writes the configuration, of these lines only.
    fn write(&self, port: Option<u16>, wanted: impl Fn(&str) -> bool) -> PathBuf {
        let file = self.folder.path().join("nats.conf");
        let port = port.map_or("-1".to_owned(), |port| port.to_string());
        let all = self.lines.iter().flat_map(|lines| lines.lines());
        let lines: Vec<&str> = all.filter(|line| wanted(line)).collect();
        let listen = format!("listen: \"127.0.0.1:{port}\"\n");
        std::fs::write(&file, listen + &lines.join("\n")).unwrap();
        file
    }

    /// Makes the running server read its configuration again, with JetStream or without.
    pub(super) fn reload(&self, jetstream: bool) {
        self.write(Some(self.port), |line| {
            jetstream || !line.starts_with("jetstream ")
        });
        signal(self.child.as_ref().expect("the server runs").id(), "HUP");
    }

    pub(super) async fn listens(&mut self) {
        let pid = self.child.as_ref().expect("spawned").id();
        let ports = self.folder.path().join(format!("nats-server_{pid}.ports"));
        let folder = self.folder.path().to_owned();
        let child = self.child.as_mut().expect("spawned");
        self.port = until("nats-server listens", async || {
            if child.exited().is_some() {
                let log = std::fs::read_to_string(folder.join("log")).unwrap_or_default();
                panic!("nats-server ended: {log}");
            }
            let text = std::fs::read_to_string(&ports).ok()?;
            let ports: serde_json::Value = serde_json::from_str(&text).ok()?;
            let url = ports["nats"][0].as_str()?;
            url.rsplit(':').next()?.parse().ok()
        })
        .await;
        let address = (std::net::Ipv4Addr::LOCALHOST, self.port);
        until("nats-server accepts", async || {
            std::net::TcpStream::connect(address).ok()
        })
        .await;
    }
}

/// A free port outside the ephemeral range: the system would assign one from that range to other
/// servers and clients of these tests.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Spreads the starting points of processes with neighbouring ids, which run at the same time.
    let begin = u16::try_from(std::process::id().wrapping_mul(97) % 20_000).unwrap();
    loop {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = 10_000 + (begin + number) % 20_000;
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
