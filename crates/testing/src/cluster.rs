//! Several nats-servers that form a cluster.

use std::time::{Duration, Instant};

use crate::server::TestServer;

/// How long servers may take to form a cluster. A new server counts only after it has reported its
/// capacity, which some versions do every ten seconds; a split vote is repeated after 4 to 9.
const FORMING: Duration = Duration::from_secs(30);

/// Several servers that form a cluster.
pub struct Cluster {
    servers: Vec<TestServer>,
}

impl Cluster {
    /// Starts this many servers, called `s0` and following, and waits until they work together.
    pub async fn start(size: usize) -> Self {
        let ports: Vec<u16> = (0..size).map(|_| free_port()).collect();
        let routes: Vec<String> = ports
            .iter()
            .map(|port| format!("nats://127.0.0.1:{port}"))
            .collect();
        let starting = ports.iter().enumerate().map(|(number, port)| {
            let config = format!(
                "server_name: s{number}\n\
                 cluster {{ name: C, listen: \"127.0.0.1:{port}\", routes: {routes:?} }}"
            );
            async move { TestServer::start_with(&config).await }
        });
        let mut cluster = Self {
            servers: futures_util::future::join_all(starting).await,
        };
        while size > 1 && !cluster.forms().await {
            cluster.start_again_empty().await;
        }
        cluster
    }

    /// Waits until the servers take a stream with a replica on each; false if they do not. One in
    /// ten first starts of 2.10.26 elects a leader that never counts more than two servers.
    async fn forms(&self) -> bool {
        let stream = serde_json::json!({
            "name": "FORMED", "storage": "memory", "num_replicas": self.servers.len(),
        });
        let (create, delete) = (
            "$JS.API.STREAM.CREATE.FORMED",
            "$JS.API.STREAM.DELETE.FORMED",
        );
        let begun = Instant::now();
        while begun.elapsed() < FORMING {
            let created = self.servers[0]
                .request_raw(create, &stream.to_string())
                .await;
            if created.is_some_and(|created| !created.contains("\"error\"")) {
                self.servers[0].request_raw(delete, "").await;
                return true;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        false
    }

    async fn start_again_empty(&mut self) {
        self.servers.iter_mut().for_each(TestServer::empty);
        let starting = self.servers.iter_mut().map(TestServer::start_again);
        futures_util::future::join_all(starting).await;
    }

    /// The URLs of all servers.
    pub fn urls(&self) -> Vec<String> {
        self.servers.iter().map(TestServer::url).collect()
    }

    /// The server of this name, `s0` and following.
    pub fn server(&self, name: &str) -> &TestServer {
        &self.servers[number(name)]
    }

    /// All servers stand still, but the one of this name.
    pub fn pause_but(&self, name: &str) {
        let others = self.servers.iter().enumerate();
        let others = others.filter(|(other, _)| *other != number(name));
        others.for_each(|(_, server)| server.pause());
    }

    /// All servers go on.
    pub fn resume(&self) {
        self.servers.iter().for_each(TestServer::resume);
    }

    /// Ends the server of this name.
    pub fn stop_one(&mut self, name: &str) {
        self.servers[number(name)].stop();
    }
}

fn number(name: &str) -> usize {
    name.strip_prefix('s').unwrap().parse().unwrap()
}

/// A port that nobody listens on; nats-server takes no "any port" for routes. Not one of those that
/// the system hands out to others at the same time.
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
