//! An agent's context for tests, with a real NATS server or without any.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use serde_json::Map;
use tokio::sync::{Semaphore, mpsc};

use super::*;
use mistersmith_core::permissions::{KvAccess, KvGrant, PermissionSpec};
use mistersmith_nats::{ConnectSpec, Role, Transport};
pub(crate) use mistersmith_testing::TestServer;

/// What an agent may do and have in a test; change it before [`Fixture::build`].
pub(crate) struct Fixture {
    pub(crate) grants: PermissionSpec,
    pub(crate) limits: PluginLimits,
    pub(crate) connection: Option<Connection>,
    pub(crate) config: Map<String, serde_json::Value>,
    /// Hears of refusals instead of the recorder.
    pub(crate) audit: Option<Arc<dyn Audit>>,
    pub(crate) fence: Fence,
}

/// An agent's context and what a test looks at.
pub(crate) struct Built {
    pub(crate) context: Arc<AgentContext>,
    pub(crate) inbox: mpsc::UnboundedReceiver<Box<RuntimeMessage>>,
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
            connection: None,
            config: Map::new(),
            audit: None,
            fence: Fence::new(LeaseTerm::unlimited(), "probe-001".parse().unwrap()),
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

    pub(crate) fn on(self, connection: &Connection) -> Self {
        let connection = Some(connection.clone());
        Self { connection, ..self }
    }

    pub(crate) fn build(self) -> Built {
        let (plugin, agent): (PluginName, AgentId) =
            ("probe".parse().unwrap(), "probe-001".parse().unwrap());
        let (sender, inbox) = mpsc::unbounded_channel();
        let refused = Arc::new(Mutex::new(Vec::new()));
        let context = AgentContext {
            permissions: Arc::new(Permissions::compile(&self.grants, &plugin, &agent)),
            rates: RateLimits::new(&self.limits),
            requests: Arc::new(Semaphore::new(self.limits.requests as usize)),
            bytes: Arc::new(ByteRate::new(self.limits.publish_bytes)),
            limits: Arc::new(self.limits),
            connection: self.connection,
            config: Arc::new(SharedConfig::new(ConfigValues::of(&self.config))),
            inbox: sender,
            counters: Arc::default(),
            audit: self
                .audit
                .unwrap_or_else(|| Arc::new(Recorder(Arc::clone(&refused)))),
            coordination: Arc::new(Patterns),
            fence: self.fence,
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

/// Stands in for the patterns: nobody answers a question, no election is known, and every plugin
/// has the open circuit `own`.
struct Patterns;

impl Coordination for Patterns {
    fn scatter(&self, _connection: &Connection, question: Question) -> Gathering {
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

/// The connection that an agent has to this server.
pub(crate) async fn connection(server: &TestServer) -> Connection {
    let spec = ConnectSpec::open(vec![server.url()], "test");
    let transport = Transport::connect(spec).await.unwrap();
    transport.connection(Role::Bulk).clone()
}

/// Asks again until it holds, and lets other tasks run meanwhile; fails after ten seconds.
pub(crate) async fn eventually(mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < end, "waited ten seconds in vain");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
