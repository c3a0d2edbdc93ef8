//! Scenarios `call` and `fresh`: calls of a component in this process. Measures the cost of the
//! sandbox without NATS.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use serde_json::json;
use tokio::sync::{Semaphore, mpsc};

use super::client::options;
use super::figures::{Series, median, rows};
use super::lab::Lab;
use super::{Bench, Row};
use mistersmith_core::limits::{self, PluginLimits};
use mistersmith_core::names::{AgentId, PluginName};
use mistersmith_core::permissions::{KvAccess, KvGrant, PermissionSpec, Permissions};
use mistersmith_nats::{Connection, Role, SharedHeaders, Trace, Transport, TransportError};
use mistersmith_runtime::{
    AgentContext, Attempt, Audit, ByteRate, Call, CircuitState, CompileLimits, Component,
    Coordination, Fence, Gathering, Instance, Kind, Leadership, LeaseTerm, Outcome, Question,
    RateLimits, Refused, Runtime, RuntimeOptions,
};

/// Calls between two readings of the clock.
const CHUNK: u32 = 16;
/// Calls before a turn that are not measured.
const WARM_UP: u32 = 200;

const PAYLOADS: [(&str, usize); 4] = [
    ("0 B", 0),
    ("64 B", 64),
    ("1 KiB", 1024),
    ("64 KiB", 65_536),
];

struct Silent;

impl Audit for Silent {
    fn refused(&self, _refused: Refused) {}
}

/// No coordination: there are no other agents.
impl Coordination for Silent {
    fn scatter(&self, _connection: &Connection, _question: Question) -> Gathering {
        let alone = TransportError::Unavailable("a benchmark runs no patterns".to_owned());
        Box::pin(std::future::ready(Err(alone)))
    }

    fn leadership(&self, _agent: &AgentId) -> Option<Leadership> {
        None
    }

    fn own_circuit(&self, _plugin: &PluginName, _service: &str) -> Option<CircuitState> {
        None
    }
}

/// A compiled component whose agents are called without a host.
pub struct Parts {
    runtime: Runtime,
    component: Component,
    limits: PluginLimits,
    plugin: PluginName,
    permissions: Arc<Permissions>,
    agent: AgentId,
    connection: Option<Connection>,
}

impl Parts {
    /// Compiles the component `bench`. With a connection its agents can also publish and read a
    /// key.
    ///
    /// # Errors
    /// It does not compile.
    pub async fn new(
        program: &Path,
        component: &[u8],
        connection: Option<Connection>,
    ) -> anyhow::Result<Self> {
        let runtime = Runtime::new(RuntimeOptions {
            program: program.to_owned(),
            cache_dir: None,
            compiling: CompileLimits::default(),
            max_agents: 4,
        })?;
        let limits = PluginLimits {
            publish_rate: limits::PUBLISH_RATE.max,
            ..PluginLimits::default()
        };
        let component = component.to_vec();
        let component = runtime.compile(component, &limits, &Attempt::FIRST).await?;
        let plugin: PluginName = "bench".parse()?;
        let agent = AgentId::new(&plugin, 1);
        let grants = PermissionSpec {
            publish: vec!["bench.out".to_owned()],
            kv: vec![KvGrant {
                bucket: "BENCH".parse()?,
                keys: vec!["value".to_owned()],
                access: KvAccess::Read,
            }],
            ..PermissionSpec::default()
        };
        Ok(Self {
            permissions: Arc::new(Permissions::compile(&grants, &plugin, &agent)),
            runtime,
            component,
            limits,
            plugin,
            agent,
            connection,
        })
    }

    fn context(&self) -> Arc<AgentContext> {
        Arc::new(AgentContext {
            agent: self.agent.clone(),
            plugin: self.plugin.clone(),
            version: "1.0.0".to_owned(),
            permissions: Arc::clone(&self.permissions),
            limits: Arc::new(self.limits.clone()),
            connection: self.connection.clone(),
            config: Arc::default(),
            inbox: mpsc::unbounded_channel().0,
            requests: Arc::new(Semaphore::new(1)),
            bytes: Arc::new(ByteRate::new(limits::PUBLISH_BYTES.max)),
            counters: Arc::default(),
            audit: Arc::new(Silent),
            coordination: Arc::new(Silent),
            rates: RateLimits::new(&self.limits),
            fence: Fence::new(LeaseTerm::unlimited(), self.agent.clone()),
        })
    }

    /// Makes an agent of it, and starts it.
    ///
    /// # Errors
    /// It does not start.
    pub async fn instance(&self) -> anyhow::Result<Instance> {
        let made = self.runtime.instantiate(&self.component, self.context());
        let mut instance = made.await.map_err(|death| anyhow::anyhow!("{death:?}"))?;
        match instance.start().await {
            Outcome::Done(()) => Ok(instance),
            other => bail!("the component does not start: {other:?}"),
        }
    }
}

/// A message that makes it do this: `echo`, `publish`, `get`.
pub fn call(does: &str, payload: Bytes) -> Call {
    Call {
        kind: Kind::Execute,
        subject: format!("bench.{does}"),
        payload,
        headers: SharedHeaders::default(),
        trace: Trace::begin("bench"),
        waits_until: None,
    }
}

/// Calls for a time; the median of small groups of calls, in microseconds for each.
async fn turn(agent: &mut Instance, call: &Call, time: Duration) -> anyhow::Result<f64> {
    for _ in 0..WARM_UP {
        check(agent.handle(call).await)?;
    }
    let mut chunks = Vec::new();
    let begun = Instant::now();
    while begun.elapsed() < time || chunks.is_empty() {
        let chunk = Instant::now();
        for _ in 0..CHUNK {
            check(agent.handle(call).await)?;
        }
        chunks.push(chunk.elapsed().as_secs_f64() * 1e6 / f64::from(CHUNK));
    }
    Ok(median(chunks))
}

fn check(outcome: Outcome) -> anyhow::Result<()> {
    match outcome {
        Outcome::Done(_) => Ok(()),
        other => bail!("the component does not do what it should: {other:?}"),
    }
}

/// A running agent is called again and again, by a task as those of a host are.
pub(super) async fn warm(bench: &Bench<'_>) -> anyhow::Result<Vec<Row>> {
    let lab = Lab::open(bench, "call").await?;
    let transport = Transport::connect(lab.connection().connect_spec("bench")).await?;
    let connection = transport.connection(Role::Bulk).clone();
    let parts = Parts::new(&bench.settings.host, lab.component(), Some(connection)).await?;
    let native = Native::new(&lab).await?;
    let mut agent = parts.instance().await?;
    let mut all = Vec::new();
    for (size, bytes) in PAYLOADS {
        let payload = Bytes::from(vec![b'x'; bytes]);
        for (does, what) in [
            ("echo", "payload returned"),
            ("publish", "one publish"),
            ("get", "one read of a key"),
        ] {
            let case = format!("{size}, {what}");
            bench.report(&case);
            let mut series = Series::new(case, "time of a call", "µs");
            let call = Arc::new(call(does, payload.clone()));
            for _ in 0..bench.settings.rounds {
                let time = bench.settings.turn;
                let (again, called) = (Arc::clone(&call), agent);
                let product = tokio::spawn(async move {
                    let mut agent = called;
                    let took = turn(&mut agent, &again, time).await;
                    (agent, took)
                });
                let (called, took) = product.await?;
                agent = called;
                series.product(took?);
                if does != "echo" {
                    let (native, payload) = (native.clone(), payload.clone());
                    let took = tokio::spawn(async move { native.turn(does, &payload, time).await });
                    series.reference(took.await??);
                }
            }
            all.push(series);
        }
    }
    drop(agent);
    transport.drain(Duration::from_secs(5)).await;
    lab.close().await;
    Ok(rows(all))
}

/// The same steps without a component.
#[derive(Clone)]
struct Native {
    client: async_nats::Client,
    bucket: async_nats::jetstream::kv::Store,
}

impl Native {
    async fn new(lab: &Lab) -> anyhow::Result<Self> {
        let connection = lab.connection();
        let client = options(connection).connect(&connection.url).await?;
        lab.make_stream(json!({
            "name": "KV_BENCH", "subjects": ["$KV.BENCH.>"], "storage": "file", "num_replicas": 1,
            "retention": "limits", "discard": "new", "max_msgs_per_subject": 1, "max_consumers": -1,
            "max_msgs": -1, "max_bytes": -1, "max_age": 0, "allow_rollup_hdrs": true,
            "deny_delete": true, "allow_direct": true,
        }))
        .await?;
        let jetstream = async_nats::jetstream::new(client.clone());
        let bucket = jetstream.get_key_value("BENCH").await?;
        bucket.put("value", Bytes::from_static(&[b'x'; 64])).await?;
        Ok(Self { client, bucket })
    }

    async fn once(&self, does: &str, payload: &Bytes) -> anyhow::Result<()> {
        if does == "publish" {
            self.client.publish("bench.out", payload.clone()).await?;
        } else {
            let value = self.bucket.get("value").await?;
            value.context("the key has no value")?;
        }
        Ok(())
    }

    async fn turn(&self, does: &str, payload: &Bytes, time: Duration) -> anyhow::Result<f64> {
        for _ in 0..WARM_UP {
            self.once(does, payload).await?;
        }
        let mut chunks = Vec::new();
        let begun = Instant::now();
        while begun.elapsed() < time || chunks.is_empty() {
            let chunk = Instant::now();
            for _ in 0..CHUNK {
                self.once(does, payload).await?;
            }
            chunks.push(chunk.elapsed().as_secs_f64() * 1e6 / f64::from(CHUNK));
        }
        Ok(median(chunks))
    }
}

/// Each message gets an instance of its own: made, started, called, dropped.
pub(super) async fn fresh(bench: &Bench<'_>) -> anyhow::Result<Vec<Row>> {
    let component = tokio::fs::read(&bench.settings.component).await?;
    let parts = Parts::new(&bench.settings.host, &component, None).await?;
    let mut series = Series::new("64 B, payload returned", "messages", "1/s");
    let call = call("echo", Bytes::from(vec![b'x'; 64]));
    for round in 0..bench.settings.rounds {
        bench.report(&format!("round {}", round + 1));
        let (mut made, begun) = (0_u64, Instant::now());
        while begun.elapsed() < bench.settings.turn || made == 0 {
            check(parts.instance().await?.handle(&call).await)?;
            made += 1;
        }
        series.product(made as f64 / begun.elapsed().as_secs_f64());
    }
    Ok(rows([series]))
}
