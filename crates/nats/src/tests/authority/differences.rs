//! Where the host decides otherwise than a server with the same lists, and why.

use mistersmith_core::names::subject::{covers, matches, overlaps};
use mistersmith_core::permissions::{Permissions, Refusal};

use super::cases::{Case, filled};

/// The action asked for.
#[derive(Debug, Clone)]
pub(super) enum Use {
    Publish,
    Request,
    /// In this queue group, if any.
    Subscribe(Option<String>),
    /// Through a subscription to this pattern, which both allow.
    Hear(String),
}

/// One question to both.
pub(super) struct Question<'a> {
    permissions: &'a Permissions,
    used: Use,
    on: String,
    granted: Vec<String>,
    denied: Vec<String>,
}

impl<'a> Question<'a> {
    pub(super) fn new(case: &Case, permissions: &'a Permissions, used: Use, on: String) -> Self {
        let granted = match used {
            Use::Publish => &case.spec.publish,
            Use::Request => &case.spec.request,
            Use::Subscribe(_) | Use::Hear(_) => &case.spec.subscribe,
        };
        Self {
            permissions,
            used,
            on,
            granted: filled(granted),
            denied: filled(&case.spec.deny),
        }
    }

    pub(super) fn host_allows(&self) -> bool {
        match self.used {
            Use::Hear(_) => self.permissions.may_receive(&self.on),
            _ => self.answer().is_ok(),
        }
    }

    fn answer(&self) -> Result<(), Refusal> {
        match &self.used {
            Use::Publish => self.permissions.publish(&self.on),
            Use::Request => self.permissions.request(&self.on),
            Use::Subscribe(queue) => self.permissions.subscribe(&self.on, queue.as_deref()),
            Use::Hear(_) => Ok(()),
        }
    }

    fn is_sent(&self) -> bool {
        matches!(self.used, Use::Publish | Use::Request)
    }

    fn is_subscribed(&self) -> bool {
        matches!(self.used, Use::Subscribe(_))
    }

    fn has_wildcards(&self) -> bool {
        self.on.split('.').any(|token| token == "*" || token == ">")
    }

    fn is_invalid(&self) -> bool {
        matches!(self.answer(), Err(Refusal::Invalid(_)))
    }

    fn is_reserved(&self) -> bool {
        let reserved = |text: &String| text.ends_with("no grant can allow it");
        matches!(self.answer(), Err(Refusal::Denied(text)) if reserved(&text))
    }
}

impl std::fmt::Debug for Question<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (used, on, granted, denied) = (&self.used, &self.on, &self.granted, &self.denied);
        write!(f, "{used:?} {on:?}, granted {granted:?}, denied {denied:?}")?;
        match self.answer() {
            Ok(()) => Ok(()),
            Err(refusal) => write!(f, ": {refusal}"),
        }
    }
}

/// A deliberate difference.
pub(super) struct Difference {
    pub(super) name: &'static str,
    /// Which of the two allows it.
    pub(super) server_allows: bool,
    /// The versions of nats-server that have it, by how they begin; empty for all.
    pub(super) only_of: &'static [&'static str],
    /// Whether it is the reason of this one.
    pub(super) explains: fn(&Question<'_>) -> bool,
}

/// All of them. In each but one the host is the stricter.
pub(super) const DIFFERENCES: &[Difference] = &[
    // The host speaks there, with the rights of its own user: a server cannot tell the host from
    // its plugins.
    Difference {
        name: "a reserved subject is closed to every grant",
        server_allows: true,
        only_of: &[],
        explains: |asked| !asked.is_invalid() && asked.is_reserved(),
    },
    // A server routes a message on the literal `a.*` to those who subscribe to `a.*`: it would go
    // to subscribers of subjects that were not granted.
    Difference {
        name: "a subject with wildcards is no subject to publish on",
        server_allows: true,
        only_of: &[],
        explains: |asked| asked.is_sent() && asked.is_invalid() && asked.has_wildcards(),
    },
    // A server that is not asked to be pedantic takes them; nobody could subscribe to them, and
    // JetStream does not store them.
    Difference {
        name: "a subject with an empty token is no subject to publish on",
        server_allows: true,
        only_of: &[],
        explains: |asked| {
            let empty = asked.on.split('.').any(str::is_empty);
            asked.is_sent() && asked.is_invalid() && empty
        },
    },
    // A server ends a subject at ASCII spaces only; a person who reads a manifest or a log does not
    // see the others.
    Difference {
        name: "spaces beyond ASCII stand in no subject",
        server_allows: true,
        only_of: &[],
        explains: |asked| {
            let hidden = |c: char| c.is_whitespace() || c.is_control();
            asked.is_invalid() && asked.on.chars().any(hidden)
        },
    },
    // A line of the protocol may have 4,096 bytes, and a longer one ends the connection of all
    // agents; the host's own subjects, dead letters above all, add to those of others.
    Difference {
        name: "a subject has at most 255 bytes",
        server_allows: true,
        only_of: &[],
        explains: |asked| asked.is_invalid() && asked.on.len() > 255,
    },
    // A server compares the pattern as if it were a subject: its `>` is a token that `*` matches.
    // Then `a.*` granted is `a.>` heard.
    Difference {
        name: "a subscription is not wider than its grant",
        server_allows: true,
        only_of: &[],
        explains: |asked| {
            let mut grants = asked.granted.iter();
            let covered = asked.granted.iter().any(|grant| covers(grant, &asked.on));
            let as_subject = grants.any(|grant| matches(grant, &asked.on));
            asked.is_subscribed() && as_subject && !covered
        },
    },
    // The same comparison refuses `a.>` for a `deny` of `a.*`, although `a.b.c` is not denied. The
    // host lets it be subscribed to, and drops what is denied as it comes.
    Difference {
        name: "a subscription that is denied in part is filtered",
        server_allows: false,
        only_of: &[],
        explains: |asked| {
            let mut denied = asked.denied.iter();
            let covered = asked.denied.iter().any(|deny| covers(deny, &asked.on));
            let as_subject = denied.any(|deny| matches(deny, &asked.on));
            asked.is_subscribed() && as_subject && !covered
        },
    },
    // A server filters a subscription for those `deny` only that lie wholly within it: `c.*.x`
    // denied is heard through `c.y.*`.
    Difference {
        name: "what is denied is not heard through a subscription beside it",
        server_allows: true,
        only_of: &[],
        explains: |asked| {
            let Use::Hear(through) = &asked.used else {
                return false;
            };
            let mut denied = asked.denied.iter().filter(|deny| matches(deny, &asked.on));
            denied.all(|deny| overlaps(deny, through) && !covers(through, deny))
        },
    },
    Difference {
        name: "2.10 and 2.11 overlook a last `*` that is granted",
        server_allows: false,
        only_of: OVERLOOKING,
        explains: |asked| asked.is_sent() && overlooked(&asked.granted, &asked.on),
    },
    Difference {
        name: "2.10 and 2.11 overlook a last `*` that is denied",
        server_allows: true,
        only_of: OVERLOOKING,
        explains: |asked| asked.is_sent() && overlooked(&asked.denied, &asked.on),
    },
];

/// A fault of these: of `a.*` and `a.b.c` in one list they overlook the first for messages that are
/// published on `a.b`.
const OVERLOOKING: &[&str] = &["2.10.", "2.11."];

/// Whether they overlook a pattern of this list that matches the subject.
fn overlooked(list: &[String], subject: &str) -> bool {
    let last = subject.rsplit('.').next().unwrap_or(subject);
    let mut stars = list.iter().filter(|pattern| matches(pattern, subject));
    stars.any(|pattern| {
        let longer = pattern
            .strip_suffix('*')
            .map(|start| format!("{start}{last}."));
        longer.is_some_and(|longer| list.iter().any(|other| other.starts_with(&longer)))
    })
}
