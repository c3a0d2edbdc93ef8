//! NATS servers: one per test, on a free port, with its store in a temp folder.

use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU16, Ordering};

use async_nats::ConnectOptions;
use tempfile::TempDir;

use super::outside::Outside;
use super::process::{Owned, program, signal};
use super::tap::Tap;
use super::wait::until;

/// The program nats-server that these tests are to be run with; hosts without a server start it too.
///
/// # Panics
/// When the variable does not name it: what the machine happens to have is not what was to be tested.
pub fn nats_server() -> PathBuf {
    let program = std::env::var_os("MISTERSMITH_NATS_SERVER").map(PathBuf::from);
    program.filter(|program| program.is_file()).expect(
        "MISTERSMITH_NATS_SERVER does not name a nats-server: run `make test`, \
         or `export MISTERSMITH_NATS_SERVER=$(scripts/nats-server)`",
    )
}

/// How a server is to be.
#[derive(Debug, Clone, Default)]
pub struct NatsOptions {
    lines: Vec<String>,
    without_jetstream: bool,
    login: Option<(String, String)>,
    credentials: Option<String>,
    ca: Option<PathBuf>,
    identity: Option<(PathBuf, PathBuf)>,
    tapped: bool,
}

impl NatsOptions {
    /// Lines of the server's configuration.
    pub fn line(mut self, line: &str) -> Self {
        self.lines.push(line.to_owned());
        self
    }

    pub fn without_jetstream(mut self) -> Self {
        self.without_jetstream = true;
        self
    }

    /// The one user there is.
    pub fn user(self, user: &str, password: &str) -> Self {
        let line = format!("authorization {{ user: \"{user}\", password: \"{password}\" }}");
        self.line(&line).with_user(user, password)
    }

    /// The user that the test itself is; the lines must let it in.
    pub fn with_user(mut self, user: &str, password: &str) -> Self {
        self.login = Some((user.to_owned(), password.to_owned()));
        self
    }

    /// What the credentials file of the test itself holds.
    pub fn credentials(mut self, text: &str) -> Self {
        self.credentials = Some(text.to_owned());
        self
    }

    /// The test itself connects by TLS, and trusts this authority.
    pub fn trusting(mut self, ca: &Path) -> Self {
        self.ca = Some(ca.to_owned());
        self
    }

    /// The certificate of the test itself, and its key.
    pub fn identified_by(mut self, cert: &Path, key: &Path) -> Self {
        self.identity = Some((cert.to_owned(), key.to_owned()));
        self
    }

    /// What the server refuses to whom is heard, but for the test itself.
    pub fn tapped(mut self) -> Self {
        self.tapped = true;
        self
    }

    pub async fn start(self) -> Nats {
        let mut server = Server::new("n1", self.without_jetstream, &self.lines);
        server.start(None).await;
        let outside = self.connect(&[server.url()]).await;
        let tap = match self.tapped {
            true => Some(Tap::before(server.port).await),
            false => None,
        };
        Nats {
            server,
            tap,
            options: self,
            outside,
        }
    }

    async fn connect(&self, urls: &[String]) -> Outside {
        let mut options = ConnectOptions::new()
            .name("outside")
            .retry_on_initial_connect()
            .reconnect_delay_callback(|_| std::time::Duration::from_millis(50));
        if let Some((user, password)) = &self.login {
            options = options.user_and_password(user.clone(), password.clone());
        }
        if let Some(credentials) = &self.credentials {
            options = options.credentials(credentials).expect("credentials");
        }
        if let Some(ca) = &self.ca {
            options = options.add_root_certificates(ca.clone()).require_tls(true);
        }
        if let Some((cert, key)) = &self.identity {
            options = options.add_client_certificate(cert.clone(), key.clone());
        }
        Outside::connect(options, urls).await
    }
}

/// A running server, and a client of it: everything of [`Outside`] can be said to it.
#[derive(Debug)]
pub struct Nats {
    server: Server,
    tap: Option<Tap>,
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
            Some(tap) => format!("nats://127.0.0.1:{}", tap.port),
            None => self.server.url(),
        }
    }

    pub fn port(&self) -> u16 {
        self.server.port
    }

    /// What the server has refused to this user, as it has told the user.
    pub fn refused_to(&self, user: &str) -> Vec<String> {
        let tap = self.tap.as_ref().expect("a server that is tapped");
        tap.refused_to(user)
    }

    /// Another client, as a user who may do little, and whose inboxes have this prefix.
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

    /// Where its streams are.
    pub fn store(&self) -> PathBuf {
        self.server.folder.path().join("store")
    }

    /// Kills it.
    pub fn kill(&mut self) {
        self.server.child = None;
    }

    /// A line of its configuration from the next start on, in place of the one with the same key.
    pub fn configure(&mut self, line: &str) {
        let key = |line: &str| line.split(':').next().map(str::to_owned);
        let lines = &mut self.server.lines;
        lines.retain(|old| key(old) != key(line));
        lines.push(line.to_owned());
    }

    /// Starts it again, on the same port and the same store.
    pub async fn start_again(&mut self) {
        let port = self.server.port;
        self.server.start(Some(port)).await;
        self.outside.answers().await;
        // A server lets clients in a little before its streams answer.
        if !self.options.without_jetstream {
            self.outside.jetstream_answers().await;
        }
    }

    pub fn pause(&self) {
        signal(self.pid(), "STOP");
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

/// Three servers, and a client of them.
#[derive(Debug)]
pub struct Cluster {
    servers: Vec<Server>,
    outside: Outside,
}

impl Cluster {
    pub async fn start() -> Self {
        let servers = |routes: &[u16]| {
            let peers: Vec<String> = routes
                .iter()
                .map(|p| format!("nats://127.0.0.1:{p}"))
                .collect();
            let server = |(number, port): (usize, &u16)| {
                let cluster = format!(
                    "cluster {{ name: c, listen: \"127.0.0.1:{port}\", routes: {peers:?} }}"
                );
                Server::new(&format!("n{}", number + 1), false, &[cluster])
            };
            routes.iter().enumerate().map(server).collect()
        };
        let cluster = Self::of(servers, &NatsOptions::default()).await;
        cluster.outside.holds_copies(3).await;
        cluster
    }

    /// Three servers `n1`, `n2`, `n3` with whole configurations: of the server's name, its own port
    /// for the others, the ports of all, and its folder. The options are the test's own connection.
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
        outside.jetstream_answers().await;
        Self { servers, outside }
    }

    pub fn urls(&self) -> Vec<String> {
        self.servers.iter().map(Server::url).collect()
    }

    /// Kills the server of that name.
    pub fn kill(&mut self, name: &str) {
        let server = self.servers.iter_mut().find(|server| server.name == name);
        server.expect("a server of the cluster").child = None;
    }
}

impl Deref for Cluster {
    type Target = Outside;

    fn deref(&self) -> &Outside {
        &self.outside
    }
}

#[derive(Debug)]
struct Server {
    name: String,
    folder: TempDir,
    lines: Vec<String>,
    port: u16,
    child: Option<Owned>,
}

impl Server {
    fn new(name: &str, without_jetstream: bool, lines: &[String]) -> Self {
        Self::configured(name, |name, folder| {
            let mut lines = lines.to_vec();
            lines.push(format!("server_name: {name}"));
            if !without_jetstream {
                lines.push(format!(
                    "jetstream {{ store_dir: \"{}/store\", max_memory_store: 64MB, max_file_store: 20GB }}",
                    folder.display()
                ));
            }
            lines.join("\n")
        })
    }

    /// A server with this configuration, but for where it listens and what it tells the tests.
    fn configured(name: &str, configuration: impl FnOnce(&str, &Path) -> String) -> Self {
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

    fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Starts it and waits until it listens.
    async fn start(&mut self, port: Option<u16>) {
        self.spawn(port);
        self.listens().await;
    }

    fn spawn(&mut self, port: Option<u16>) {
        let file = self.folder.path().join("nats.conf");
        let port = port.map_or("-1".to_owned(), |port| port.to_string());
        let listen = format!("listen: \"127.0.0.1:{port}\"\n");
        std::fs::write(&file, listen + &self.lines.join("\n")).unwrap();
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

    async fn listens(&mut self) {
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

/// A port that is free and that nobody is given unasked: not of those that the system hands out by
/// itself, to the other servers and clients of these tests.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let begin = u16::try_from(std::process::id() % 20_000).unwrap();
    loop {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = 10_000 + (begin + number) % 20_000;
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
