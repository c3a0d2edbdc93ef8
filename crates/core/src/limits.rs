//! The limits of the system, each with its unit and its reason.
//!
//! Nothing here enforces a limit; the code that does imports it from here. A number that is written
//! elsewhere would be missing in the reference of limits, which is compared with this module.

mod compiling;
mod running;

use std::time::Duration;

use serde::Serialize;

pub use compiling::*;
pub use running::*;

pub(crate) const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// Longest subject or pattern, in bytes: subject, reply and queue must stay well below the 4096
/// bytes of a NATS control line, since a longer line closes the connection that all agents share.
pub const MAX_SUBJECT: usize = 255;

/// Longest queue group, in bytes: part of the same control line.
pub const MAX_QUEUE: usize = 128;

/// Longest plugin name, in bytes: it becomes part of agent ids, consumer names and file names.
pub const MAX_PLUGIN_NAME: usize = 63;

/// Longest token that we make, in bytes: three of them fit into the name of a durable consumer.
pub const MAX_TOKEN: usize = 63;

/// Longest request, trace or workflow id that others make, in bytes: it becomes part of subjects.
pub const MAX_FOREIGN_ID: usize = 96;

/// Longest name of a bucket, in bytes: it becomes the name of a stream, which is a folder on the
/// server.
pub const MAX_BUCKET: usize = 63;

/// Longest key of a bucket, in bytes: with `$KV.<bucket>.` before it, it is a subject.
pub const MAX_KEY: usize = 200;

/// Largest component file, in bytes, checked before it is compiled: compiling costs about a
/// hundred times its size in memory. A Python component has about 18 MB.
pub const MAX_COMPONENT: u64 = 64 * MIB as u64;

/// Largest manifest or host configuration, in bytes: room for thousands of grants.
pub const MAX_MANIFEST: u64 = 256 * KIB as u64;

/// Most mistakes of one file that are reported at once: nobody reads on, and finding the line of
/// each costs time.
pub const MAX_FINDINGS: usize = 100;

/// Longest `version` or capability of a plugin, in bytes: it stands in every heartbeat.
pub const MAX_LABEL: usize = 63;

/// Longest `description` of a plugin, in bytes: it stands in listings.
pub const MAX_DESCRIPTION: usize = 500;

/// Largest JSON schema, in bytes: it is compiled, and walked for every payload.
pub const MAX_SCHEMA: u64 = 256 * KIB as u64;

/// Largest other file that is read, in bytes: credentials, keys, certificates, and the small files
/// of the data folder.
pub const MAX_SMALL_FILE: u64 = 1024 * KIB as u64;

/// Most grants in one list of a manifest: keeps the lookup table of a plugin below a few megabytes.
pub const MAX_GRANTS: usize = 4096;

/// Most entries in any other list of a manifest (`[[work]]`, `capabilities`, …).
pub const MAX_ENTRIES: usize = 256;

/// Longest id of a workflow, in bytes: with a stage it is a key, and a part of several subjects.
pub const MAX_WORKFLOW_ID: usize = 96;

/// The highest number of a stage in a workflow: beyond, its stages surely follow each other in a
/// circle.
pub const MAX_STAGES: u8 = 99;

/// Most plugins in the folder: beyond, the folder is surely not the one that was meant.
pub const MAX_PLUGINS: usize = 1000;

/// Most agents of one plugin on one host: each has its own memory, and a number of at most five
/// digits.
pub const MAX_INSTANCES: u32 = 10_000;

/// Most headers on a message of a plugin: each costs allocations on every receiver.
pub const MAX_HEADER_COUNT: usize = 64;

/// All headers of a message of a plugin together, names and values, in bytes.
pub const MAX_HEADER_BYTES: usize = 16 * KIB;

/// Longest log line of a plugin, in bytes; the rest is cut.
pub const MAX_LOG_LINE: usize = 8 * KIB;

/// Most named values beside a log line.
pub const MAX_LOG_FIELDS: usize = 16;

/// What one host call may copy beyond the payload limit, in bytes: headers, subject, list overhead.
pub const HOSTCALL_FUEL_EXTRA: usize = 64 * KIB;

/// Most random bytes that a plugin gets from one call: more keeps a worker busy.
pub const MAX_RANDOM: u64 = 64 * KIB as u64;

/// How often the epoch of the engine advances. A call that computes beyond one tick moves to a
/// background thread, in turns of five ticks, which are the precision of the CPU budget.
pub const EPOCH_TICK: Duration = Duration::from_millis(2);

/// The nice value of background threads: where there are too few processors such a thread gets a
/// tenth of the time of a thread that serves messages, so it never starves.
pub const NICE: u8 = 10;

/// Longest retry delay that a plugin may ask for: work is stored no longer than this.
pub const MAX_RETRY_DELAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A quantity with a default, and the least and the most that a manifest may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounded<T> {
    /// The value without an entry in the manifest.
    pub default: T,
    /// The least that makes sense.
    pub min: T,
    /// The most that one plugin may have.
    pub max: T,
}

const fn bounded<T>(default: T, min: T, max: T) -> Bounded<T> {
    Bounded { default, min, max }
}

/// `limits.memory`: linear memories and tables of one agent together, in bytes. The most is what
/// 32-bit wasm can address.
pub const MEMORY: Bounded<u64> = bounded(32 * MIB as u64, MIB as u64, 4096 * MIB as u64);

/// `limits.timeout`: wall time of one call, host calls included. Work is kept from being delivered
/// elsewhere by in-progress acks for as long as a call may run.
pub const TIMEOUT: Bounded<Duration> = bounded(
    Duration::from_secs(5),
    Duration::from_millis(10),
    Duration::from_secs(60 * 60),
);

/// `limits.cpu`: time inside the guest during one call; no less than what it may be exceeded by.
pub const CPU: Bounded<Duration> = bounded(
    Duration::from_secs(1),
    Duration::from_millis(10),
    Duration::from_secs(10 * 60),
);

/// `limits.payload`: one message or value, in or out, in bytes. The most is what a NATS server
/// accepts at its largest setting; what it is really set to counts too.
pub const PAYLOAD: Bounded<usize> = bounded(MIB, 1, 64 * MIB);

/// `limits.publish_rate`: publishes, requests and writes of one agent, a second.
pub const PUBLISH_RATE: Bounded<u32> = bounded(1000, 1, 1_000_000);

/// `limits.publish_bytes`: payload that all agents of the plugin on a host together publish,
/// request with and write, in bytes a second. The default is 1 KiB for each message of
/// `publish_rate` where that is more. Beyond it a call waits, so that the messages of others do not
/// queue behind those of one plugin.
pub const PUBLISH_BYTES: Bounded<u64> =
    bounded(64 * MIB as u64, 64 * KIB as u64, 4096 * MIB as u64);

/// The part of a second whose [`PUBLISH_BYTES`] may be sent at once.
pub const BYTES_AT_ONCE: Duration = Duration::from_millis(62);

/// The longest time for which a call waits for its [`PUBLISH_BYTES`]; beyond it is `rate-limited`.
pub const BYTES_WAIT: Duration = Duration::from_secs(1);

/// The keys of a listing that cost as much of `limits.publish_rate` as one message does: the server
/// walks a bucket for them.
pub const KEYS_PER_MESSAGE: usize = 20;

/// The pause of a guest at every [`REFUSALS`]th call that its publish rate refuses: a guest that
/// calls in a loop waits instead of computing.
pub const RATE_PAUSE: Duration = Duration::from_millis(1);

/// Calls refused for the rate until a guest pauses for [`RATE_PAUSE`].
pub const REFUSALS: u64 = 16;

/// `limits.requests`: requests that wait for an answer at the same time, all agents of the plugin
/// on a host together.
pub const REQUESTS: Bounded<u32> = bounded(16, 1, 1024);

/// `limits.subscriptions`: run-time subscriptions of one agent; each is a task of the host.
pub const SUBSCRIPTIONS: Bounded<u32> = bounded(1000, 0, 10_000);

/// `limits.log_rate`: log lines of one agent, a second.
pub const LOG_RATE: Bounded<u32> = bounded(100, 1, 10_000);

/// `limits.handles`: component-model resources that one agent holds at the same time.
pub const HANDLES: Bounded<u32> = bounded(1000, 16, 100_000);

/// `limits.start_timeout`: wall time of `start`.
pub const START_TIMEOUT: Bounded<Duration> = bounded(
    Duration::from_secs(10),
    Duration::from_millis(10),
    Duration::from_secs(10 * 60),
);

/// `limits.stop_timeout`: wall time of `stop`; draining a host waits for it.
pub const STOP_TIMEOUT: Bounded<Duration> = bounded(
    Duration::from_secs(5),
    Duration::from_millis(10),
    Duration::from_secs(60),
);

/// `limits.keys`: keys that one `kv.keys` call returns.
pub const KEYS: Bounded<u32> = bounded(10_000, 1, 10_000);

/// `plugin.instances`: agents of the plugin on this host.
pub const INSTANCES: Bounded<u32> = bounded(1, 1, MAX_INSTANCES);

/// `work.max_deliver` and `pipeline.max_deliver`: attempts at a work item, or at a stage's input,
/// before it is a dead letter.
pub const MAX_DELIVER: Bounded<u32> = bounded(5, 1, 1000);

/// A delay of `work.backoff` and `pipeline.backoff`.
pub const BACKOFF: Bounded<Duration> = bounded(
    Duration::from_secs(1),
    Duration::from_millis(1),
    MAX_RETRY_DELAY,
);

/// The delays before the second, third, … attempt at a work item; the last one repeats.
pub const DEFAULT_BACKOFF: [Duration; 3] = [
    Duration::from_secs(1),
    Duration::from_secs(5),
    Duration::from_secs(30),
];

/// `pipeline.join_timeout`: how long a joining stage waits for its branches. The most leaves the
/// inputs, which are stored for two days, another day to be handled.
pub const JOIN_TIMEOUT: Bounded<Duration> = bounded(
    Duration::from_secs(10 * 60),
    Duration::from_secs(1),
    Duration::from_secs(24 * 60 * 60),
);

/// `circuit.failures`: failed calls in a row that open the circuit of a service.
pub const CIRCUIT_FAILURES: Bounded<u32> = bounded(5, 1, 1000);

/// `circuit.reset`: how long a circuit is open before one message is let through.
pub const CIRCUIT_RESET: Bounded<Duration> = bounded(
    Duration::from_secs(30),
    Duration::from_millis(100),
    Duration::from_secs(60 * 60),
);

/// `subscribe.batch`: messages that an agent is handed at once. The most keeps what the answers
/// cost within what one call may hand over.
pub const BATCH: Bounded<u32> = bounded(64, 1, 1024);

/// `subscribe.batch_wait`: how long the first message of a batch waits for others. It delays the
/// answer of a request too. With zero a batch holds the messages that have arrived together.
pub const BATCH_WAIT: Bounded<Duration> = bounded(
    Duration::from_millis(5),
    Duration::ZERO,
    Duration::from_secs(10),
);

/// Most bytes of payload in one batch, unless a single message has more; and a fourth of the
/// agent's memory at most, since the messages and what is made of them must fit into it. The
/// answers of an agent to one batch are bounded by the same number.
pub const MAX_BATCH_BYTES: usize = 8 * MIB;

/// `host.agents`: agents of one host, all plugins together. Address space is reserved for them; for
/// the most it is half of what a process can have.
pub const AGENTS: Bounded<u32> = bounded(4096, 1, MAX_INSTANCES);

/// `host.heartbeat`: the interval of the heartbeats of each agent. The most leaves an AGENT_STATE
/// value, which expires after 5 minutes, two more chances.
pub const HEARTBEAT: Bounded<Duration> = bounded(
    Duration::from_secs(30),
    Duration::from_secs(1),
    Duration::from_secs(120),
);

/// `idempotence.window`: for how long the result of a request is remembered. The most is how long
/// the bucket keeps it.
pub const WINDOW: Bounded<Duration> = bounded(
    Duration::from_secs(10 * 60),
    Duration::from_secs(1),
    Duration::from_secs(24 * 60 * 60),
);

/// `host.metrics`: the interval of the metrics. Six small messages for each agent.
pub const METRICS: Bounded<Duration> = bounded(
    Duration::from_secs(10),
    Duration::from_secs(1),
    Duration::from_secs(60 * 60),
);

/// `host.grace`: how long a drain may take before what still runs is dropped (and redelivered).
pub const GRACE: Bounded<Duration> = bounded(
    Duration::from_secs(30),
    Duration::from_secs(1),
    Duration::from_secs(10 * 60),
);

/// The limits of one agent: `[limits]` of the manifest, defaults filled in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PluginLimits {
    /// Bytes of memory, see [`MEMORY`].
    pub memory: u64,
    /// Wall time of a call, see [`TIMEOUT`].
    pub timeout: Duration,
    /// Guest time of a call, see [`CPU`].
    pub cpu: Duration,
    /// Bytes of a message or value, see [`PAYLOAD`].
    pub payload: usize,
    /// Publishes a second, see [`PUBLISH_RATE`].
    pub publish_rate: u32,
    /// Bytes published a second, see [`PUBLISH_BYTES`].
    pub publish_bytes: u64,
    /// Requests in flight, see [`REQUESTS`].
    pub requests: u32,
    /// Run-time subscriptions, see [`SUBSCRIPTIONS`].
    pub subscriptions: u32,
    /// Log lines a second, see [`LOG_RATE`].
    pub log_rate: u32,
    /// Resources, see [`HANDLES`].
    pub handles: u32,
    /// Wall time of `start`, see [`START_TIMEOUT`].
    pub start_timeout: Duration,
    /// Wall time of `stop`, see [`STOP_TIMEOUT`].
    pub stop_timeout: Duration,
    /// Keys of a listing, see [`KEYS`].
    pub keys: usize,
}

impl Default for PluginLimits {
    fn default() -> Self {
        Self {
            memory: MEMORY.default,
            timeout: TIMEOUT.default,
            cpu: CPU.default,
            payload: PAYLOAD.default,
            publish_rate: PUBLISH_RATE.default,
            publish_bytes: PUBLISH_BYTES.default,
            requests: REQUESTS.default,
            subscriptions: SUBSCRIPTIONS.default,
            log_rate: LOG_RATE.default,
            handles: HANDLES.default,
            start_timeout: START_TIMEOUT.default,
            stop_timeout: STOP_TIMEOUT.default,
            keys: KEYS.default as usize,
        }
    }
}
