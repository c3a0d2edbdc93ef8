//! The grants of a manifest, compiled for lookups.

use std::collections::HashMap;

use super::spec::{Access, KvAccess, KvGrant, PermissionSpec};
use super::subjects::SubjectSet;
use crate::names::{KeyPattern, SubjectPattern, subject};

/// What stands for the id of the agent in a grant.
pub(crate) const AGENT: &str = "{agent}";
/// What stands for the name of the plugin in a grant.
pub(crate) const PLUGIN: &str = "{plugin}";

/// Compiled grants: either those that all agents of a plugin share, or those of one agent.
#[derive(Debug, Default)]
pub(super) struct Grants {
    pub(super) publish: SubjectSet,
    pub(super) request: SubjectSet,
    pub(super) deny: SubjectSet,
    /// As `deny`: to name the one that forbids, and to compare with patterns.
    denied: Vec<String>,
    subscribe: Vec<String>,
    kv: HashMap<String, Keys>,
}

/// What is granted in one bucket.
#[derive(Debug, Default)]
struct Keys {
    read: SubjectSet,
    write: SubjectSet,
    /// The patterns of `read`, to compare with patterns.
    listed: Vec<String>,
}

impl Grants {
    /// Compiles those entries that `take` turns into a pattern; it leaves out the others.
    ///
    /// A grant that is no pattern is left out: `>.a` would match everything. Such a `deny` stays,
    /// since it can only refuse more.
    pub(super) fn compile(spec: &PermissionSpec, take: impl Fn(&str) -> Option<String>) -> Self {
        let taken = |list: &[String]| list.iter().filter_map(|p| take(p)).collect::<Vec<_>>();
        let granted = |list: &[String]| {
            let mut patterns = taken(list);
            patterns.retain(|pattern| SubjectPattern::check(pattern).is_ok());
            patterns
        };
        let denied = taken(&spec.deny);
        let mut grants = Self {
            publish: set(&granted(&spec.publish)),
            request: set(&granted(&spec.request)),
            deny: set(&denied),
            denied,
            subscribe: granted(&spec.subscribe),
            kv: HashMap::new(),
        };
        for KvGrant {
            bucket,
            keys,
            access,
        } in &spec.kv
        {
            let patterns = taken(keys).into_iter();
            for pattern in patterns.filter(|pattern| KeyPattern::check(pattern).is_ok()) {
                let bucket = grants.kv.entry(bucket.as_str().to_owned()).or_default();
                bucket.add(&pattern, *access);
            }
        }
        grants
    }

    /// The `deny` that covers everything that `pattern` can match.
    pub(super) fn denied(&self, pattern: &str) -> Option<&str> {
        let covering = self
            .denied
            .iter()
            .find(|deny| subject::covers(deny, pattern));
        covering.map(String::as_str)
    }

    /// Does one grant cover everything that `pattern` can match?
    pub(super) fn subscribe(&self, pattern: &str) -> bool {
        self.subscribe
            .iter()
            .any(|grant| subject::covers(grant, pattern))
    }

    /// May this key of the bucket be used so?
    pub(super) fn key(&self, bucket: &str, key: &str, access: Access) -> bool {
        self.kv.get(bucket).is_some_and(|keys| match access {
            Access::Read => keys.read.matches(key),
            Access::Write => keys.write.matches(key),
        })
    }

    /// Does one grant to read cover every key that `pattern` can match?
    pub(super) fn keys(&self, bucket: &str, pattern: &str) -> bool {
        let keys = self.kv.get(bucket);
        keys.is_some_and(|keys| {
            keys.listed
                .iter()
                .any(|grant| subject::covers(grant, pattern))
        })
    }
}

impl Keys {
    fn add(&mut self, pattern: &str, access: KvAccess) {
        if access.allows(Access::Read) {
            self.read.insert(pattern);
            self.listed.push(pattern.to_owned());
        }
        if access.allows(Access::Write) {
            self.write.insert(pattern);
        }
    }
}

fn set(patterns: &[String]) -> SubjectSet {
    let mut set = SubjectSet::default();
    patterns.iter().for_each(|pattern| set.insert(pattern));
    set
}
