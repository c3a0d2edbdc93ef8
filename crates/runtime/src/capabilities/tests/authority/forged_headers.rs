//! Headers that only hosts and servers set, and headers that hide another one, on every function
//! that takes headers.

use std::collections::BTreeSet;

use super::Attempts;
use super::call::Call;
use mistersmith_core::names::headers::OF_HOSTS;

const EVERYTHING: &str = "publish >; request >";

/// Set by servers and clients, or read by them.
const OF_NATS: &[&str] = &[
    "Nats-Msg-Id",
    "nats-msg-id",
    "NATS-MSG-ID",
    "Nats-Rollup",
    "Nats-TTL",
    "Nats-Marker-Reason",
    "Nats-Expected-Stream",
    "Nats-Expected-Last-Sequence",
    "Nats-Expected-Last-Subject-Sequence",
    "Nats-Expected-Last-Msg-Id",
    "Nats-Batch-Id",
    "Nats-Schedule",
    "Nats-Schedule-Target",
    "Nats-Incr",
    "Nats-Service-Error",
    "Nats-Service-Error-Code",
    "Nats-Request-Info",
    "Nats-Trace-Dest",
    "Nats_Rollup",
    "Nats.Rollup",
    "KV-Operation",
    "kv_operation",
    "Status",
    "Description",
    "Reply-To",
    "Accept-Encoding",
    "Content-Length",
    "Authorization",
];

/// No names of headers, or values that begin another line.
const HIDDEN: &[(&str, &str)] = &[
    ("", "v"),
    ("X-", "v"),
    ("X", "v"),
    ("X-A:", "v"),
    (":X-A", "v"),
    ("X-A ", "v"),
    (" X-A", "v"),
    ("X A", "v"),
    ("X-A\t", "v"),
    ("X-A\0", "v"),
    ("X-\u{e4}", "v"),
    ("\u{feff}X-A", "v"),
    ("X-A\r\nNats-Rollup", "all"),
    ("X-A: b\r\nNats-Rollup", "all"),
    ("NATS/1.0 503", "v"),
    ("X-A", "v\r\nNats-Rollup: all"),
    ("X-A", "v\nNats-Rollup: all"),
    ("X-A", "v\rNats-Rollup: all"),
    ("X-A", "v\r\n\r\nbody"),
    ("X-A", "v\0"),
    ("X-A", "\u{7f}"),
    ("X-A", "\u{85}"),
    ("X-A", "a\tb"),
    ("Content-Type", "text/plain\r\nX-Agent-ID: other-001"),
];

pub(super) async fn attempts() -> Attempts {
    let mut attempts = Attempts::default();
    for (name, value) in [
        ("Content-Type", "text/plain"),
        ("X-Mine", "v"),
        ("x-a", "\u{e4}"),
    ] {
        for call in on_each_function(name, value) {
            attempts.allowed(EVERYTHING, call).await;
        }
    }
    let folded = OF_HOSTS.iter().flat_map(|name| {
        [
            (*name).to_owned(),
            name.to_ascii_lowercase(),
            name.to_ascii_uppercase(),
            name.replace('-', "_"),
        ]
    });
    let of_nats = OF_NATS.iter().map(|name| (*name).to_owned());
    let names: BTreeSet<String> = folded.chain(of_nats).collect();
    for name in names {
        for call in on_each_function(&name, "v") {
            attempts.invalid(EVERYTHING, call).await;
        }
    }
    for (name, value) in HIDDEN {
        for call in on_each_function(name, value) {
            attempts.invalid(EVERYTHING, call).await;
        }
    }
    attempts
}

fn on_each_function<'a>(name: &'a str, value: &'a str) -> [Call<'a>; 5] {
    [
        Call::PublishWith(name, value),
        Call::PublishStoredWith(name, value),
        Call::RequestWith(name, value),
        Call::ScatterWith(name, value),
        Call::StartPipelineWith(name, value),
    ]
}
