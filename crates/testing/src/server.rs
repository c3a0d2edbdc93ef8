//! Real nats-servers for tests, alone or as a cluster: free port, own temporary folder, ended with
//! the test.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// How long anything in a test may take before the test fails.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// How long the answer to a raw request is awaited.
const REQUEST: Duration = Duration::from_secs(5);

/// The program nats-server that the tests are to be run with.
///
/// # Panics
/// When the variable does not name it: what the machine happens to have is not what was to be
/// tested.
pub fn nats_server() -> PathBuf {
    let program = std::env::var_os("MISTERSMITH_NATS_SERVER").map(PathBuf::from);
    program.filter(|program| program.is_file()).expect(
        "MISTERSMITH_NATS_SERVER does not name a nats-server: run `make test`, \
         or `export MISTERSMITH_NATS_SERVER=$(scripts/nats-server)`",
    )
}

/// A running server.
pub struct TestServer {
    folder: TempDir,
    config: String,
    child: Option<Child>,
    /// The port that clients connect to.
    pub port: u16,
}

impl TestServer {
    /// A server with JetStream, open to everybody on loopback.
    pub async fn start() -> Self {
        Self::start_with("").await
    }

    /// The same, with more lines of configuration; `{dir}` stands for its folder.
    pub async fn start_with(config: &str) -> Self {
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
    pub async fn start_again(&mut self) {
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

    /// Ends it, and empties its store.
    pub(crate) fn empty(&mut self) {
        self.stop();
        let store = self.path().join("jetstream");
        if store.exists() {
            std::fs::remove_dir_all(store).unwrap();
        }
    }

    /// Ends it, hard, as a crash would.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// The process stands still, as on a machine that is overloaded.
    pub fn pause(&self) {
        self.signal("-STOP");
        let begun = Instant::now();
        // The signal alone leaves it time to answer something.
        while !self.stands_still() {
            assert!(begun.elapsed() < DEADLINE, "the server does not stop");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Whether all of its threads are stopped.
    fn stands_still(&self) -> bool {
        let tasks = format!("/proc/{}/task", self.child.as_ref().unwrap().id());
        let mut tasks = std::fs::read_dir(tasks).unwrap();
        tasks.all(|task| {
            let stat = std::fs::read_to_string(task.unwrap().path().join("stat"));
            // Behind the name, which is in parentheses and may hold anything.
            stat.is_ok_and(|stat| {
                stat.rsplit_once(')')
                    .is_some_and(|(_, s)| s.starts_with(" T"))
            })
        })
    }

    /// It goes on after [`TestServer::pause`].
    pub fn resume(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let pid = self.child.as_ref().unwrap().id().to_string();
        let sent = Command::new("kill").args([signal, &pid]).status();
        assert!(sent.unwrap().success());
    }

    /// Its folder: configuration, log and store.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Where clients connect to.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }
}

impl TestServer {
    /// Another configuration, from the next start on.
    pub fn configure(&mut self, config: &str) {
        config.clone_into(&mut self.config);
    }

    /// Publishes what no client library would, over a plain socket. Without headers when they are
    /// empty.
    pub async fn publish_raw(&self, subject: &str, headers: &[u8], payload: &[u8]) {
        self.publish_as(None, subject, headers, payload).await;
    }

    /// The same, as the user with this key.
    pub async fn publish_raw_as(
        &self,
        key: &nkeys::KeyPair,
        subject: &str,
        headers: &[u8],
        payload: &[u8],
    ) {
        self.publish_as(Some(key), subject, headers, payload).await;
    }

    /// Sends a request over a plain socket; the first line of the answer's payload, or `None` when
    /// there is none.
    pub(crate) async fn request_raw(&self, subject: &str, payload: &str) -> Option<String> {
        use tokio::io::AsyncWriteExt as _;
        let mut socket = self.dial().await;
        read_until(&mut socket, "\r\n").await;
        let size = payload.len();
        let lines = format!(
            "CONNECT {{\"verbose\":false}}\r\nSUB answer 1\r\n\
             PUB {subject} answer {size}\r\n{payload}\r\n"
        );
        socket.write_all(lines.as_bytes()).await.unwrap();
        let answer = async {
            let read = read_until(&mut socket, "MSG answer 1 ").await;
            let mut rest = read.split_once("MSG answer 1 ").unwrap().1.to_owned();
            while rest.matches("\r\n").count() < 2 {
                rest += &read_until(&mut socket, "\r\n").await;
            }
            rest.lines().nth(1).unwrap().to_owned()
        };
        tokio::time::timeout(REQUEST, answer).await.ok()
    }

    async fn dial(&self) -> tokio::net::TcpStream {
        let address = ("127.0.0.1", self.port);
        tokio::net::TcpStream::connect(address).await.unwrap()
    }

    async fn publish_as(
        &self,
        key: Option<&nkeys::KeyPair>,
        subject: &str,
        headers: &[u8],
        payload: &[u8],
    ) {
        use tokio::io::AsyncWriteExt as _;
        let mut socket = self.dial().await;
        let hello = read_until(&mut socket, "\r\n").await;
        let mut connect = serde_json::json!({ "headers": true, "verbose": false });
        if let Some(key) = key {
            use base64::Engine as _;
            let hello: serde_json::Value =
                serde_json::from_str(hello.trim_start_matches("INFO").trim()).unwrap();
            let signed = key.sign(hello["nonce"].as_str().unwrap().as_bytes());
            let signed = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(signed.unwrap());
            connect["nkey"] = key.public_key().into();
            connect["sig"] = signed.into();
        }
        let mut bytes = format!("CONNECT {connect}\r\n").into_bytes();
        let size = headers.len() + payload.len();
        let line = match headers.len() {
            0 => format!("PUB {subject} {size}\r\n"),
            length => format!("HPUB {subject} {length} {size}\r\n"),
        };
        for part in [line.as_bytes(), headers, payload, b"\r\nPING\r\n"] {
            bytes.extend_from_slice(part);
        }
        socket.write_all(&bytes).await.unwrap();
        read_until(&mut socket, "PONG").await;
    }
}

async fn read_until(socket: &mut tokio::net::TcpStream, end: &str) -> String {
    use tokio::io::AsyncReadExt as _;
    let mut read = String::new();
    while !read.contains(end) {
        let mut part = [0; 4096];
        let length = socket.read(&mut part).await.unwrap();
        assert!(length > 0, "{read}");
        read.push_str(&String::from_utf8_lossy(&part[..length]));
    }
    read
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Waits for a condition, and fails the test when it does not come true.
pub async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < DEADLINE, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Waits for a future, and fails the test when it does not come in time.
pub async fn by<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(DEADLINE, future).await {
        Ok(output) => output,
        Err(_) => panic!("waited in vain for {what}"),
    }
}
