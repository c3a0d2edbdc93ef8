//! The commands: `{"do": "<name>", …}`, with the fields of the variant of that name.

#![allow(clippy::enum_variant_names)] // The names of the variants are those of the commands.

use std::collections::BTreeMap;
use std::time::Duration;

use mistersmith_sdk::serde_json::Map;
use mistersmith_sdk::{Error, Value, log};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use crate::together::Together;

/// What the probe can be told to do.
#[derive(Debug, Clone)]
pub(crate) enum Command {
    Plain(Plain),
    Send(Send),
    Kv(Kv),
    Together(Together),
    Fail(Fail),
    Answer(Answer),
    Hostile(Hostile),
    Sandbox(Sandbox),
    Flood(Flood),
}

/// What is done with the probe itself.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Plain {
    /// Returns the value.
    Echo { value: Value },
    /// Returns the list of their results; a `fail_…` ends it.
    Sequence { commands: Vec<Command> },
    /// Logs a line, with that many bytes more.
    Log {
        level: Level,
        message: String,
        #[serde(default)]
        bytes: usize,
        #[serde(default)]
        fields: BTreeMap<String, String>,
    },
    /// Prints a line, `to` `stdout` or `stderr`.
    Print { text: String, to: Output },
    /// All that the interface tells but the headers.
    Context {},
    /// `[["name", "value"], …]`.
    Headers {},
    /// The first value of a header, or null.
    Header { name: String },
    /// `{"stage", "n", "workflow", "retries", "agent", "input"}` of a pipeline stage, the input as
    /// JSON or text.
    Stage {},
    /// `{"agent", "count", "instance"}`: how many calls this instance has had, and its number.
    Counter {},
    /// The messages of subscriptions that came since the last time.
    Heard {},
    /// The notices that came since the last time.
    Notices {},
    /// What `health` says from now on.
    Health {
        ok: bool,
        detail: Option<String>,
        load: Option<f32>,
    },
    /// Lets time pass `how`: `busy` in the guest, `wait` in WASI, `request` in a request on
    /// `subject`.
    Sleep {
        ms: u64,
        how: Pause,
        #[serde(default)]
        subject: String,
    },
    /// Fails until the item was tried `n` times, then `{"retries"}`.
    FailTimes { n: u32 },
}

/// `messaging`. A payload is text or JSON, followed by that many bytes more.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Send {
    /// `{"ok": true}`.
    Publish {
        subject: String,
        #[serde(default)]
        payload: Value,
        #[serde(default)]
        bytes: usize,
        #[serde(default)]
        headers: Vec<(String, String)>,
    },
    /// `{"stream", "sequence", "duplicate"}`.
    PublishStored {
        subject: String,
        #[serde(default)]
        payload: Value,
        #[serde(default)]
        bytes: usize,
        #[serde(default)]
        headers: Vec<(String, String)>,
    },
    /// `{"subject", "payload", "headers"}`, the payload as text.
    Request {
        subject: String,
        #[serde(default)]
        payload: Value,
        #[serde(default)]
        bytes: usize,
        #[serde(default)]
        headers: Vec<(String, String)>,
        timeout_ms: Option<u64>,
    },
    /// `{"subscription"}`.
    Subscribe {
        subject: String,
        queue: Option<String>,
    },
    /// `{"ok": true}`.
    Unsubscribe { subscription: u64 },
}

/// `kv`. Values are text, followed by that many bytes more.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Kv {
    /// `{"value", "revision"}`, the value as text, or null.
    KvGet { bucket: String, key: String },
    /// `{"revision"}`.
    KvPut {
        bucket: String,
        key: String,
        value: String,
        #[serde(default)]
        bytes: usize,
    },
    /// `{"revision"}`.
    KvCreate {
        bucket: String,
        key: String,
        value: String,
    },
    /// `{"revision"}`.
    KvUpdate {
        bucket: String,
        key: String,
        value: String,
        revision: u64,
    },
    /// `{"ok": true}`.
    KvDelete {
        bucket: String,
        key: String,
        revision: Option<u64>,
    },
    /// `{"keys"}`, sorted.
    KvKeys { bucket: String, pattern: String },
}

/// Failures of the handler.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Fail {
    FailRetry {
        message: String,
        delay_ms: Option<u64>,
    },
    FailReject {
        message: String,
    },
    FailOther {
        message: String,
    },
}

/// Replies that are not the JSON of what happened. They stand alone, not in a sequence.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Answer {
    /// Exactly this.
    Reply {
        payload: String,
        content_type: Option<String>,
        #[serde(default)]
        headers: Vec<(String, String)>,
    },
    /// None.
    NoReply {},
    /// That many bytes.
    BigReply { bytes: usize },
}

/// What breaks an instance, or its limits.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Hostile {
    /// Never returns.
    Spin {},
    /// Uses that much memory; keeps it if `keep`; if `ask`, an allocation that fails is a result.
    Alloc {
        bytes: usize,
        #[serde(default)]
        keep: bool,
        #[serde(default)]
        ask: bool,
    },
    /// Calls itself that often; without a number until the stack is used up.
    Recurse { depth: Option<u64> },
    /// A Rust panic.
    Panic { message: String },
    /// An `unreachable` without any message.
    Trap {},
    /// `std::process::exit`.
    Exit { code: i32 },
    /// Holds that many handles of the host at once.
    Handles { count: u32 },
}

/// What a sandbox refuses or bounds.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Sandbox {
    /// The environment: `{"name": "value"}`.
    Env {},
    /// The arguments.
    Args {},
    /// Reads the file, or creates it if `write`.
    OpenFile {
        path: String,
        #[serde(default)]
        write: bool,
    },
    /// Lists a folder.
    ListFolder { path: String },
    /// Connects to `host:port` by TCP.
    Connect { address: String },
    /// Listens on `host:port` by TCP.
    Listen { address: String },
    /// Binds `host:port` for UDP.
    BindUdp { address: String },
    /// Looks a host name up.
    Resolve { host: String },
    /// Reads a line from standard input.
    Stdin {},
    /// A random number.
    Random {},
    /// The time of the day, in milliseconds since 1970.
    Clock {},
    /// Starts a thread.
    Thread {},
}

/// Much at once: `{"done", "errors": {"<kind>": count}}`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Flood {
    /// Publishes `count` times.
    FloodPublish {
        subject: String,
        count: u32,
        #[serde(default)]
        bytes: usize,
    },
    /// Logs `count` lines of that many bytes.
    FloodLog {
        count: u32,
        #[serde(default)]
        bytes: usize,
    },
    /// Prints `count` lines of that many bytes.
    FloodPrint {
        count: u32,
        #[serde(default)]
        bytes: usize,
    },
    /// Subscribes to `<prefix>.0`, `<prefix>.1`, ….
    ManySubscribe { prefix: String, count: u32 },
    /// Writes `<prefix>.0`, `<prefix>.1`, ….
    ManyPut {
        bucket: String,
        prefix: String,
        count: u32,
    },
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Pause {
    Busy,
    Wait,
    Request,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Output {
    Stdout,
    Stderr,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Level {
    Debug,
    Info,
    Warn,
    Error,
}

impl<'de> Deserialize<'de> for Command {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut fields = Map::deserialize(deserializer)?;
        let Some(Value::String(name)) = fields.remove("do") else {
            return Err(D::Error::custom("no command: it begins with {\"do\": "));
        };
        // `{"do": "x", …}` is read as `{"x": {…}}`: the generated code is half as large.
        let command = Value::Object(Map::from_iter([(name.clone(), Value::Object(fields))]));
        None.or_else(|| group(&command, Self::Plain))
            .or_else(|| group(&command, Self::Send))
            .or_else(|| group(&command, Self::Kv))
            .or_else(|| group(&command, Self::Together))
            .or_else(|| group(&command, Self::Fail))
            .or_else(|| group(&command, Self::Answer))
            .or_else(|| group(&command, Self::Hostile))
            .or_else(|| group(&command, Self::Sandbox))
            .or_else(|| group(&command, Self::Flood))
            .unwrap_or_else(|| Err(format!("no command `{name}`")))
            .map_err(D::Error::custom)
    }
}

/// The command, if this group has one of that name.
fn group<'a, T: Deserialize<'a>>(
    command: &'a Value,
    make: fn(T) -> Command,
) -> Option<Result<Command, String>> {
    match T::deserialize(command).map_err(|error| error.to_string()) {
        Ok(inner) => Some(Ok(make(inner))),
        Err(error) if error.starts_with("unknown variant") => None,
        Err(error) => Some(Err(error)),
    }
}

impl From<Fail> for Error {
    fn from(fail: Fail) -> Self {
        match fail {
            Fail::FailRetry {
                message,
                delay_ms: Some(ms),
            } => Self::retry_after(Duration::from_millis(ms), message),
            Fail::FailRetry { message, .. } => Self::retry(message),
            Fail::FailReject { message } => Self::reject(message),
            Fail::FailOther { message } => Self::other(message),
        }
    }
}

impl From<Level> for log::Level {
    fn from(level: Level) -> Self {
        match level {
            Level::Debug => Self::Debug,
            Level::Info => Self::Info,
            Level::Warn => Self::Warn,
            Level::Error => Self::Error,
        }
    }
}
