//! The specifications of hosts and plugins, defaults filled in: plain data, already checked.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value};

use super::Schema;
use super::policy::PolicySpec;
use crate::digest::Digest;
use crate::limits::{PluginLimits, SETTLE};
use crate::names::{PluginName, Priority, SubjectPattern, Token};
use crate::permissions::PermissionSpec;

/// One plugin: its manifest, its files found and checked. The component itself is not opened.
#[derive(Debug, Clone, Serialize)]
pub struct PluginSpec {
    /// Its name, which is also that of its folder.
    pub name: PluginName,
    /// Its version, free text; `0.0.0` where the manifest does not say.
    pub version: String,
    /// One line for people; may be empty.
    pub description: String,
    /// The folder that its files may lie in.
    pub dir: PathBuf,
    /// The manifest.
    pub manifest: PathBuf,
    /// The digest of the manifest as it was read.
    pub digest: Digest,
    /// The component; a file within `dir`, at most [`crate::limits::MAX_COMPONENT`] bytes when it
    /// was looked at.
    pub component: PathBuf,
    /// Agents on this host.
    pub instances: u32,
    /// How long the memory of an agent lives.
    pub instance: InstanceMode,
    /// Shown in AGENT_STATE and health.
    pub capabilities: Vec<String>,
    /// Credentials of its own NATS user; none: the host's connections.
    pub credentials: Option<PathBuf>,
    /// `[config]` as JSON.
    pub config: Map<String, Value>,
    /// `[[work]]`: the work it takes.
    pub work: Vec<WorkSpec>,
    /// `[[pipeline]]`: the stages it does.
    pub pipeline: Vec<StageSpec>,
    /// `[[subscribe]]`: the subjects it receives.
    pub subscribe: Vec<SubscribeSpec>,
    /// `[scatter]`: the questions it answers.
    pub scatter: Option<ScatterSpec>,
    /// `[election]`: its agents are candidates.
    pub election: Option<ElectionSpec>,
    /// `[circuit]`: the service that it depends on.
    pub circuit: Option<CircuitSpec>,
    /// `[idempotence]`: for how long a stored message that was handled is not handled again.
    pub idempotence: Option<Duration>,
    /// `[execute] schema`: what the payload of `cmd.execute` must look like.
    pub execute_schema: Option<Schema>,
    /// Its grants.
    pub permissions: PermissionSpec,
    /// Its limits.
    pub limits: PluginLimits,
}

/// How long the memory of an agent lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum InstanceMode {
    /// As long as the agent, or until a trap.
    #[default]
    Agent,
    /// For one message.
    Message,
}

/// One `[[work]]`.
#[derive(Debug, Clone, Serialize)]
pub struct WorkSpec {
    /// The domain; never `v<N>`.
    pub domain: Token,
    /// `v2` for `work.v2.<domain>…`; none for the plain form.
    pub version: Option<Token>,
    /// Which tasks of the domain.
    pub task: TaskFilter,
    /// Attempts before an item becomes a dead letter.
    pub max_deliver: u32,
    /// Delays before the second, third, … attempt; the last one repeats. Never empty.
    pub backoff: Vec<Duration>,
    /// The schema of a payload.
    pub schema: Option<Schema>,
}

impl WorkSpec {
    /// The subjects it takes: one pattern for each priority, then the form without a priority.
    pub fn patterns(&self) -> Vec<String> {
        let long = Priority::ALL.map(|p| format!("{}.{p}.{}", self.prefix(), self.task));
        long.into_iter().chain([self.pattern()]).collect()
    }

    /// The form without a priority, `work.<domain>.<task>`: what people call it by.
    pub fn pattern(&self) -> String {
        format!("{}.{}", self.prefix(), self.task)
    }

    fn prefix(&self) -> String {
        let version = self
            .version
            .as_ref()
            .map(|v| format!("{v}."))
            .unwrap_or_default();
        format!("work.{version}{}", self.domain)
    }

    /// Do both take some work item?
    pub fn overlaps(&self, other: &Self) -> bool {
        let tasks = match (&self.task, &other.task) {
            (TaskFilter::One(a), TaskFilter::One(b)) => a == b,
            _ => true,
        };
        self.domain == other.domain && self.version == other.version && tasks
    }
}

/// The `task` of a `[[work]]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TaskFilter {
    /// `"*"`: every task of the domain.
    All,
    /// This one.
    One(Token),
}

/// As in a subject filter: `*` or the task.
impl fmt::Display for TaskFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("*"),
            Self::One(task) => f.write_str(task.as_str()),
        }
    }
}

/// One `[[pipeline]]`.
#[derive(Debug, Clone, Serialize)]
pub struct StageSpec {
    /// Its name.
    pub stage: Token,
    /// The stages that get what it returns; empty on a last stage.
    pub next: Vec<Token>,
    /// The stages whose outputs it waits for; none: each input is handled by itself.
    pub join: Option<JoinSpec>,
    /// Attempts before an input becomes a dead letter.
    pub max_deliver: u32,
    /// Delays before the second, third, … attempt; the last one repeats. Never empty.
    pub backoff: Vec<Duration>,
    /// The schema of an input; of a joining stage, of the joined input.
    pub schema: Option<Schema>,
}

impl StageSpec {
    /// The subjects of its inputs, and those of the stages that follow.
    pub fn patterns(&self) -> Vec<String> {
        let stages = std::iter::once(&self.stage).chain(&self.next);
        stages
            .map(|stage| format!("pipeline.*.*.{stage}"))
            .collect()
    }
}

/// The `join` of a `[[pipeline]]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct JoinSpec {
    /// The stages that it waits for: two or more, each once.
    pub branches: Vec<Token>,
    /// How long, from the first branch that arrives.
    pub timeout: Duration,
    /// The action when it is over.
    pub missing: Missing,
}

/// What a joining stage does when a branch has not come in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Missing {
    /// The workflow fails at this stage.
    Fail,
    /// The stage runs with what is there.
    Continue,
}

/// One `[[subscribe]]`.
#[derive(Debug, Clone, Serialize)]
pub struct SubscribeSpec {
    /// The subject, perhaps with wildcards, `{plugin}` replaced. It never overlaps work, inboxes,
    /// or `$…`.
    pub subject: SubjectPattern,
    /// The queue group in which each message goes to one member; none: every agent gets every
    /// message.
    pub queue: Option<String>,
    /// Messages are handed over together; none: one at a time.
    pub batch: Option<BatchSpec>,
    /// The schema of a payload.
    pub schema: Option<Schema>,
}

/// `batch` and `batch_wait` of a `[[subscribe]]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct BatchSpec {
    /// Most messages of one batch.
    pub size: usize,
    /// How long the first one waits for others.
    pub wait: Duration,
}

/// `[scatter]`: the agents answer questions that are put to many.
#[derive(Debug, Clone, Serialize)]
pub struct ScatterSpec {
    /// The queue group of which one agent answers; none: every agent does.
    pub group: Option<String>,
    /// The schema of a question.
    pub schema: Option<Schema>,
}

/// `[election]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ElectionSpec {
    /// The domain: one leader for each on a NATS system.
    pub domain: Token,
}

/// `[circuit]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CircuitSpec {
    /// The service; plugins and hosts that name the same one share its state.
    pub service: Token,
    /// Failures in a row that open the circuit.
    pub failures: u32,
    /// How long it is open before one message is let through.
    pub reset: Duration,
}

/// `mistersmith.toml`, the environment applied.
#[derive(Debug, Clone)]
pub struct HostSpec {
    /// The name of the host; none: the host makes one.
    pub name: Option<String>,
    /// The program that compiles components, see [`HostEnv`](super::HostEnv).
    pub compiler: PathBuf,
    /// The folder with the plugins.
    pub plugins: PathBuf,
    /// The data folder of the host.
    pub data: PathBuf,
    /// The file that pins the plugins, if it is there.
    pub lock: PathBuf,
    /// Agents that run at the same time, all plugins together.
    pub agents: u32,
    /// The interval of the heartbeats of each agent.
    pub heartbeat: Duration,
    /// The interval of the metrics.
    pub metrics: Duration,
    /// How long a drain may take.
    pub grace: Duration,
    /// The servers.
    pub nats: NatsSpec,
    /// The settings of streams and buckets.
    pub jetstream: JetstreamSpec,
    /// The ceilings of all manifests.
    pub policy: PolicySpec,
}

impl HostSpec {
    /// Of the grace period of a drain, the part in which calls may end. The rest is for storing
    /// their results.
    pub fn grace_of_calls(&self) -> Duration {
        self.grace - SETTLE.min(self.grace / 4)
    }
}

/// The servers, and the credentials of the host.
#[derive(Debug, Clone, Default)]
pub struct NatsSpec {
    /// URLs without a user or password in them; none: the host starts a server of its own.
    pub servers: Vec<String>,
    /// The credentials.
    pub auth: Auth,
    /// Certificates; none: those of the system when a URL asks for TLS.
    pub tls: Option<TlsSpec>,
    /// Unencrypted connections to other machines are wanted.
    pub plaintext: bool,
    /// The program of a server of the host's own; none: it is looked for.
    pub program: Option<PathBuf>,
    /// This program itself, beside which a server is looked for.
    pub beside: Option<PathBuf>,
    /// The folders in which a server is looked for.
    pub path: Vec<PathBuf>,
}

/// The credentials of a connection.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum Auth {
    /// None.
    #[default]
    None,
    /// A `.creds` file.
    Credentials(PathBuf),
    /// A file that holds the seed of an nkey.
    Nkey(PathBuf),
    /// A user with a password.
    UserPassword {
        /// The user.
        user: String,
        /// The password; never shown.
        password: String,
    },
}

/// Shows which kind it is and never the password.
impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Credentials(path) => f.debug_tuple("Credentials").field(path).finish(),
            Self::Nkey(path) => f.debug_tuple("Nkey").field(path).finish(),
            Self::UserPassword { user, .. } => f
                .debug_struct("UserPassword")
                .field("user", user)
                .finish_non_exhaustive(),
        }
    }
}

/// Certificates for TLS, all PEM files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsSpec {
    /// Authorities to trust instead of the system's.
    pub ca: Option<PathBuf>,
    /// The client's own certificate; present exactly when `key` is.
    pub cert: Option<PathBuf>,
    /// The key of `cert`.
    pub key: Option<PathBuf>,
}

/// `[jetstream]`: settings that replace the defaults of the provisioned assets.
#[derive(Debug, Clone, Default)]
pub struct JetstreamSpec {
    /// Replicas of every asset; none: 3 on a cluster of three or more, otherwise 1.
    pub replicas: Option<usize>,
    /// The domain that holds the streams and buckets; none: the one that the server answers for.
    pub domain: Option<String>,
    /// From how many bytes on a stored payload becomes a claim; none: when the server takes no
    /// more.
    pub claim_over: Option<usize>,
    /// `heal = false`: streams and buckets that are lost while a host runs are not created again.
    pub leave_missing: bool,
    /// By the name of a stream that the host provisions.
    pub streams: BTreeMap<String, StreamOverride>,
    /// By the name of a bucket that the host provisions or a plugin is granted.
    pub buckets: BTreeMap<String, BucketOverride>,
}

/// `[jetstream.streams.<NAME>]`: each value replaces the default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StreamOverride {
    /// How long a message is kept.
    pub max_age: Option<Duration>,
    /// Bytes of all messages together.
    pub max_bytes: Option<u64>,
    /// Messages of one subject.
    pub max_msgs_per_subject: Option<u64>,
    /// The behaviour of a full stream.
    pub discard: Option<Discard>,
    /// Copies.
    pub replicas: Option<usize>,
}

/// The behaviour of a full stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Discard {
    /// It refuses the new message; the publisher gets the error.
    New,
    /// It drops the oldest message.
    Old,
}

/// `[jetstream.buckets.<NAME>]`: each value replaces the default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BucketOverride {
    /// How long a value is kept.
    pub ttl: Option<Duration>,
    /// Bytes of all values together.
    pub max_bytes: Option<u64>,
    /// Copies.
    pub replicas: Option<usize>,
}
