//! One call, and grants that nearly allow it: none, one token more or less, a wildcard in another
//! place, another case, another list, a `deny` beside the right one.

use super::Attempts;
use super::call::Call;

type Row = (Call<'static>, &'static str, &'static [&'static str]);

/// A call, the grant that allows it, and grants that do not.
const ROWS: &[Row] = &[
    (
        Call::Publish("out.a.b"),
        "publish out.a.b",
        &[
            "",
            "publish out.a",
            "publish out.a.b.c",
            "publish out.a.b.>",
            "publish out.*",
            "publish *.b",
            "publish out.*.b.*",
            "publish out.*.a",
            "publish *.out.>",
            "publish OUT.a.b",
            "publish out.A.b",
            "publish out.a.bb",
            "publish out.a.b; deny out.>",
            "publish out.a.b; deny *.*.b",
            "publish out.{agent}.b",
            "request out.a.b",
            "subscribe out.a.b",
            "subscribe >; request >; kv out a.b read-write",
        ],
    ),
    (
        Call::PublishStored("orders.paid"),
        "publish orders.*",
        &[
            "",
            "publish orders",
            "publish orders.*.*",
            "publish *.orders",
            "publish order.*",
            "publish orders.>; deny orders.paid",
            "request orders.paid",
            "kv orders paid write",
        ],
    ),
    (
        Call::Request("tools.search"),
        "request tools.*",
        &[
            "",
            "request tools",
            "request tools.search.>",
            "request tools.*.*",
            "request search.tools",
            "request Tools.search",
            "request tools.>; deny tools.*",
            "publish tools.search",
            "publish >",
            "subscribe tools.search",
        ],
    ),
    (
        Call::Subscribe("in.a.*"),
        "subscribe in.*.*",
        &[
            "",
            "subscribe in.a.b; subscribe in.a.c",
            "subscribe in.a",
            "subscribe in.*",
            "subscribe in.*.*.*",
            "subscribe in.*.b",
            "subscribe in.b.*",
            "subscribe IN.a.*",
            "subscribe in.a.*; deny in.>",
            "subscribe in.a.*; deny in.a.*",
            "publish in.>",
            "request in.>",
        ],
    ),
    (
        Call::SubscribeIn("in.a", "workers"),
        "subscribe in.a",
        &[
            "",
            "subscribe in.workers",
            "subscribe workers",
            "subscribe in",
            "subscribe in.a.workers",
            "subscribe in.a; deny in.a",
        ],
    ),
    (
        Call::Get("CACHE", "probe.a"),
        "kv CACHE probe.* read",
        &[
            "",
            "kv CACHE probe read",
            "kv CACHE probe.a.> read",
            "kv CACHE *.b read",
            "kv CACHE a.probe read",
            "kv CACHE Probe.* read",
            "kv cache probe.* read",
            "kv CACHE2 probe.* read",
            "kv KV_CACHE probe.* read",
            "kv CACHE probe.* write",
            "publish $KV.CACHE.>; subscribe $KV.CACHE.>; request >",
        ],
    ),
    (
        Call::Put("CACHE", "probe.a"),
        "kv CACHE probe.> write",
        &[
            "",
            "kv CACHE probe.> read",
            "kv CACHE probe write",
            "kv OTHER > write",
        ],
    ),
    (
        Call::Create("CACHE", "probe.a"),
        "kv CACHE *.a write",
        &[
            "",
            "kv CACHE > read",
            "kv CACHE *.a.* write",
            "publish $KV.CACHE.probe.a",
        ],
    ),
    (
        Call::Update("CACHE", "probe.a"),
        "kv CACHE {plugin}.a write",
        &[
            "",
            "kv CACHE > read",
            "kv CACHE {agent}.a write",
            "kv CACHE_ > write",
        ],
    ),
    (
        Call::Delete("CACHE", "probe.a"),
        "kv CACHE > read-write",
        &["", "kv CACHE > read", "kv CACHE probe.b write", "publish >"],
    ),
    (
        Call::Keys("CACHE", "probe.*"),
        "kv CACHE probe.> read",
        &[
            "",
            "kv CACHE probe.> write",
            "kv CACHE probe.a read; kv CACHE probe.b read",
            "kv CACHE probe.*.* read",
            "kv CACHE *.a read",
            "kv OTHER probe.> read",
        ],
    ),
    (
        Call::Scatter,
        "publish scatter.*.task",
        &[
            "",
            "publish scatter.task",
            "publish scatter.*",
            "publish scatter.*.task.>",
            "publish scatter.one.task",
            "publish Scatter.*.task",
            "publish scatter.*.task; deny scatter.>",
            "request scatter.*.task",
            "subscribe scatter.*.task",
        ],
    ),
    (
        Call::StartPipeline("extract", "w1"),
        "publish pipeline.w1.01.extract",
        &[
            "",
            "publish pipeline.w1.02.extract",
            "publish pipeline.w1.1.extract",
            "publish pipeline.w2.01.extract",
            "publish pipeline.w1.01",
            "publish pipeline.w1.01.extract.>",
            "publish pipeline.*.01.Extract",
            "publish pipeline.>; deny pipeline.w1.>",
            "request pipeline.>",
        ],
    ),
    (
        Call::StartNewPipeline("extract"),
        "publish pipeline.*.01.extract",
        &[
            "",
            "publish pipeline.w1.01.extract",
            "publish pipeline.01.extract",
            "publish pipeline.*.02.extract",
            "publish pipeline.*.01.*; deny pipeline.*.*.extract",
        ],
    ),
    (
        Call::Signal("w1", "go"),
        "publish coord.w1.*",
        &[
            "",
            "publish coord.w2.*",
            "publish coord.w1",
            "publish coord.*.stop",
            "publish coord.w1.go.>",
            "publish coord.w1.*; deny coord.*.go",
            "subscribe coord.w1.go",
        ],
    ),
    (
        Call::AwaitEvent("w1", "go"),
        "subscribe coord.*.go",
        &[
            "",
            "subscribe coord.w1.stop",
            "subscribe coord.w1",
            "publish coord.w1.go",
        ],
    ),
    (
        Call::Watch("w1"),
        "subscribe coord.w1.*",
        &[
            "",
            "subscribe coord.w1.go",
            "subscribe coord.w1",
            "subscribe coord.w2.*",
            "subscribe coord.w1.>; deny coord.w1.*",
            "publish coord.w1.*",
        ],
    ),
    (
        Call::Circuit("nlp"),
        "kv CIRCUITS nlp read",
        &[
            "",
            "kv CIRCUITS nlp.* read",
            "kv CIRCUITS NLP read",
            "kv CIRCUITS nlp write",
            "kv CIRCUIT nlp read",
            "subscribe circuit.nlp.*",
        ],
    ),
];

pub(super) async fn attempts() -> Attempts {
    let mut attempts = Attempts::default();
    for (call, right, wrong) in ROWS {
        attempts.allowed(right, *call).await;
        for grants in *wrong {
            attempts.denied(grants, *call).await;
        }
    }
    attempts
}
