//! From a specification to a running host: everything that can be wrong with it fails here.

use std::sync::Arc;

use anyhow::{Context, bail};
use serde_json::json;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::agent::Surroundings;
use crate::config::HostSpec;
use crate::limits;
use crate::patterns::attempts::{self, Attempts};
use crate::patterns::commands::Commands;
use crate::patterns::coordination::Coordinator;
use crate::patterns::disposition::Settler;
use crate::patterns::keeper::Keeper;
use crate::patterns::outbox::Outbox;
use crate::patterns::{Directory, audit, health, metrics, micro};
use crate::provision::{self, ConsumerClaims};
use crate::runtime::{Runtime, RuntimeError, RuntimeOptions, watch_standstill};
use crate::transport::server::OwnServer;
use crate::transport::{Link, Role, ServerClock, Transport, version};

use super::fleet::Fleet;
use super::lease::Lease;
use super::{Buckets, DataFolder, Host, Shared, beat, data, upkeep};

/// A connection and what it needed to come about.
pub struct Connected {
    /// The connections.
    pub transport: Transport,
    /// The server that was started for them.
    pub server: Option<OwnServer>,
}

/// Connects to the configured servers, or starts a server of its own in the data folder.
pub async fn connect(spec: &HostSpec, name: &str, data: &DataFolder) -> anyhow::Result<Connected> {
    let (server, connect) = if spec.nats.servers.is_empty() {
        let server = OwnServer::start(data.path(), &spec.nats.places()).await?;
        let connect = server.connection().connect_spec(name);
        (Some(server), connect)
    } else {
        (None, spec.nats.connect_spec(name))
    };
    let transport = Transport::connect(connect).await?;
    if let Some(bytes) = spec.jetstream.claim_over {
        transport.set_claim_over(bytes);
    }
    let state = transport.state();
    if !state.jetstream {
        bail!(
            "the NATS server at {} has no JetStream: start it with `nats-server -js`, \
             or add `jetstream {{}}` to its configuration",
            state.url
        );
    }
    let most = transport.link(Role::Work).max_payload();
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
    Ok(Connected { transport, server })
}

/// The connection and the streams and buckets on it.
struct Ground {
    transport: Transport,
    server: Option<OwnServer>,
    kv: Buckets,
}

/// Everything that may take long, and of which nothing needs to be brought home.
async fn prepare(spec: &HostSpec, name: &str, data: &DataFolder) -> anyhow::Result<Ground> {
    let Connected { transport, server } = connect(spec, name, data).await?;
    let control = transport.link(Role::Control);
    provision::ensure(&transport, &spec.jetstream)
        .await
        .context("JetStream is not set up")?;
    let kv = Buckets {
        state: control.kv("AGENT_STATE").await?,
        leases: control.kv("AGENT_LEASES").await?,
        claims: control.kv("AGENT_CLAIMS").await?,
        config: control.kv("AGENT_CONFIG").await?,
        circuits: control.kv("CIRCUITS").await?,
        pipelines: transport.link(Role::Work).kv("PIPELINES").await?,
        attempts: transport.link(Role::Work).kv(attempts::BUCKET).await?,
    };
    Ok(Ground {
        transport,
        server,
        kv,
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
        .unwrap_or_else(|| format!("host-{}", short(id.as_str())));
    let runtime = reserve(&data);
    let ground = tokio::select! {
        ground = prepare(&spec, &name, &data) => ground?,
        () = draining.cancelled() => return Ok(None),
    };
    let (transport, server, kv) = (ground.transport, ground.server, ground.kv);
    let control = transport.link(Role::Control).clone();
    let work = transport.link(Role::Work).clone();
    let consumers = ConsumerClaims::new(control.clone(), id.clone()).await?;
    let runtime = Arc::new(runtime.await??);
    let lease = Lease::take(kv.leases.clone(), &id, &name)
        .await
        .context("the host's lease")?;
    // The lease is there, so that any server can tell.
    let clock = clock_of(&control).await;
    let outbox = Outbox::start(control.clone(), &name, id.as_str());
    let keeper = Arc::new(Keeper::default());
    let mut background = vec![keeper.start(), watch_standstill()];
    let directory = Directory::default();
    let coordinator = Coordinator::new(directory.clone());
    let attempts = Attempts::start(kv.attempts.clone(), work.clone(), id.clone());
    let around = Surroundings {
        runtime,
        settler: Settler::new(work.clone(), outbox.clone(), attempts, clock.clone()),
        audit: Arc::new(audit::Refusals(outbox.clone())),
        coordination: Arc::new(coordinator.clone()),
        outbox,
        work,
    };
    let shared = Arc::new(Shared {
        spec,
        name,
        id,
        transport,
        directory,
        keeper,
        around,
        coordinator,
        kv,
        consumers,
        clock,
        draining,
    });
    serve(&shared).await?;
    background.push(beat::start(shared.clone()));
    background.push(measure(&shared));
    background.push(upkeep::start(shared.clone()));
    Ok(Some(Host {
        fleet: Fleet::new(shared.clone()),
        shared,
        lease,
        background,
        server,
        _data: data,
    }))
}

/// The clock of the server. One that does not tell its time now is asked again by the upkeep.
async fn clock_of(control: &Link) -> ServerClock {
    let clock = ServerClock::default();
    if let Err(error) = clock.ask(control).await {
        tracing::warn!(%error, "the time of the server is not known; that of this machine counts");
    }
    clock
}

/// Reserves address space for every agent that may come, beside everything that waits for NATS.
fn reserve(data: &DataFolder) -> JoinHandle<Result<Runtime, RuntimeError>> {
    let options = RuntimeOptions {
        cache_dir: Some(data.path().join(data::COMPILED)),
        max_agents: limits::MAX_AGENTS,
    };
    tokio::task::spawn_blocking(move || Runtime::new(options))
}

/// Starts to publish what is measured; it ends with the host's drain.
fn measure(shared: &Arc<Shared>) -> JoinHandle<()> {
    let reporter = metrics::Reporter {
        link: shared.transport.link(Role::Bulk).clone(),
        directory: shared.directory.clone(),
        times: shared.around.settler.times().clone(),
        host: shared.name.clone(),
    };
    tokio::spawn(reporter.run(shared.spec.metrics, shared.draining.clone()))
}

/// Starts to listen for what is said to the host and to its agents as such.
async fn serve(shared: &Arc<Shared>) -> anyhow::Result<()> {
    let control = shared.transport.link(Role::Control).clone();
    let commands = Commands {
        control: control.clone(),
        bulk: shared.transport.link(Role::Bulk).clone(),
        directory: shared.directory.clone(),
        kv: shared.kv.config.clone(),
        outbox: shared.around.outbox.clone(),
        turn: Arc::new(Mutex::new(())),
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
        host.around.outbox.audit(
            audit::COMMAND,
            json!({"command": "emergency.shutdown", "from": from}),
        );
        host.draining.cancel();
    });
    Ok(())
}

/// Enough of an id to tell hosts apart in a name.
fn short(id: &str) -> String {
    id.chars()
        .rev()
        .take(6)
        .collect::<Vec<_>>()
        .into_iter()
        .rev()
        .collect()
}
