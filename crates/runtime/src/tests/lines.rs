//! What agents print and log, as it stands in the host's log.

use std::io::Write;

use parking_lot::Mutex;
use tracing::subscriber::DefaultGuard;

use super::*;

/// The log of one test.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    /// Collects what this thread logs for as long as the guard lives.
    fn collect() -> (Self, DefaultGuard) {
        let log = Self::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .json()
            .with_writer(move || writer.clone())
            .finish();
        (log, tracing::subscriber::set_default(subscriber))
    }

    fn lines(&self) -> Vec<serde_json::Value> {
        let text = self.0.lock().clone();
        let lines = text.split(|b| *b == b'\n').filter(|line| !line.is_empty());
        let lines = lines.map(|line| serde_json::from_slice::<serde_json::Value>(line).unwrap());
        lines.filter(|line| line["target"] == "plugin").collect()
    }
}

fn built(log_rate: u32) -> Built {
    Fixture::new()
        .with(|fixture| fixture.limits.log_rate = log_rate)
        .build()
}

/// Does this so many times.
fn times(count: u32, body: &str) -> String {
    format!(
        "(local.set $kind (i32.const {count}))
         (loop {body} (br_if 0 (local.tee $kind (i32.sub (local.get $kind) (i32.const 1)))))"
    )
}

/// Writes a text to standard output so many times.
fn printing(count: u32, text: &str, length: u32) -> Module {
    let write = format!(
        "(call $write (local.get $c) (i32.const 4200) (i32.const {length}) (i32.const 4096))"
    );
    Module::when_asked(&format!(
        "(local.set $c (call $get-stdout)) {}",
        times(count, &write)
    ))
    .import("wasi:cli/stdout@0.2.6", "get-stdout", "(result i32)")
    .import(
        "wasi:io/streams@0.2.6",
        "[method]output-stream.write",
        "(param i32 i32 i32 i32)",
    )
    .item(&format!("(data (i32.const 4200) \"{text}\")"))
}

/// Logs "it\nhappened" as an error, with the field a="1 2".
fn logging(count: u32) -> Module {
    let log =
        "(call $log (i32.const 3) (i32.const 4200) (i32.const 11) (i32.const 4300) (i32.const 1))";
    Module::when_asked(&times(count, log))
        .import(
            "mistersmith:agent/log@0.1.0",
            "log",
            "(param i32 i32 i32 i32 i32)",
        )
        .item("(data (i32.const 4200) \"it\\0ahappeneda1 2\")")
        .item(
            "(data (i32.const 4300) \
               \"\\73\\10\\00\\00\\01\\00\\00\\00\\74\\10\\00\\00\\03\\00\\00\\00\")",
        )
}

#[tokio::test]
async fn a_logged_line_says_who_and_in_which_trace() {
    let (log, _guard) = Log::collect();
    let built = built(100);
    let mut agent = instance(&logging(1), &built).await;
    let trace = Trace::begin("req-1");
    let id = trace.trace_id();
    reply(agent.handle(&Call { trace, ..call("x") }).await);
    let [line] = &log.lines()[..] else {
        panic!("{:?}", log.lines())
    };
    assert_eq!(line["level"], "ERROR");
    let fields = &line["fields"];
    assert_eq!(fields["message"], "it happened");
    assert_eq!(
        (&fields["agent"], &fields["plugin"]),
        (&"probe-001".into(), &"probe".into())
    );
    assert_eq!(fields["trace_id"], id);
    assert_eq!(fields["fields"], "a=\"1 2\"");
}

#[tokio::test]
async fn printed_text_becomes_lines() {
    let (log, _guard) = Log::collect();
    let built = built(100);
    let mut agent = instance(
        &printing(1, "one\\0atwo\\1b[2J\\0d\\0a\\0athree", 19),
        &built,
    )
    .await;
    reply(agent.handle(&call("x")).await);
    let messages = |log: &Log| {
        log.lines()
            .iter()
            .map(|l| l["fields"]["message"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(messages(&log), ["one", "two[2J"]);
    drop(agent);
    assert_eq!(
        messages(&log),
        ["one", "two[2J", "three"],
        "the rest comes when the instance ends"
    );
    assert!(
        log.lines()
            .iter()
            .all(|line| line["fields"]["agent"] == "probe-001" && line["level"] == "INFO")
    );
}

#[tokio::test]
async fn a_line_without_an_end_is_cut() {
    let (log, _guard) = Log::collect();
    let built = built(100);
    let mut agent = instance(&printing(100_000, "x", 1), &built).await;
    reply(agent.handle(&call("x")).await);
    drop(agent);
    let [line] = &log.lines()[..] else {
        panic!("{:?}", log.lines().len())
    };
    assert_eq!(
        line["fields"]["message"].as_str().unwrap().chars().count(),
        mistersmith_core::limits::MAX_LOG_LINE + 1
    );
}

#[tokio::test]
async fn a_flood_of_lines_is_cut_to_its_rate() {
    for module in [printing(1000, "line\\0a", 5), logging(1000)] {
        let (log, _guard) = Log::collect();
        let built = built(10);
        let mut agent = instance(&module, &built).await;
        assert_eq!(
            reply(agent.handle(&call("x")).await).payload,
            "x",
            "writing too much is no failure"
        );
        drop(agent);
        let counts = built.counts();
        assert_eq!(counts.logged + counts.unlogged, 1000);
        assert!((10..200).contains(&counts.logged), "{counts:?}");
        let lines = log.lines();
        let notices: Vec<_> = lines
            .iter()
            .filter(|line| line["fields"]["dropped"].is_u64())
            .collect();
        assert!((1..10).contains(&notices.len()), "{notices:?}");
        assert_eq!(lines.len() - notices.len(), counts.logged as usize);
    }
}

#[tokio::test]
async fn rates_outlive_the_instance() {
    let (_log, _guard) = Log::collect();
    let built = built(10);
    for _ in 0..5 {
        let mut agent = instance(&logging(10), &built).await;
        reply(agent.handle(&call("x")).await);
    }
    assert!(built.counts().unlogged > 0, "{:?}", built.counts());
}
