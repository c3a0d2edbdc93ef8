//! `[policy]` of the host: ceilings that no manifest can exceed, and whether a grant lies below
//! them. Plain data and pure decisions; nothing here reads a file.
//!
//! A ceiling is a pattern like a grant. `{plugin}` in it stands for the plugin that is looked at,
//! and `{agent}` for the agent that a grant names in the same way.

use std::time::Duration;

use crate::names::{Token, subject};
use crate::permissions::{Access, KvGrant, PLUGIN};

/// A value of `[policy]`, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ceiling<T> {
    /// The most that a manifest may ask for.
    pub value: T,
    /// File and line, such as `mistersmith.toml:12`.
    pub place: String,
}

/// `[policy]`. An absent key is no ceiling; an empty list allows nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PolicySpec {
    /// Patterns that cover every grant to publish.
    pub publish: Option<Ceiling<Vec<String>>>,
    /// Patterns that cover every grant to send requests.
    pub request: Option<Ceiling<Vec<String>>>,
    /// Patterns that cover every grant to subscribe, and every `[[subscribe]]`.
    pub subscribe: Option<Ceiling<Vec<String>>>,
    /// Keys in buckets that cover every grant of keys.
    pub kv: Option<Ceiling<Vec<KvGrant>>>,
    /// Patterns that cover every `[[work]]`, as `work.<domain>.<task>`.
    pub work: Option<Ceiling<Vec<String>>>,
    /// The stages that a `[[pipeline]]` may be and may hand on to.
    pub stages: Option<Ceiling<Vec<Token>>>,
    /// The domains of elections.
    pub elections: Option<Ceiling<Vec<Token>>>,
    /// The services of circuits.
    pub circuits: Option<Ceiling<Vec<Token>>>,
    /// Whether plugins may answer the questions of scatters.
    pub scatter: Option<Ceiling<bool>>,
    /// Whether plugins may log in with credentials of their own.
    pub credentials: Option<Ceiling<bool>>,
    /// The most that `[limits]` of a manifest may ask for.
    pub limits: LimitCeilings,
}

/// `[policy.limits]`: ceilings of the keys of the same name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LimitCeilings {
    /// Bytes of memory of an agent.
    pub memory: Option<Ceiling<u64>>,
    /// Wall time of a call.
    pub timeout: Option<Ceiling<Duration>>,
    /// Guest time of a call.
    pub cpu: Option<Ceiling<Duration>>,
    /// Bytes of a message or value.
    pub payload: Option<Ceiling<usize>>,
    /// Publishes a second.
    pub publish_rate: Option<Ceiling<u32>>,
    /// Bytes published a second.
    pub publish_bytes: Option<Ceiling<u64>>,
    /// Requests in flight.
    pub requests: Option<Ceiling<u32>>,
    /// Run-time subscriptions.
    pub subscriptions: Option<Ceiling<u32>>,
    /// Log lines a second.
    pub log_rate: Option<Ceiling<u32>>,
    /// Resources.
    pub handles: Option<Ceiling<u32>>,
    /// Wall time of `start`.
    pub start_timeout: Option<Ceiling<Duration>>,
    /// Wall time of `stop`.
    pub stop_timeout: Option<Ceiling<Duration>>,
    /// Keys of a listing.
    pub keys: Option<Ceiling<usize>>,
    /// Agents of a plugin on this host.
    pub instances: Option<Ceiling<u32>>,
    /// Attempts at a work item, or at the input of a stage.
    pub max_deliver: Option<Ceiling<u32>>,
}

/// Does one of the ceilings cover everything that the grant can match, for each agent of the
/// plugin?
pub(super) fn covers(ceilings: &[String], grant: &str, plugin: &str) -> bool {
    let grant = of_plugin(grant, plugin);
    ceilings
        .iter()
        .any(|ceiling| subject::covers(&of_plugin(ceiling, plugin), &grant))
}

/// Do the ceilings allow each use of these keys that the grant names?
pub(super) fn covers_keys(ceilings: &[KvGrant], grant: &KvGrant, keys: &str, plugin: &str) -> bool {
    let uses = [Access::Read, Access::Write];
    let mut asked = uses.into_iter().filter(|used| grant.access.allows(*used));
    asked.all(|used| {
        let of_use =
            |ceiling: &&KvGrant| ceiling.bucket == grant.bucket && ceiling.access.allows(used);
        let mut fitting = ceilings.iter().filter(of_use);
        fitting.any(|ceiling| covers(&ceiling.keys, keys, plugin))
    })
}

/// `{agent}` stays: it is the same agent on both sides, and so a token that only itself and
/// wildcards cover. A name in its place would be one agent, and the grant is for all.
fn of_plugin(pattern: &str, plugin: &str) -> String {
    pattern.replace(PLUGIN, plugin)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::permissions::KvAccess;

    #[test]
    fn a_grant_lies_below_one_ceiling() {
        for (ceilings, grant, below) in [
            (&["results.>"][..], "results.nlp.>", true),
            (&["results.>"], "results.>", true),
            (&["results.*"], "results.>", false),
            (&["results.>"], "results", false),
            (&["results.>"], ">", false),
            (&[">"], ">", true),
            (&["*.>"], ">", false),
            (&[], "a", false),
            // Two together cover it, and none alone.
            (&["a.b", "a.*.>"], "a.>", false),
            (&["x", "results.>"], "results.a", true),
            // The names of plugin and agent.
            (&["results.{plugin}.>"], "results.echo.>", true),
            (&["results.{plugin}.>"], "results.{plugin}.x", true),
            (&["results.{plugin}.>"], "results.other.x", false),
            (&["results.echo.>"], "results.{plugin}.x", true),
            (&["m.{agent}.>"], "m.{agent}.score", true),
            (&["m.*.>"], "m.{agent}.score", true),
            (&["m.echo-001.>"], "m.{agent}.score", false),
            (&["m.{agent}.>"], "m.echo-001.score", false),
            (&["m.{plugin}-001.>"], "m.echo-001.score", true),
        ] {
            let ceilings: Vec<String> = ceilings.iter().map(|c| (*c).to_owned()).collect();
            assert_eq!(
                covers(&ceilings, grant, "echo"),
                below,
                "{grant} {ceilings:?}"
            );
        }
    }

    #[test]
    fn keys_lie_below_the_ceilings_of_their_bucket_and_use() {
        use KvAccess::{Read, ReadWrite, Write};
        let kv = |bucket: &str, keys: &str, access| KvGrant {
            bucket: bucket.parse().unwrap(),
            keys: vec![keys.to_owned()],
            access,
        };
        let ceilings = [kv("A", ">", Read), kv("A", "{plugin}.>", Write)];
        for (grant, below) in [
            (kv("A", "x", Read), true),
            (kv("A", "x", Write), false),
            (kv("A", "echo.x", Write), true),
            (kv("A", "{plugin}.x", ReadWrite), true),
            (kv("A", ">", ReadWrite), false),
            (kv("B", "x", Read), false),
        ] {
            let keys = grant.keys.first().unwrap();
            assert_eq!(
                covers_keys(&ceilings, &grant, keys, "echo"),
                below,
                "{grant:?}"
            );
        }
    }
}
