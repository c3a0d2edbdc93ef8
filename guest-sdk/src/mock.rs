//! A bus in memory: `cargo test` in a plugin's folder needs neither NATS nor WebAssembly.
//!
//! ```
//! use mistersmith_sdk::mock::Bus;
//! use mistersmith_sdk::{Agent, Reply, Result, Work, json, messaging};
//!
//! struct Shout;
//!
//! impl Agent for Shout {
//!     fn start() -> Result<Self> {
//!         Ok(Self)
//!     }
//!     fn work(&mut self, item: &Work) -> Result<Reply> {
//!         let loud: String = messaging::request_json("tools.upper", item.text()?)?;
//!         messaging::publish("results.shout", &loud)?;
//!         Ok(loud.into())
//!     }
//! }
//!
//! let bus = Bus::new();
//! bus.answer("tools.upper", |request| Ok(json!(request.text()?.to_uppercase()).into()));
//!
//! let mut agent = bus.start::<Shout>()?;
//! assert_eq!(agent.work("work.nlp.high.shout", "hey")?.to_text(), "\"HEY\"");
//! assert_eq!(bus.published()[0].subject, "results.shout");
//!
//! bus.deny("results.>");
//! assert!(agent.work("work.nlp.high.shout", "hey").is_err());
//! # Ok::<(), mistersmith_sdk::Error>(())
//! ```
//!
//! A bus is a handle: clones are the same bus, also in other threads, where several agents really
//! compete for a key. Tests that each have a bus of their own do not see each other.
//!
//! It checks subjects, keys, headers and sizes like the host, and refuses the patterns of
//! [`Bus::deny`] and [`Bus::deny_keys`]. It has no grants, no rates, no time limits and no JSON
//! schemas, and it delivers nothing that an agent publishes to another agent: a test delivers
//! messages itself.

mod check;
pub(crate) mod coordination;
pub(crate) mod imports;
mod payload;
mod record;
mod running;
mod state;
mod workflows;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;

use crate::agent::Agent;
use crate::error::{CallError, Result};
use crate::reply::Reply;

pub use payload::Payload;
use record::Responder;
pub use record::{Call, LogLine, Sent, Subscribed};
pub use running::{Delivery, Running};
use state::State;

/// A NATS system and a host in memory.
#[derive(Clone, Default)]
pub struct Bus {
    state: Arc<Mutex<State>>,
}

impl Bus {
    /// An empty bus: nobody answers, no stream captures anything, every bucket exists and is empty,
    /// everything is allowed, the configuration is `{}`.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the name and the version of the plugin; `mock` and `0.0.0` otherwise. An agent's id is
    /// `<name>-<NNN>`, in the order of starting.
    #[must_use]
    pub fn with_plugin(self, name: &str, version: &str) -> Self {
        let mut state = self.state();
        state.plugin = name.to_owned();
        state.version = version.to_owned();
        drop(state);
        self
    }

    /// Sets the configuration, a JSON object. [`Running::configure`] changes it later, with a
    /// notice.
    #[must_use]
    pub fn with_config(self, config: Value) -> Self {
        self.state().config = config;
        self
    }

    /// Sets what [`context::remaining`](crate::context::remaining) says; 5 s otherwise.
    #[must_use]
    pub fn with_remaining(self, remaining: Duration) -> Self {
        self.state().remaining = remaining;
        self
    }

    /// Adds a JetStream stream that captures the subjects that match `pattern`, for
    /// [`publish_stored`](crate::messaging::publish_stored).
    #[must_use]
    pub fn with_stream(self, name: &str, pattern: &str) -> Self {
        self.state().add_stream(name, pattern);
        self
    }

    /// Starts an agent: calls [`Agent::start`] in its context.
    ///
    /// # Errors
    /// What `start` returns.
    pub fn start<A: Agent>(&self) -> Result<Running<A>> {
        Running::start(self)
    }

    /// Runs a piece of code as an agent would run it, to test a function that calls the host.
    pub fn run<R>(&self, body: impl FnOnce() -> R) -> R {
        let agent = self.state().next_agent_id();
        imports::enter(self, &agent, imports::Handling::default(), body)
    }

    /// Answers the requests on the subjects that match `pattern`; of several answers to one subject
    /// the newest counts. An answer can be an error: `|_| Err(CallError::Timeout)`. The closure
    /// must not make a request that it would answer itself.
    pub fn answer(
        &self,
        pattern: &str,
        answer: impl FnMut(&Sent) -> Result<Reply, CallError> + Send + 'static,
    ) {
        let answer: Responder = Arc::new(Mutex::new(answer));
        self.state().answers.push((pattern.to_owned(), answer));
    }

    /// Refuses to publish, request and subscribe where `pattern` matches the subject.
    pub fn deny(&self, pattern: &str) {
        self.state().denied.push(pattern.to_owned());
    }

    /// Refuses to read, write and list the keys of `bucket` that match `pattern`.
    pub fn deny_keys(&self, bucket: &str, pattern: &str) {
        let denied = (bucket.to_owned(), pattern.to_owned());
        self.state().denied_keys.push(denied);
    }

    /// Lets the next call of this kind fail once, and do nothing; several are used up in order.
    pub fn fail(&self, call: Call, error: CallError) {
        self.state().failures.push((call, error));
    }

    /// Everything that was published, in order; what was stored names its stream.
    #[must_use]
    pub fn published(&self) -> Vec<Sent> {
        self.state().published.clone()
    }

    /// Every request that was sent, in order, answered or not.
    #[must_use]
    pub fn requests(&self) -> Vec<Sent> {
        self.state().requests.clone()
    }

    /// The subscriptions made at run time that have not ended.
    #[must_use]
    pub fn subscriptions(&self) -> Vec<Subscribed> {
        self.state().subscriptions.clone()
    }

    /// Every line that was logged. They are printed as well, so that a failed test shows them.
    #[must_use]
    pub fn logs(&self) -> Vec<LogLine> {
        self.state().logs.clone()
    }

    /// The newest value of a key; none when there is none. Needs no permission.
    #[must_use]
    pub fn value(&self, bucket: &str, key: &str) -> Option<Vec<u8>> {
        let entry = self.state().bucket(bucket).get(key)?;
        Some(entry.value)
    }

    /// Writes a key, as somebody else would. Returns the revision. Needs no permission.
    pub fn put(&self, bucket: &str, key: &str, value: impl AsRef<[u8]>) -> u64 {
        self.state().bucket(bucket).put(key, value.as_ref())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A test that panicked has failed already; the state can still be read.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
