//! Attempts of a plugin to do what its manifest does not grant, one row each.
//!
//! They run without a server: a call that passes every check ends as `unavailable`, and a refused
//! one as `denied` or `invalid`, before anything is sent. Each table holds calls that its grants
//! allow, so that a row is refused for what it differs in and for nothing else.

mod call;
mod forged_headers;
mod malformed;
mod near_arguments;
mod near_grants;
mod reserved;
mod script;

use super::*;
use call::Call;
use mistersmith_core::permissions::{KvAccess, KvGrant};

/// How the attempts of one table ended.
#[derive(Default)]
struct Attempts {
    made: usize,
    let_in: Vec<String>,
}

impl Attempts {
    /// Makes a call that must be allowed.
    async fn allowed(&mut self, grants: &str, call: Call<'_>) {
        self.expect(grants, call, "unavailable").await;
    }

    /// Makes a call that must be refused for want of a permission.
    async fn denied(&mut self, grants: &str, call: Call<'_>) {
        self.made += 1;
        self.expect(grants, call, "denied").await;
    }

    /// Makes a call that must be refused for its arguments.
    async fn invalid(&mut self, grants: &str, call: Call<'_>) {
        self.made += 1;
        self.expect(grants, call, "invalid").await;
    }

    async fn expect(&mut self, grants: &str, call: Call<'_>, expected: &str) {
        let built = granted(grants);
        let outcome = call.make(&mut calling(&built)).await;
        if outcome != expected {
            let attempt = format!("[{grants}] {call:?}: {outcome}, not {expected}");
            self.let_in.push(attempt);
        }
        let refused = u64::from(expected != "unavailable");
        if (built.counts().refused, built.counts().sent) != (refused, 0) {
            let attempt = format!("[{grants}] {call:?}: {:?}", built.counts());
            self.let_in.push(attempt);
        }
    }
}

/// The agent `probe-001` with these grants, separated by `; `: `publish out.>`, `deny out.x`,
/// `kv CACHE probe.> read-write`.
fn granted(grants: &str) -> Built {
    let mut fixture = Fixture::new();
    for grant in grants.split("; ").filter(|grant| !grant.is_empty()) {
        let words: Vec<&str> = grant.split(' ').collect();
        let pattern = || words[1].to_owned();
        match words[0] {
            "publish" => fixture.grants.publish.push(pattern()),
            "request" => fixture.grants.request.push(pattern()),
            "subscribe" => fixture.grants.subscribe.push(pattern()),
            "deny" => fixture.grants.deny.push(pattern()),
            "kv" => fixture.grants.kv.push(KvGrant {
                bucket: words[1].parse().unwrap(),
                keys: vec![words[2].to_owned()],
                access: match words[3] {
                    "read" => KvAccess::Read,
                    "write" => KvAccess::Write,
                    "read-write" => KvAccess::ReadWrite,
                    other => panic!("{other} is no access"),
                },
            }),
            other => panic!("{other} is no list of grants"),
        }
    }
    fixture.build()
}

#[tokio::test]
async fn no_attempt_is_let_in() {
    let tables = [
        ("a grant that nearly fits", near_grants::attempts().await),
        (
            "an argument that nearly fits",
            near_arguments::attempts().await,
        ),
        ("reserved names", reserved::attempts().await),
        ("malformed names", malformed::attempts().await),
        ("forged headers", forged_headers::attempts().await),
    ];
    let let_in: Vec<&str> = tables
        .iter()
        .flat_map(|(_, table)| table.let_in.iter().map(String::as_str))
        .collect();
    assert_eq!(let_in, Vec::<&str>::new(), "{}", let_in.join("\n"));
    let made: Vec<(&str, usize)> = tables
        .iter()
        .map(|(name, table)| (*name, table.made))
        .collect();
    // A table that shrinks by mistake would go unnoticed.
    assert_eq!(
        made,
        [
            ("a grant that nearly fits", 133),
            ("an argument that nearly fits", 104),
            ("reserved names", 356),
            ("malformed names", 502),
            ("forged headers", 720),
        ]
    );
}
