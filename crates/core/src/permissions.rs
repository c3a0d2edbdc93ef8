//! The permissions of agents: pure decisions, deny by default.
//!
//! Every argument comes from a guest and is treated as hostile: it is validated first, then
//! compared with the reserved subjects, then with `deny`, and only then with the grants. Another
//! order would let a grant open a reserved subject. Nothing here sends, stores or remembers
//! anything.

use std::sync::Arc;

mod closed;
mod grants;
pub mod headers;
mod internal;
mod refusal;
pub mod reserved;
mod spec;
mod subject_filter_cache;
mod subjects;

pub(crate) use closed::{HOST_ALONE, NOT_HEARD};
use grants::Grants;
pub(crate) use grants::{AGENT, PLUGIN};
pub use internal::internal_bucket;
use refusal::Attempt;
pub use refusal::Refusal;
use reserved::Own;
pub use spec::{Access, KvAccess, KvGrant, PermissionSpec};
pub use subject_filter_cache::SubjectFilterCache;

use crate::limits::MAX_QUEUE;
use crate::names::{AgentId, Bucket, Key, KeyPattern, PluginName, Subject, SubjectPattern};

/// The grants of a plugin, compiled once for all of its agents.
#[derive(Debug, Clone)]
pub struct PluginPermissions {
    spec: Arc<PermissionSpec>,
    plugin: PluginName,
    shared: Arc<Grants>,
}

impl PluginPermissions {
    /// Compiles a spec that the configuration has checked. A pattern that is not valid grants
    /// nothing.
    pub fn compile(spec: &PermissionSpec, plugin: &PluginName) -> Self {
        let shared = |p: &str| (!p.contains(AGENT)).then(|| p.replace(PLUGIN, plugin.as_str()));
        Self {
            shared: Arc::new(Grants::compile(spec, shared)),
            spec: Arc::new(spec.clone()),
            plugin: plugin.clone(),
        }
    }

    /// What holds for every agent of the plugin: grants and `deny` that name `{agent}` are left
    /// out.
    pub fn common(&self) -> Permissions {
        Permissions {
            agent: AgentId::new(&self.plugin, 1),
            spec: self.spec.clone(),
            shared: self.shared.clone(),
            own: None,
        }
    }

    /// The permissions of one agent. Cheap: only grants with `{agent}` are compiled again.
    pub fn agent(&self, agent: &AgentId) -> Permissions {
        let own = |p: &str| {
            let mine = p.replace(AGENT, agent.as_str());
            p.contains(AGENT)
                .then(|| mine.replace(PLUGIN, self.plugin.as_str()))
        };
        let own = mentions_agent(&self.spec).then(|| Arc::new(Grants::compile(&self.spec, own)));
        Permissions {
            agent: agent.clone(),
            spec: self.spec.clone(),
            shared: self.shared.clone(),
            own,
        }
    }
}

fn mentions_agent(spec: &PermissionSpec) -> bool {
    let keys = spec.kv.iter().flat_map(|grant| &grant.keys);
    let subjects = [&spec.publish, &spec.subscribe, &spec.request, &spec.deny];
    subjects
        .into_iter()
        .flatten()
        .chain(keys)
        .any(|p| p.contains(AGENT))
}

/// The permissions of one agent.
#[derive(Debug, Clone)]
pub struct Permissions {
    agent: AgentId,
    spec: Arc<PermissionSpec>,
    shared: Arc<Grants>,
    /// The grants that name the agent; none when no grant does.
    own: Option<Arc<Grants>>,
}

impl Permissions {
    /// The permissions of a single agent; for several of one plugin use [`PluginPermissions`].
    pub fn compile(spec: &PermissionSpec, plugin: &PluginName, agent: &AgentId) -> Self {
        PluginPermissions::compile(spec, plugin).agent(agent)
    }

    /// May the agent publish on this subject? Takes no longer with a thousand grants than with one.
    pub fn publish(&self, subject: &str) -> Result<(), Refusal> {
        Subject::check(subject)?;
        let attempt = || self.attempt(format!("publish to `{subject}`"));
        if let Some(reason) = reserved::publish(subject, Own::Agent(&self.agent)) {
            return Err(attempt().reserved(reason));
        }
        if self.any(|grants| grants.deny.matches(subject)) {
            return Err(self.forbidden(subject, attempt()));
        }
        if self.any(|grants| grants.publish.matches(subject)) {
            return Ok(());
        }
        Err(attempt().ungranted("publish", &format!("{subject:?}")))
    }

    /// May the agent send a request on this subject? Grants to publish do not count.
    pub fn request(&self, subject: &str) -> Result<(), Refusal> {
        Subject::check(subject)?;
        let attempt = || self.attempt(format!("send a request to `{subject}`"));
        if let Some(reason) = reserved::request(subject, Own::Agent(&self.agent)) {
            return Err(attempt().reserved(reason));
        }
        if self.any(|grants| grants.deny.matches(subject)) {
            return Err(self.forbidden(subject, attempt()));
        }
        if self.any(|grants| grants.request.matches(subject)) {
            return Ok(());
        }
        Err(attempt().ungranted("request", &format!("{subject:?}")))
    }

    /// May the agent subscribe to this pattern, alone or in a queue group? One grant must cover
    /// everything that the pattern can match. A `deny` that covers only a part of it does not
    /// refuse the subscription: the host asks [`Permissions::may_receive`] for each message.
    ///
    /// A queue group needs no grant of its own.
    pub fn subscribe(&self, pattern: &str, queue: Option<&str>) -> Result<(), Refusal> {
        SubjectPattern::check(pattern)?;
        let attempt = || self.attempt(format!("subscribe to `{pattern}`"));
        if let Some(reason) = reserved::subscribe(pattern) {
            return Err(attempt().reserved(reason));
        }
        if let Some(queue) = queue {
            check_queue(queue)?;
            if let Some(reason) = reserved::queue(pattern) {
                let what = format!("subscribe to `{pattern}` in the queue group `{queue}`");
                return Err(self.attempt(what).reserved(reason));
            }
        }
        if self.any(|grants| grants.denied(pattern).is_some()) {
            return Err(self.forbidden(pattern, attempt()));
        }
        if self.any(|grants| grants.subscribe(pattern)) {
            return Ok(());
        }
        Err(attempt().ungranted("subscribe", &format!("{pattern:?}")))
    }

    /// May the agent be given a message that arrived on this subject? Asked for every message of
    /// every subscription, `[[subscribe]]` included: a subscription may be wider than the subjects
    /// that the agent may receive.
    pub fn may_receive(&self, subject: &str) -> bool {
        let closed = || reserved::subscribe(subject).is_some();
        let denied = || self.any(|grants| grants.deny.matches(subject));
        Subject::check(subject).is_ok() && !closed() && !denied()
    }

    /// May the agent use this key of this bucket so?
    pub fn kv(&self, bucket: &str, key: &str, access: Access) -> Result<(), Refusal> {
        Bucket::check(bucket)?;
        Key::check(key)?;
        let verb = if access == Access::Read {
            "read"
        } else {
            "write"
        };
        let attempt = || self.attempt(format!("{verb} key `{key}` of bucket `{bucket}`"));
        if let Some(reason) = internal_bucket(bucket, access) {
            return Err(attempt().reserved(reason));
        }
        if self.any(|grants| grants.key(bucket, key, access)) {
            return Ok(());
        }
        Err(attempt().ungranted("kv", &kv_line(bucket, key, verb)))
    }

    /// May the agent list the keys that match this pattern? One grant to read must cover them all.
    pub fn kv_keys(&self, bucket: &str, pattern: &str) -> Result<(), Refusal> {
        Bucket::check(bucket)?;
        KeyPattern::check(pattern)?;
        let attempt = || self.attempt(format!("list the keys `{pattern}` of bucket `{bucket}`"));
        if let Some(reason) = internal_bucket(bucket, Access::Read) {
            return Err(attempt().reserved(reason));
        }
        if self.any(|grants| grants.keys(bucket, pattern)) {
            return Ok(());
        }
        Err(attempt().ungranted("kv", &kv_line(bucket, pattern, "read")))
    }

    fn forbidden(&self, pattern: &str, attempt: Attempt<'_>) -> Refusal {
        let deny = self.groups().find_map(|grants| grants.denied(pattern));
        attempt.forbidden(deny.unwrap_or(pattern))
    }

    fn any(&self, allows: impl Fn(&Grants) -> bool) -> bool {
        self.groups().any(allows)
    }

    fn groups(&self) -> impl Iterator<Item = &Grants> {
        std::iter::once(self.shared.as_ref()).chain(self.own.as_deref())
    }

    fn attempt(&self, what: String) -> Attempt<'_> {
        Attempt {
            agent: &self.agent,
            manifest: &self.spec.manifest,
            what,
        }
    }
}

/// Is this the name of a queue group: printable, without spaces, short?
pub(crate) fn check_queue(queue: &str) -> Result<(), Refusal> {
    let hidden = |c: char| c.is_whitespace() || c.is_control();
    if queue.is_empty() || queue.len() > MAX_QUEUE || queue.chars().any(hidden) {
        return Err(Refusal::Invalid(format!(
            "{} is not a queue group: write 1 to {MAX_QUEUE} bytes without spaces and control \
             characters",
            crate::names::quoted(queue)
        )));
    }
    Ok(())
}

fn kv_line(bucket: &str, key: &str, access: &str) -> String {
    format!("{{ bucket = {bucket:?}, keys = [{key:?}], access = {access:?} }}")
}

#[cfg(test)]
pub(crate) mod tests;
