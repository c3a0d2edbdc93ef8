//! NATS servers for tests: one per test, on a free port, with its store in a temporary folder.

mod cluster;
mod options;
mod server;

use std::ops::Deref;
use std::path::PathBuf;

use async_nats::ConnectOptions;

use super::outside::Outside;
use super::process::{pause, signal};
use super::proxy::Proxy;
use server::Server;

pub use cluster::Cluster;
pub use options::NatsOptions;
pub use server::{free_port, nats_server};

impl NatsOptions {
    pub async fn start(self) -> Nats {
        let name = self.domain.as_deref().unwrap_or("n1");
        let domain = self.domain.as_deref();
        let mut server = Server::new(
            name,
            (!self.without_jetstream).then_some(domain),
            &self.lines,
        );
        server.start(None).await;
        let outside = self.connect(&[server.url()]).await;
        let tap = match self.tapped {
            true => Some(Proxy::before(server.port).await),
            false => None,
        };
        Nats {
            server,
            tap,
            options: self,
            outside,
        }
    }
}

/// A running server with a client, whose methods are those of [`Outside`].
#[derive(Debug)]
pub struct Nats {
    server: Server,
    tap: Option<Proxy>,
    options: NatsOptions,
    outside: Outside,
}

impl Nats {
    /// A server with JetStream, without users.
    pub async fn start() -> Self {
        NatsOptions::default().start().await
    }

    pub fn options() -> NatsOptions {
        NatsOptions::default()
    }

    /// `nats://127.0.0.1:<port>`.
    pub fn url(&self) -> String {
        match &self.tap {
            Some(tap) => tap.url(),
            None => self.server.url(),
        }
    }

    pub fn port(&self) -> u16 {
        self.server.port
    }

    /// The permissions that the server has denied to this user.
    pub fn refused_to(&self, user: &str) -> Vec<String> {
        let tap = self.tap.as_ref().expect("a server that is tapped");
        tap.refused_to(user)
    }

    /// Another client, for a user with few permissions and this inbox prefix.
    pub async fn as_user(&self, user: &str, password: &str, inboxes: &str) -> Outside {
        let options = ConnectOptions::new()
            .name(user)
            .custom_inbox_prefix(inboxes)
            .user_and_password(user.to_owned(), password.to_owned());
        Outside::unconfirmed(options, &[self.url()]).await
    }

    pub fn pid(&self) -> u32 {
        self.server.child.as_ref().expect("the server runs").id()
    }

    /// The folder of its streams.
    pub fn store(&self) -> PathBuf {
        self.server.folder.path().join("store")
    }

    /// Kills the server.
    pub fn kill(&mut self) {
        self.server.child = None;
    }

    /// Sets a line of its configuration from the next start on, in place of the one with the same
    /// key.
    pub fn configure(&mut self, line: &str) {
        let key = |line: &str| line.split(':').next().map(str::to_owned);
        let lines = &mut self.server.lines;
        lines.retain(|old| key(old) != key(line));
        lines.push(line.to_owned());
    }

    /// Starts the server again, on the same port and the same store.
    pub async fn start_again(&mut self) {
        let port = self.server.port;
        self.server.start(Some(port)).await;
        self.outside.answers().await;
        // A server accepts clients a little before its streams answer.
        if !self.options.without_jetstream {
            self.outside.jetstream_answers().await;
        }
    }

    /// Switches JetStream off or on in the running server, by its configuration.
    pub async fn switch_jetstream(&self, on: bool) {
        self.server.reload(on);
        match on {
            true => self.outside.jetstream_answers().await,
            false => self.outside.jetstream_is_off().await,
        }
    }

    pub fn pause(&self) {
        pause(self.pid());
    }

    pub fn resume(&self) {
        signal(self.pid(), "CONT");
    }

    /// Another client.
    pub async fn another(&self) -> Outside {
        self.options.connect(&[self.url()]).await
    }
}

impl Deref for Nats {
    type Target = Outside;

    fn deref(&self) -> &Outside {
        &self.outside
    }
}
