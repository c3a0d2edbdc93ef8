//! `context`: who the agent is, its configuration, and what it is handling.

use std::sync::{Arc, PoisonError, RwLock};

use serde_json::{Map, Value};

use super::Guest;
use crate::bindings::mistersmith::agent::context;
use crate::transport::Headers;

/// The configuration of an agent: `[config]` of the manifest, overridden by `cmd.config`.
#[derive(Debug)]
pub struct SharedConfig(RwLock<Arc<Config>>);

#[derive(Debug)]
struct Config {
    values: Map<String, Value>,
    text: String,
}

impl SharedConfig {
    /// Begins with these values.
    pub fn new(values: Map<String, Value>) -> Self {
        Self(RwLock::new(Arc::new(Config::new(values))))
    }

    /// Replaces all values; a call that is running sees the new ones from its next question on.
    pub fn replace(&self, values: Map<String, Value>) {
        let config = Arc::new(Config::new(values));
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = config;
    }

    /// The values now.
    pub fn values(&self) -> Map<String, Value> {
        self.now().values.clone()
    }

    fn now(&self) -> Arc<Config> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Config {
    fn new(values: Map<String, Value>) -> Self {
        let value = Value::Object(values);
        let text = value.to_string();
        let values = match value {
            Value::Object(values) => values,
            _ => Map::new(),
        };
        Self { values, text }
    }
}

impl context::Host for Guest {
    fn agent_id(&mut self) -> String {
        self.context.agent.as_str().to_owned()
    }

    fn plugin(&mut self) -> String {
        self.context.plugin.as_str().to_owned()
    }

    fn version(&mut self) -> String {
        self.context.version.clone()
    }

    fn config(&mut self) -> String {
        self.context.config.now().text.clone()
    }

    fn config_value(&mut self, key: String) -> Option<String> {
        self.context
            .config
            .now()
            .values
            .get(&key)
            .map(Value::to_string)
    }

    fn request_id(&mut self) -> String {
        let trace = self.scope().trace.as_ref();
        trace
            .map(|trace| trace.request_id().to_string())
            .unwrap_or_default()
    }

    fn trace_id(&mut self) -> String {
        let trace = self.scope().trace.as_ref();
        trace.map(|trace| trace.trace_id()).unwrap_or_default()
    }

    fn headers(&mut self, item: u32) -> Vec<context::Header> {
        self.headers_of(item).map(owned).unwrap_or_default()
    }

    fn header_value(&mut self, item: u32, name: String) -> Option<String> {
        self.headers_of(item)?.get(&name).map(str::to_owned)
    }

    fn remaining_ms(&mut self) -> u32 {
        u32::try_from(self.remaining().as_millis()).unwrap_or(u32::MAX)
    }
}

impl Guest {
    fn headers_of(&self, item: u32) -> Option<&Headers> {
        let scope = self.scope();
        match usize::try_from(item).ok()?.checked_sub(1) {
            None => Some(&scope.headers),
            Some(other) => scope.more_headers.get(other).map(|headers| &**headers),
        }
    }
}

/// Headers as the guest gets them.
pub(super) fn owned(headers: &Headers) -> Vec<context::Header> {
    headers
        .iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}
