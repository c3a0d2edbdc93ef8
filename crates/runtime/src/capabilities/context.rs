//! `context`: the identity of the agent, its configuration, and the message that it handles.

use std::sync::Arc;

use parking_lot::RwLock;

use super::{ConfigValues, Guest};
use crate::bindings::mistersmith::agent::context;
use mistersmith_nats::Headers;

/// The configuration of an agent: `[config]` of the manifest, overridden by `cmd.config`.
#[derive(Debug, Default)]
pub struct SharedConfig(RwLock<Arc<ConfigValues>>);

impl SharedConfig {
    /// Begins with these values.
    pub fn new(values: Arc<ConfigValues>) -> Self {
        Self(RwLock::new(values))
    }

    /// Replaces all values; a running call sees the new ones from its next read on.
    pub fn replace(&self, values: Arc<ConfigValues>) {
        *self.0.write() = values;
    }

    /// The values now.
    pub fn values(&self) -> Arc<ConfigValues> {
        Arc::clone(&self.0.read())
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
        self.context.config.values().text()
    }

    fn config_value(&mut self, key: String) -> Option<String> {
        self.context.config.values().get(&key).map(str::to_owned)
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
