//! A cluster of three servers.

use std::ops::Deref;
use std::path::Path;

use super::options::NatsOptions;
use super::server::{Server, free_port};
use crate::outside::Outside;

/// Three servers, and a client of them.
#[derive(Debug)]
pub struct Cluster {
    servers: Vec<Server>,
    outside: Outside,
}

impl Cluster {
    pub async fn start() -> Self {
        Self::with_lines(None, |_| None).await
    }

    /// Three servers of one JetStream domain, with ports on which leaf nodes can join.
    pub async fn joined_at(ports: &[u16], domain: &str) -> Self {
        let listen = |port: &u16| format!("leafnodes {{ listen: \"127.0.0.1:{port}\" }}");
        Self::with_lines(Some(domain), |number| ports.get(number).map(listen)).await
    }

    async fn with_lines(domain: Option<&str>, line: impl Fn(usize) -> Option<String>) -> Self {
        let servers = |routes: &[u16]| {
            let peers: Vec<String> = routes
                .iter()
                .map(|p| format!("nats://127.0.0.1:{p}"))
                .collect();
            let server = |(number, port): (usize, &u16)| {
                let cluster = format!(
                    "cluster {{ name: c, listen: \"127.0.0.1:{port}\", routes: {peers:?} }}"
                );
                let lines: Vec<String> = line(number).into_iter().chain([cluster]).collect();
                Server::new(&format!("n{}", number + 1), Some(domain), &lines)
            };
            routes.iter().enumerate().map(server).collect()
        };
        Self::of(servers, &NatsOptions::default()).await
    }

    /// Three servers `n1`, `n2`, `n3` with complete configurations, built from the server's name,
    /// its cluster port, the ports of all, and its folder. The options are those of the test's own
    /// connection.
    pub async fn configured(
        configuration: impl Fn(&str, u16, &[u16], &Path) -> String,
        options: &NatsOptions,
    ) -> Self {
        let servers = |routes: &[u16]| {
            let server = |(number, port): (usize, &u16)| {
                Server::configured(&format!("n{}", number + 1), |name, folder| {
                    configuration(name, *port, routes, folder)
                })
            };
            routes.iter().enumerate().map(server).collect()
        };
        Self::of(servers, options).await
    }

    async fn of(make: impl FnOnce(&[u16]) -> Vec<Server>, options: &NatsOptions) -> Self {
        let routes: Vec<u16> = (0..3).map(|_| free_port()).collect();
        let mut servers = make(&routes);
        for server in &mut servers {
            server.spawn(None);
        }
        for server in &mut servers {
            server.listens().await;
        }
        let urls: Vec<String> = servers.iter().map(Server::url).collect();
        let outside = options.connect(&urls).await;
        let mut cluster = Self { servers, outside };
        if !cluster.outside.holds_copies(3).await {
            cluster.start_again_empty().await;
        }
        cluster
    }

    pub fn urls(&self) -> Vec<String> {
        self.servers.iter().map(Server::url).collect()
    }

    /// Kills all servers, empties their stores, and starts them again, until they form a cluster:
    /// one in ten first starts of 2.10.26 elects a leader that never counts more than two servers.
    pub async fn start_again_empty(&mut self) {
        self.start_empty().await;
        while !self.outside.holds_copies(3).await {
            self.start_empty().await;
        }
    }

    async fn start_empty(&mut self) {
        for server in &mut self.servers {
            server.child = None;
        }
        for server in &mut self.servers {
            std::fs::remove_dir_all(server.folder.path().join("store")).unwrap();
            server.spawn(Some(server.port));
        }
        for server in &mut self.servers {
            server.listens().await;
        }
    }

    /// The ports on which clients are accepted.
    pub fn ports(&self) -> Vec<u16> {
        self.servers.iter().map(|server| server.port).collect()
    }

    /// Kills the server of that name.
    pub fn kill(&mut self, name: &str) {
        self.named(name).child = None;
    }

    /// Starts the server of that name again, on the same port and the same store.
    pub async fn start_again(&mut self, name: &str) {
        let server = self.named(name);
        let port = server.port;
        server.start(Some(port)).await;
    }

    fn named(&mut self, name: &str) -> &mut Server {
        let server = self.servers.iter_mut().find(|server| server.name == name);
        server.expect("a server of the cluster")
    }
}

impl Deref for Cluster {
    type Target = Outside;

    fn deref(&self) -> &Outside {
        &self.outside
    }
}
