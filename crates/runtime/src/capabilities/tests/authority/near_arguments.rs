//! Grants, a call that they allow, and calls whose arguments are nearly the same.

use super::Attempts;
use super::call::Call;

type Row = (&'static str, Call<'static>, &'static [Call<'static>]);

use Call::{
    AwaitEvent, Circuit, Create, Delete, Get, Keys, Publish, PublishStored, Put, Request, Signal,
    StartPipeline, Subscribe, SubscribeIn, Update, Watch,
};

/// Grants, what they allow, and what they do not.
const ROWS: &[Row] = &[
    (
        "publish out.*",
        Publish("out.a"),
        &[
            Publish("out"),
            Publish("out.a.b"),
            Publish("a.out"),
            Publish("Out.a"),
            Publish("outer.a"),
            Publish("ou.t"),
            Publish("out-a"),
            Publish("out/a"),
            Publish("a.out.a"),
            Request("out.a"),
            Subscribe("out.a"),
        ],
    ),
    (
        "publish out.>",
        Publish("out.a.b"),
        &[
            Publish("out"),
            Publish("outs.a"),
            Publish("b.out.a"),
            PublishStored("out"),
        ],
    ),
    (
        "publish *.out; publish a.*.c",
        Publish("x.out"),
        &[
            Publish("out"),
            Publish("x.y.out"),
            Publish("x.out.y"),
            Publish("a.c"),
            Publish("a.b.c.d"),
        ],
    ),
    (
        "publish out.{agent}; publish by.{plugin}.>; publish x{agent}.y",
        Publish("out.probe-001"),
        &[
            Publish("out.probe-002"),
            Publish("out.probe-0011"),
            Publish("out.probe-01"),
            Publish("out.probe"),
            Publish("out.Probe-001"),
            Publish("out.{agent}"),
            Publish("by.{plugin}.a"),
            Publish("by.probe-001.a"),
            Publish("by.probe"),
            Publish("xprobe-002.y"),
        ],
    ),
    // Letters that look alike, or that Unicode folds, are other bytes.
    (
        "publish out.caf\u{e9}; publish out.stra\u{df}e; publish out.a",
        Publish("out.caf\u{e9}"),
        &[
            Publish("out.cafe\u{301}"),
            Publish("out.cafe"),
            Publish("out.CAF\u{c9}"),
            Publish("out.strasse"),
            Publish("out.\u{430}"),
            Publish("out.\u{ff41}"),
            Publish("out\u{2024}a"),
            Publish("out\u{3002}a"),
            Publish("out.a\u{200b}"),
            Publish("\u{feff}out.a"),
            Publish("out.a\u{202e}"),
        ],
    ),
    // `deny` is stronger than every grant, and is not left by another case of it.
    (
        "publish >; request >; subscribe >; deny out.secret; deny in.*.x; deny all.>",
        Publish("out.Secret"),
        &[
            Publish("out.secret"),
            PublishStored("out.secret"),
            Request("out.secret"),
            Subscribe("out.secret"),
            SubscribeIn("out.secret", "q"),
            Publish("in.a.x"),
            Subscribe("in.*.x"),
            Subscribe("in.a.x"),
            Publish("all.a"),
            Subscribe("all.*"),
            Subscribe("all.>"),
            Subscribe("all.a.>"),
        ],
    ),
    (
        "subscribe in.*",
        Subscribe("in.a"),
        &[
            Subscribe("in.>"),
            Subscribe("in"),
            Subscribe("in.*.*"),
            Subscribe("in.a.>"),
            Subscribe("*.a"),
            Subscribe("*.*"),
            Subscribe("*"),
            Subscribe(">"),
            Subscribe("*.>"),
            Subscribe("In.a"),
            SubscribeIn("in.>", "q"),
            SubscribeIn("in", "q"),
            Publish("in.a"),
            Request("in.a"),
        ],
    ),
    (
        "request tools.search",
        Request("tools.search"),
        &[
            Request("tools"),
            Request("tools.search.a"),
            Request("tools.Search"),
            Request("tool.search"),
            Publish("tools.search"),
            PublishStored("tools.search"),
        ],
    ),
    (
        "kv CACHE probe.* read; kv CACHE-2 mine write",
        Get("CACHE", "probe.a"),
        &[
            Get("CACHE", "probe"),
            Get("CACHE", "probe.a.b"),
            Get("CACHE", "Probe.a"),
            Get("CACHE", "probe/a"),
            Get("CACHE", "probe=a"),
            Get("CACHE", "a.probe"),
            Get("CACHE", "mine"),
            Get("cache", "probe.a"),
            Get("CACHE-2", "probe.a"),
            Get("CACHE-2", "mine"),
            Get("CACHE_2", "mine"),
            Get("KV_CACHE", "probe.a"),
            Put("CACHE", "probe.a"),
            Create("CACHE", "probe.a"),
            Update("CACHE", "probe.a"),
            Delete("CACHE", "probe.a"),
            Put("CACHE-2", "mine.a"),
            Keys("CACHE", ">"),
            Keys("CACHE", "probe.>"),
            Keys("CACHE", "*.a"),
            Keys("CACHE", "*"),
            Keys("CACHE-2", "mine"),
        ],
    ),
    // A token of a workflow is one token: it cannot name another subject.
    (
        "publish coord.w1.go; publish pipeline.w1.01.extract; subscribe coord.w1.go",
        Signal("w1", "go"),
        &[
            Signal("W1", "go"),
            Signal("w11", "go"),
            Signal("w1", "cancel"),
            AwaitEvent("w1", "cancel"),
            AwaitEvent("w2", "go"),
            Watch("w1"),
            StartPipeline("extract", "w2"),
            StartPipeline("sum", "w1"),
            Circuit("w1"),
        ],
    ),
];

pub(super) async fn attempts() -> Attempts {
    let mut attempts = Attempts::default();
    for (grants, right, wrong) in ROWS {
        attempts.allowed(grants, *right).await;
        for call in *wrong {
            attempts.denied(grants, *call).await;
        }
    }
    attempts
}
