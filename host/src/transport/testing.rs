//! A real nats-server for one test: free port, own temporary folder, ended with the test.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::server::Places;
use super::{Auth, ConnectSpec, Transport};

/// How long anything in a test may take before the test fails.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// The program nats-server that the tests are to be run with.
///
/// # Panics
/// When the variable does not name it: what the machine happens to have is not what was to be tested.
pub(crate) fn nats_server() -> PathBuf {
    let program = std::env::var_os("MISTERSMITH_NATS_SERVER").map(PathBuf::from);
    program.filter(|program| program.is_file()).expect(
        "MISTERSMITH_NATS_SERVER does not name a nats-server: run `make test`, \
         or `export MISTERSMITH_NATS_SERVER=$(scripts/nats-server)`",
    )
}

/// The same, as the host's own server is told of it.
pub(crate) fn places() -> Places {
    Places {
        named: Some(nats_server()),
        ..Places::default()
    }
}

/// A running server.
pub(crate) struct TestServer {
    folder: TempDir,
    config: String,
    child: Option<Child>,
    pub(crate) port: u16,
}

impl TestServer {
    /// A server with JetStream, open to everybody on loopback.
    pub(crate) async fn start() -> Self {
        Self::start_with("").await
    }

    /// The same, with more lines of configuration; `{dir}` stands for its folder.
    pub(crate) async fn start_with(config: &str) -> Self {
        let mut server = Self {
            folder: TempDir::new().unwrap(),
            config: config.to_owned(),
            child: None,
            port: 0,
        };
        server.start_again().await;
        server
    }

    /// Starts it, after [`TestServer::stop`] on the same port with the same data.
    pub(crate) async fn start_again(&mut self) {
        let dir = self.path().display().to_string();
        let port = if self.port == 0 {
            "-1".to_owned()
        } else {
            self.port.to_string()
        };
        let more = self.config.replace("{dir}", &dir);
        let jetstream = if more.contains("jetstream") {
            String::new()
        } else {
            format!("jetstream {{ store_dir: \"{dir}\" }}\n")
        };
        let text =
            format!("listen: \"127.0.0.1:{port}\"\nports_file_dir: \"{dir}\"\n{jetstream}{more}\n");
        let file = self.path().join("test.conf");
        std::fs::write(&file, text).unwrap();
        let child = Command::new(nats_server())
            .arg("-c")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(self.path().join("log")).unwrap())
            .spawn()
            .unwrap();
        let ports = self
            .path()
            .join(format!("nats-server_{}.ports", child.id()));
        self.child = Some(child);
        let log = self.path().join("log");
        until("the server is up", || {
            let ended = self.child.as_mut().unwrap().try_wait().unwrap();
            assert_eq!(ended, None, "{}", std::fs::read_to_string(&log).unwrap());
            let text = std::fs::read_to_string(&ports).unwrap_or_default();
            let read: Option<serde_json::Value> = serde_json::from_str(&text).ok();
            let url = read.and_then(|ports| ports["nats"][0].as_str().map(str::to_owned));
            if let Some(url) = &url {
                self.port = url.rsplit(':').next().unwrap().parse().unwrap();
            }
            url.is_some()
        })
        .await;
    }

    /// Ends it, hard, as a crash would.
    pub(crate) fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// The process stands still, as on a machine that is overloaded.
    pub(crate) fn pause(&self) {
        self.signal("-STOP");
    }

    pub(crate) fn resume(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let pid = self.child.as_ref().unwrap().id().to_string();
        let sent = Command::new("kill").args([signal, &pid]).status();
        assert!(sent.unwrap().success());
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    pub(crate) fn spec(&self) -> ConnectSpec {
        ConnectSpec {
            servers: vec![self.url()],
            auth: Auth::None,
            tls: None,
            plaintext: false,
            host: "test".to_owned(),
            patience: Some(Duration::from_secs(5)),
        }
    }

    pub(crate) async fn connect(&self) -> Transport {
        Transport::connect(self.spec()).await.unwrap()
    }
}

impl TestServer {
    /// Publishes what no client library would, over a plain socket. Without headers when they are empty.
    pub(crate) async fn publish_raw(&self, subject: &str, headers: &[u8], payload: &[u8]) {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let address = ("127.0.0.1", self.port);
        let mut socket = tokio::net::TcpStream::connect(address).await.unwrap();
        let mut bytes = b"CONNECT {\"headers\":true,\"verbose\":false}\r\n".to_vec();
        let size = headers.len() + payload.len();
        let line = match headers.len() {
            0 => format!("PUB {subject} {size}\r\n"),
            length => format!("HPUB {subject} {length} {size}\r\n"),
        };
        for part in [line.as_bytes(), headers, payload, b"\r\nPING\r\n"] {
            bytes.extend_from_slice(part);
        }
        socket.write_all(&bytes).await.unwrap();
        let mut read = Vec::new();
        while !read.windows(4).any(|part| part == b"PONG") {
            let mut part = [0; 1024];
            let length = socket.read(&mut part).await.unwrap();
            assert!(length > 0, "{}", String::from_utf8_lossy(&read));
            read.extend_from_slice(&part[..length]);
        }
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Waits for a condition, and fails the test when it does not come true.
pub(crate) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < DEADLINE, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Waits for a future, and fails the test when it does not come in time.
pub(crate) async fn by<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(DEADLINE, future).await {
        Ok(output) => output,
        Err(_) => panic!("waited in vain for {what}"),
    }
}

/// Several servers that form a cluster.
pub(crate) struct Cluster {
    servers: Vec<TestServer>,
}

impl Cluster {
    pub(crate) async fn start(size: usize) -> Self {
        let ports: Vec<u16> = (0..size).map(|_| free_port()).collect();
        let routes: Vec<String> = ports
            .iter()
            .map(|port| format!("nats://127.0.0.1:{port}"))
            .collect();
        let starting = ports.iter().enumerate().map(|(number, port)| {
            let config = format!(
                "server_name: s{number}\ncluster {{ name: C, listen: \"127.0.0.1:{port}\", routes: {routes:?} }}"
            );
            async move { TestServer::start_with(&config).await }
        });
        Self {
            servers: futures_util::future::join_all(starting).await,
        }
    }

    pub(crate) fn spec(&self) -> ConnectSpec {
        let servers = self.servers.iter().map(TestServer::url).collect();
        let first = self.servers.first().unwrap();
        ConnectSpec {
            servers,
            ..first.spec()
        }
    }

    /// Ends the server of this name.
    pub(crate) fn stop_one(&mut self, name: &str) {
        let number: usize = name.strip_prefix('s').unwrap().parse().unwrap();
        self.servers[number].stop();
    }
}

/// A port that nobody listens on; nats-server takes no "any port" for routes. Not one of those that the
/// system hands out to others at the same time.
fn free_port() -> u16 {
    use std::sync::atomic::{AtomicU16, Ordering};
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let base = 10_000 + (std::process::id() % 1_000) as u16 * 20;
    loop {
        let port = base + NEXT.fetch_add(1, Ordering::Relaxed) % 2_000;
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
