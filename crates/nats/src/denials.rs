//! Subscriptions and publishes that the server has denied, by plugin, for as long as each denial
//! holds.
//!
//! The server reports a denied subscription in a line of text some time after the client has
//! subscribed, and not as the answer to it. Without this table a plugin would count as ready and
//! receive nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Mutex, MutexGuard};

/// The refusals of all connections of a host that are in force.
#[derive(Debug, Default)]
pub struct Denials {
    /// Of each plugin the subjects, with the number of subscriptions that are denied.
    denied: Mutex<BTreeMap<Arc<str>, BTreeMap<String, usize>>>,
    publishes: AtomicU64,
}

impl Denials {
    /// The subjects that the server denies to each plugin, although its manifest has them.
    pub fn subscriptions(&self) -> BTreeMap<Arc<str>, Vec<String>> {
        let denied = self.lock();
        let subjects = |(owner, subjects): (&Arc<str>, &BTreeMap<String, usize>)| {
            (Arc::clone(owner), subjects.keys().cloned().collect())
        };
        denied.iter().map(subjects).collect()
    }

    /// How many messages the server has refused to take.
    pub fn publishes(&self) -> u64 {
        self.publishes.load(Ordering::Relaxed)
    }

    pub(super) fn count_publish(&self) {
        self.publishes.fetch_add(1, Ordering::Relaxed);
    }

    /// A subscription is denied for as long as the ticket is kept.
    pub(super) fn add(self: &Arc<Self>, owner: &Arc<str>, subject: &str) -> DenialGuard {
        let mut denied = self.lock();
        let subjects = denied.entry(Arc::clone(owner)).or_default();
        *subjects.entry(subject.to_owned()).or_default() += 1;
        drop(denied);
        DenialGuard {
            owner: Arc::clone(owner),
            subject: subject.to_owned(),
            denials: Arc::clone(self),
        }
    }

    fn remove(&self, owner: &Arc<str>, subject: &str) {
        let mut denied = self.lock();
        let Some(subjects) = denied.get_mut(owner) else {
            return;
        };
        if let Some(count) = subjects.get_mut(subject) {
            *count = count.saturating_sub(1);
        }
        subjects.retain(|_, count| *count > 0);
        if subjects.is_empty() {
            denied.remove(owner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, BTreeMap<String, usize>>> {
        self.denied.lock()
    }
}

/// A subscription that is denied at the moment.
#[derive(Debug)]
pub(super) struct DenialGuard {
    owner: Arc<str>,
    subject: String,
    denials: Arc<Denials>,
}

impl Drop for DenialGuard {
    fn drop(&mut self) {
        self.denials.remove(&self.owner, &self.subject);
    }
}

/// One denial of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Denial {
    /// To subscribe.
    Subscribe {
        subject: String,
        queue: Option<String>,
    },
    /// To publish on this subject, or with this reply subject.
    Publish { subject: String },
}

impl Denial {
    /// Reads the server's words, of 2.9 to 2.15: `Permissions Violation for Subscription to "a"`,
    /// the same with ` using queue "q"` behind it, `… for Publish to "a"`, and `… for Publish with
    /// Reply of "a"`.
    pub(super) fn read(text: &str) -> Option<Self> {
        let words = strip(text, "permissions violation for ")?;
        if let Some(rest) = strip(words, "subscription to ") {
            let (subject, rest) = quoted(rest)?;
            let queue = strip(rest, " using queue ").and_then(quoted);
            return Some(Self::Subscribe {
                subject,
                queue: queue.map(|(queue, _)| queue),
            });
        }
        let rest =
            strip(words, "publish to ").or_else(|| strip(words, "publish with reply of "))?;
        quoted(rest).map(|(subject, _)| Self::Publish { subject })
    }
}

/// The text behind a prefix, in any case.
fn strip<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let (head, rest) = text.split_at_checked(prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then_some(rest)
}

/// A text in quotes, escaped as JSON would where that matters here, and what follows it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut reader = serde_json::Deserializer::from_str(text).into_iter::<String>();
    match reader.next() {
        Some(Ok(found)) => Some((found, text.get(reader.byte_offset()..)?)),
        // Escapes of Go that JSON does not know: as they stand.
        _ => {
            let rest = text.strip_prefix('"')?;
            let (found, rest) = rest.split_once('"')?;
            Some((found.to_owned(), rest))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_servers_are_understood() {
        let subscribe = |subject: &str, queue: Option<&str>| {
            Some(Denial::Subscribe {
                subject: subject.to_owned(),
                queue: queue.map(str::to_owned),
            })
        };
        let publish = |subject: &str| {
            Some(Denial::Publish {
                subject: subject.to_owned(),
            })
        };
        for (text, denial) in [
            (
                r#"Permissions Violation for Subscription to "a.*.>""#,
                subscribe("a.*.>", None),
            ),
            (
                r#"permissions violation for subscription to "a" using queue "q1""#,
                subscribe("a", Some("q1")),
            ),
            (
                r#"Permissions Violation for Subscription to "caf\u00e9\\""#,
                subscribe("caf\u{e9}\\", None),
            ),
            (
                r#"Permissions Violation for Subscription to "a\x01b""#,
                subscribe(r"a\x01b", None),
            ),
            (
                r#"Permissions Violation for Publish to "$JS.API.INFO""#,
                publish("$JS.API.INFO"),
            ),
            (
                r#"Permissions Violation for Publish with Reply of "_INBOX.x""#,
                publish("_INBOX.x"),
            ),
            ("User Authentication Expired", None),
            ("Permissions Violation", None),
            ("Permissions Violation for Subscription to a", None),
            ("", None),
        ] {
            assert_eq!(Denial::read(text), denial, "{text}");
        }
    }

    #[test]
    fn a_denial_lasts_as_long_as_its_subscription() {
        let denials = Arc::new(Denials::default());
        let owner: Arc<str> = Arc::from("echo");
        let (one, other) = (denials.add(&owner, "a"), denials.add(&owner, "a"));
        drop(one);
        let denied = denials.subscriptions();
        assert_eq!(denied.get("echo"), Some(&vec!["a".to_owned()]));
        drop(other);
        assert!(denials.subscriptions().is_empty());
    }
}
