//! An agent's context for tests, with a real NATS server or without any.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use serde_json::Map;
use tokio::sync::{Semaphore, mpsc};

use super::*;
use crate::permissions::{KvAccess, KvGrant, PermissionSpec};
use crate::transport::testing::nats_server;
use crate::transport::{Auth, ConnectSpec, Role, Transport};

/// What an agent may do and have in a test; change it before [`Fixture::build`].
pub(crate) struct Fixture {
    pub(crate) grants: PermissionSpec,
    pub(crate) limits: PluginLimits,
    pub(crate) link: Option<Link>,
    pub(crate) config: Map<String, serde_json::Value>,
    /// Hears of refusals instead of the recorder.
    pub(crate) audit: Option<Arc<dyn Audit>>,
}

/// An agent's context and what a test looks at.
pub(crate) struct Built {
    pub(crate) context: Arc<AgentContext>,
    pub(crate) inbox: mpsc::UnboundedReceiver<Box<Heard>>,
    pub(crate) refused: Arc<Mutex<Vec<Refused>>>,
}

impl Built {
    pub(crate) fn counts(&self) -> Counts {
        self.context.counters.snapshot()
    }

    pub(crate) fn last_refusal(&self) -> Refused {
        self.refused
            .lock()
            .unwrap()
            .last()
            .cloned()
            .expect("nothing was refused")
    }
}

impl Fixture {
    /// An agent `probe-001` that may do nothing.
    pub(crate) fn new() -> Self {
        Self {
            grants: PermissionSpec {
                manifest: PathBuf::from("plugins/probe/plugin.toml"),
                ..PermissionSpec::default()
            },
            limits: PluginLimits::default(),
            link: None,
            config: Map::new(),
            audit: None,
        }
    }

    /// One that may do what tests do.
    pub(crate) fn granted() -> Self {
        let mut fixture = Self::new();
        fixture.grants.publish = vec!["out.>".to_owned()];
        fixture.grants.request = vec!["tools.>".to_owned()];
        fixture.grants.subscribe = vec!["in.>".to_owned()];
        fixture.grants.deny = vec!["out.secret".to_owned(), "in.*.secret".to_owned()];
        fixture.grants.kv = vec![KvGrant {
            bucket: "CACHE".parse().unwrap(),
            keys: vec!["{plugin}.>".to_owned()],
            access: KvAccess::ReadWrite,
        }];
        fixture
    }

    pub(crate) fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    pub(crate) fn on(self, link: &Link) -> Self {
        let link = Some(link.clone());
        Self { link, ..self }
    }

    pub(crate) fn build(self) -> Built {
        let (plugin, agent): (PluginName, AgentId) =
            ("probe".parse().unwrap(), "probe-001".parse().unwrap());
        let (sender, inbox) = mpsc::unbounded_channel();
        let refused = Arc::new(Mutex::new(Vec::new()));
        let context = AgentContext {
            permissions: Arc::new(Permissions::compile(&self.grants, &plugin, &agent)),
            meters: Meters::new(&self.limits),
            requests: Arc::new(Semaphore::new(self.limits.requests as usize)),
            limits: Arc::new(self.limits),
            link: self.link,
            config: Arc::new(SharedConfig::new(self.config)),
            inbox: sender,
            counters: Arc::default(),
            audit: self
                .audit
                .unwrap_or_else(|| Arc::new(Recorder(Arc::clone(&refused)))),
            coordination: Arc::new(Patterns),
            version: "1.2.3".to_owned(),
            agent,
            plugin,
        };
        Built {
            context: Arc::new(context),
            inbox,
            refused,
        }
    }
}

/// Stands in for the patterns: nobody answers a question, no election is known, and every plugin has
/// the open circuit `own`.
struct Patterns;

impl Coordination for Patterns {
    fn scatter(&self, _link: &Link, question: Question) -> Gathering {
        let gathered = Gathered {
            request: question.request,
            status: GatherStatus::Timeout,
            answers: Vec::new(),
            failed: Vec::new(),
            missing: question.expected,
        };
        std::future::ready(Ok(gathered)).boxed()
    }

    fn leadership(&self, agent: &AgentId) -> Option<Leadership> {
        (agent.number() > 1).then(|| Leadership {
            domain: "nlp".to_owned(),
            leading: true,
            term: 7,
        })
    }

    fn own_circuit(&self, _plugin: &PluginName, service: &str) -> Option<CircuitState> {
        (service == "own").then_some(CircuitState::Open)
    }
}

struct Recorder(Arc<Mutex<Vec<Refused>>>);

impl Audit for Recorder {
    fn refused(&self, refused: Refused) {
        self.0.lock().unwrap().push(refused);
    }
}

/// A nats-server with JetStream in a folder of its own; ends with the test.
pub(crate) struct Server {
    process: Child,
    _folder: tempfile::TempDir,
    url: String,
}

impl Server {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        let process = Command::new(nats_server())
            .args(["-a", "127.0.0.1", "-p", "-1", "-js", "-sd"])
            .arg(path)
            .arg("--ports_file_dir")
            .arg(path)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let ports = path.join(format!("nats-server_{}.ports", process.id()));
        let mut server = Self {
            process,
            _folder: folder,
            url: String::new(),
        };
        server.url = wait_for(|| {
            let ports: serde_json::Value =
                serde_json::from_slice(&std::fs::read(&ports).ok()?).ok()?;
            let url = ports.get("nats")?.get(0)?.as_str()?;
            Some(url.to_owned())
        });
        server
    }

    pub(crate) async fn connect(&self) -> Transport {
        Transport::connect(ConnectSpec {
            servers: vec![self.url.clone()],
            auth: Auth::None,
            tls: None,
            plaintext: false,
            host: "test".to_owned(),
            patience: Some(Duration::from_secs(10)),
        })
        .await
        .unwrap()
    }

    pub(crate) async fn link(&self) -> Link {
        self.connect().await.link(Role::Bulk).clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Asks again until there is an answer; fails after ten seconds.
fn wait_for<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "waited ten seconds in vain");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// As [`wait_for`], and lets other tasks run meanwhile.
pub(crate) async fn eventually(mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < end, "waited ten seconds in vain");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
