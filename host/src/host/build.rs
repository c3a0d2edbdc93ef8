//! Builds the host; every configuration error surfaces here.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::json;
use tokio::sync::{Mutex, Notify, Semaphore};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::agents::{AgentDeps, Coordinator, Directory};
use crate::delivery::ack_progress::AckProgress;
use crate::delivery::attempts::{self, Attempts};
use crate::events::audit;
use crate::events::publisher::EventPublisher;
use crate::fleet::commands::Commands;
use crate::fleet::{health, metrics, micro};
use crate::settle::{DeadLetterQuarantine, Settler};
use crate::work::Payloads;
use mistersmith_core::config::HostSpec;
use mistersmith_core::limits;
use mistersmith_nats::provision::{self, ConsumerClaims};
use mistersmith_nats::server::{OwnServer, Places};
use mistersmith_nats::{
    ConnectSpec, Connection, Quarantine, Role, ServerClock, Transport, retry, version,
};
use mistersmith_runtime::{CompileLimits, Runtime, RuntimeError, RuntimeOptions, watch_standstill};

use super::claims::{self, Claims, Neighbours};
use super::healing_record::HealingRecord;
use super::lease::{Holder, Lease};
use super::seen_server::SeenServer;
use super::shared::{Buckets, Shared};
use super::{DataFolder, Host, data, healing, heartbeat, holding, maintenance};
use crate::plugins::PluginManager;

/// How long a starting host retries a JetStream request while a cluster has no leader for it.
const PATIENCE: Duration = Duration::from_secs(15);

/// The connections, and the server that was started for them.
pub struct Connected {
    /// The connections.
    pub transport: Transport,
    /// The server that was started, if any.
    pub server: Option<OwnServer>,
}

/// The number of connections for the messages of plugins. One connection carries about one core's
/// worth of messages, and the handlers need the other cores.
fn bulk_connections() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    (cores / limits::CORES_PER_BULK).clamp(1, limits::MAX_BULK)
}

/// Connects to the configured servers, or starts the host's own server in the data folder.
pub async fn connect(spec: &HostSpec, name: &str, data: &DataFolder) -> anyhow::Result<Connected> {
    let (server, connect) = if spec.nats.servers.is_empty() {
        let server = OwnServer::start(data.path(), &Places::configured(&spec.nats)).await?;
        let connect = server.connection().connect_spec(name);
        (Some(server), connect)
    } else {
        let domain = spec.jetstream.domain.clone();
        let connect = ConnectSpec {
            domain,
            ..ConnectSpec::configured(&spec.nats, name)
        };
        (None, connect)
    };
    let connect = ConnectSpec {
        bulk: bulk_connections(),
        ..connect
    };
    let transport = Transport::connect(connect).await?;
    if let Some(bytes) = spec.jetstream.claim_over {
        transport.set_claim_over(bytes);
    }
    let state = transport.state();
    let control = transport.connection(Role::Control);
    // A server without JetStream can be in a cluster with servers that have it.
    if !state.jetstream && control.domain().is_none() && !control.has_jetstream().await {
        bail!(
            "the NATS server at {} has no JetStream: start it with `nats-server -js`, \
             or add `jetstream {{}}` to its configuration; for a leaf node of servers that have it, \
             name their domain in [jetstream] domain",
            state.url
        );
    }
    let most = transport.connection(Role::Work).max_payload();
    if most < limits::LEAST_MAX_PAYLOAD {
        bail!(
            "the NATS server at {} takes messages of at most {most} bytes, and the host needs {}; \
             fix: raise `max_payload` in the configuration of the server",
            state.url,
            limits::LEAST_MAX_PAYLOAD
        );
    }
    if let Some(remark) = version::remark(&state.version) {
        tracing::warn!("{remark}");
    }
    if server.is_none()
        && let Some(warning) = SeenServer::new(data.path()).look(&state)
    {
        tracing::warn!("{warning}");
    }
    Ok(Connected { transport, server })
}

/// The connection, and its streams and buckets.
struct Prepared {
    transport: Transport,
    server: Option<OwnServer>,
    kv: Buckets,
    needs: provision::Needs,
}

/// The steps that may take long and leave nothing to clean up.
async fn prepare(spec: &HostSpec, name: &str, data: &DataFolder) -> anyhow::Result<Prepared> {
    let Connected { transport, server } = connect(spec, name, data).await?;
    let control = transport.connection(Role::Control);
    provision::ensure(&transport, &spec.jetstream)
        .await
        .context("JetStream is not set up")?;
    let kv = Buckets {
        state: control.kv("AGENT_STATE").await?,
        leases: control.kv("AGENT_LEASES").await?,
        claims: control.kv("AGENT_CLAIMS").await?,
        config: control.kv("AGENT_CONFIG").await?,
        circuits: control.kv("CIRCUITS").await?,
        pipelines: transport.connection(Role::Work).kv("PIPELINES").await?,
        attempts: transport
            .connection(Role::Work)
            .kv(attempts::BUCKET)
            .await?,
    };
    let read = || provision::Needs::read(&transport, &spec.jetstream);
    let needs = retry(PATIENCE, read).await?;
    Ok(Prepared {
        transport,
        server,
        kv,
        needs,
    })
}

pub(super) async fn build(
    spec: HostSpec,
    draining: CancellationToken,
) -> anyhow::Result<Option<Host>> {
    let data = DataFolder::open(&spec.data)?;
    let id = data.host_id().clone();
    let name = spec
        .name
        .clone()
        .unwrap_or_else(|| format!("host-{}", id_suffix(id.as_str())));
    let runtime = reserve(&spec, &data);
    let prepared = tokio::select! {
        done = prepare(&spec, &name, &data) => done?,
        () = draining.cancelled() => return Ok(None),
    };
    let (transport, server, kv) = (prepared.transport, prepared.server, prepared.kv);
    let control = transport.connection(Role::Control).clone();
    let work = transport.connection(Role::Work).clone();
    let events = EventPublisher::start(control.clone(), &name, id.as_str());
    // Before any bucket is read: it may contain a foreign message that no client can parse.
    let quarantine = DeadLetterQuarantine::new(work.clone(), events.clone());
    let quarantine: Arc<dyn Quarantine> = Arc::new(quarantine);
    transport.set_quarantine(&quarantine);
    let identity = tokio::select! {
        taken = take_identity(&control, &kv, &data, &name) => taken?,
        () = draining.cancelled() => return Ok(None),
    };
    let runtime = Arc::new(runtime.await??);
    // The lease is stored by now, so any server can report the time.
    let clock = clock_of(&control).await;
    let ack_progress = Arc::new(AckProgress::default());
    let mut background = vec![ack_progress.start(), watch_standstill()];
    let directory = Directory::default();
    let coordinator = Coordinator::new(directory.clone());
    let attempts = Attempts::start(kv.attempts.clone(), work.clone(), id.clone());
    let settler = Settler::new(work.clone(), events.clone(), attempts, clock.clone());
    let deps = agent_deps(runtime, &coordinator, events, settler, work);
    let shared = Arc::new(Shared {
        spec,
        name,
        id,
        transport,
        directory,
        ack_progress,
        payloads: Payloads::new(deps.work.clone()),
        deps,
        coordinator,
        kv,
        consumers: identity.consumers,
        claims: identity.claims,
        healing_record: HealingRecord::new(prepared.needs),
        term: identity.lease.term().clone(),
        clock,
        draining,
    });
    serve(&shared).await?;
    background.push(heartbeat::start(shared.clone()));
    background.push(holding::start(shared.clone()));
    background.push(healing::start(shared.clone(), identity.alarm));
    background.push(measure(&shared));
    background.push(maintenance::start(shared.clone()));
    Ok(Some(Host {
        plugins: PluginManager::new(shared.clone()),
        shared,
        lease: identity.lease,
        background,
        server,
        _data: data,
    }))
}

/// The parts of the host that agents need.
fn agent_deps(
    runtime: Arc<Runtime>,
    coordinator: &Coordinator,
    events: EventPublisher,
    settler: Settler,
    work: Connection,
) -> AgentDeps {
    AgentDeps {
        runtime,
        settler,
        audit: Arc::new(audit::Refusals(events.clone())),
        coordination: Arc::new(coordinator.clone()),
        events,
        work,
    }
}

/// The host's lease and claims.
struct Identity {
    lease: Lease,
    /// Raised by the lease when its bucket is missing.
    alarm: Arc<Notify>,
    consumers: ConsumerClaims,
    claims: Claims,
}

/// Takes the lease before anything else: of two hosts with one id, the second must not touch
/// anything that the first holds.
async fn take_identity(
    control: &Connection,
    kv: &Buckets,
    data: &DataFolder,
    name: &str,
) -> anyhow::Result<Identity> {
    let id = data.host_id();
    let holder = Holder {
        host: id.as_str().to_owned(),
        name: name.to_owned(),
        place: data.place().map(str::to_owned),
    };
    let alarm = Arc::new(Notify::new());
    let lease = Lease::take(control, holder, alarm.clone()).await?;
    let claims = Claims {
        connection: control.clone(),
        claims: kv.claims.clone(),
        leases: kv.leases.clone(),
        config: kv.config.clone(),
        host: id.clone(),
        neighbours: Neighbours::new(control.clone(), id.clone()),
        made: retry(PATIENCE, || claims::made(control)).await?,
        mine: claims::Mine::default(),
    };
    // While the bucket cannot tell yet whether other hosts exist.
    if retry(PATIENCE, || claims.are_new()).await? {
        claims.neighbours.meet().await;
    }
    let consumers = || ConsumerClaims::new(control.clone(), id.clone());
    Ok(Identity {
        lease,
        alarm,
        consumers: retry(PATIENCE, consumers).await?,
        claims,
    })
}

/// The clock of the server. If the server does not report its time now, maintenance asks again.
async fn clock_of(control: &Connection) -> ServerClock {
    let clock = ServerClock::default();
    if let Err(error) = clock.ask(control).await {
        tracing::warn!(%error, "the time of the server is not known; that of this machine counts");
    }
    clock
}

/// Reserves address space for every agent that may start, in parallel with the waits for NATS.
fn reserve(spec: &HostSpec, data: &DataFolder) -> JoinHandle<Result<Runtime, RuntimeError>> {
    let options = RuntimeOptions {
        program: spec.compiler.clone(),
        cache_dir: Some(data.path().join(data::COMPILED)),
        compiling: CompileLimits::default(),
        max_agents: spec.agents,
    };
    tokio::task::spawn_blocking(move || Runtime::new(options))
}

/// Starts to publish metrics; ends with the host's drain.
fn measure(shared: &Arc<Shared>) -> JoinHandle<()> {
    let reporter = metrics::Reporter {
        transport: shared.transport.clone(),
        directory: shared.directory.clone(),
        times: shared.deps.settler.times().clone(),
        host: shared.name.clone(),
    };
    tokio::spawn(reporter.run(shared.spec.metrics, shared.draining.clone()))
}

/// Starts the services for requests to the host and to its agents.
async fn serve(shared: &Arc<Shared>) -> anyhow::Result<()> {
    let control = shared.transport.connection(Role::Control).clone();
    let commands = Commands {
        control: control.clone(),
        bulk: shared.transport.connection(Role::Bulk).clone(),
        directory: shared.directory.clone(),
        kv: shared.kv.config.clone(),
        events: shared.deps.events.clone(),
        reading: Arc::new(Mutex::new(())),
        pausing: Arc::new(Semaphore::new(limits::MAX_PAUSING)),
    };
    commands.serve(&shared.draining).await?;
    health::serve(
        control.clone(),
        shared.directory.clone(),
        shared.draining.clone(),
    )
    .await?;
    micro::serve(
        control.clone(),
        shared.directory.clone(),
        shared.draining.clone(),
    )
    .await?;
    let mut emergencies = control
        .subscribe("broadcast.emergency.shutdown", None)
        .await?;
    let host = shared.clone();
    tokio::spawn(async move {
        let heard = tokio::select! {
            heard = emergencies.next() => heard,
            () = host.draining.cancelled() => None,
        };
        let Some(message) = heard else { return };
        tracing::warn!("emergency shutdown: draining");
        let from = message.headers.get("X-Agent-ID");
        host.deps.events.audit(
            audit::COMMAND,
            json!({"command": "emergency.shutdown", "from": from}),
        );
        host.draining.cancel();
    });
    Ok(())
}

/// The last six characters of an id: enough to tell hosts apart in a name.
fn id_suffix(id: &str) -> String {
    id.chars()
        .rev()
        .take(6)
        .collect::<Vec<_>>()
        .into_iter()
        .rev()
        .collect()
}
