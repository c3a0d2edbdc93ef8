//! Arguments that are no name, tried with everything granted: they must be refused before a grant
//! is looked at, and before a client library or a server reads them.

use super::Attempts;
use super::call::Call;

const EVERYTHING: &str = "publish >; request >; subscribe >; kv CACHE > read-write";

/// Neither subjects nor patterns.
const NO_SUBJECTS: &[&str] = &[
    "",
    ".",
    "..",
    "a.",
    ".a",
    "a..b",
    "a.b..",
    " ",
    " a",
    "a ",
    "a b",
    "a.b c",
    "a\tb",
    "a\nb",
    "a\rb",
    "a\r\nPUB $JS.API.STREAM.PURGE.WORK_QUEUE 0\r\n",
    "a 0\r\n\r\nPUB b 0",
    "a reply.to 5",
    "a\0",
    "\0",
    "a\u{1}b",
    "a\u{7f}b",
    "a\u{1b}[2Jb",
    "a\u{85}b",
    "a\u{a0}b",
    "a\u{2003}b",
    "a\u{2028}b",
    "a\u{3000}b",
    "a.>.b",
    ">.a",
    ">.>",
];

/// Patterns, and so no subjects.
const PATTERNS: &[&str] = &["*", ">", "a.*", "a.>", "*.a", "a.*.b"];

/// No keys; the last ones are patterns of keys.
const NO_KEYS: &[&str] = &[
    "",
    ".",
    "a.",
    ".a",
    "a..b",
    "a b",
    "a\r\nPUB b 0",
    "a\0",
    "a:b",
    "a\\b",
    "a$b",
    "$KV",
    "\u{e9}",
    "a.>.b",
    "a>",
    "a*",
];

/// No buckets, among them those that would name another stream or subject.
const NO_BUCKETS: &[&str] = &[
    "",
    ".",
    "CACHE.",
    "CACHE.AGENT_CLAIMS",
    "$KV.CACHE",
    "*",
    ">",
    "CACHE ",
    " CACHE",
    "CACHE/../AGENT_CLAIMS",
    "CACHE\r\n",
    "CACHE\0",
    "C\u{c4}CHE",
];

/// No tokens: workflows, events and stages that would reach another subject.
const NO_TOKENS: &[&str] = &[
    "",
    ".",
    "a.b",
    "w1.01.extract",
    "*",
    ">",
    "a*",
    "a b",
    "a\r\n",
    "a\0",
    "a/b",
    "$JS",
    "\u{e9}",
    "a:b",
];

/// No queue groups.
const NO_QUEUES: &[&str] = &[
    "",
    " ",
    "a b",
    "a\r\n",
    "a\t",
    "a\0",
    "q\u{a0}",
    "q\u{2028}",
];

pub(super) async fn attempts() -> Attempts {
    let mut attempts = Attempts::default();
    subjects(&mut attempts).await;
    buckets(&mut attempts).await;
    tokens(&mut attempts).await;
    attempts
}

async fn subjects(attempts: &mut Attempts) {
    let (most, long) = ("a".repeat(255), "a".repeat(256));
    let (deep, huge) = ("a.".repeat(128), format!("a{}", ".a".repeat(50_000)));
    attempts.allowed(EVERYTHING, Call::Publish(&most)).await;
    let none = NO_SUBJECTS.iter().copied();
    for subject in none.clone().chain([long.as_str(), &deep, &huge]) {
        attempts.invalid(EVERYTHING, Call::Publish(subject)).await;
        let stored = Call::PublishStored(subject);
        attempts.invalid(EVERYTHING, stored).await;
        attempts.invalid(EVERYTHING, Call::Request(subject)).await;
        attempts.invalid(EVERYTHING, Call::Subscribe(subject)).await;
        let shared = Call::SubscribeIn(subject, "q");
        attempts.invalid(EVERYTHING, shared).await;
    }
    for subject in PATTERNS {
        attempts.invalid(EVERYTHING, Call::Publish(subject)).await;
        let stored = Call::PublishStored(subject);
        attempts.invalid(EVERYTHING, stored).await;
        attempts.invalid(EVERYTHING, Call::Request(subject)).await;
    }
    let many = "q".repeat(129);
    for queue in NO_QUEUES.iter().copied().chain([many.as_str()]) {
        let shared = Call::SubscribeIn("in.a", queue);
        attempts.invalid(EVERYTHING, shared).await;
    }
}

async fn buckets(attempts: &mut Attempts) {
    let long = "a".repeat(201);
    let wild = [(">", true), ("*", true), ("a.*", true), ("a.>", true)];
    let none = NO_KEYS.iter().map(|key| (*key, false));
    for (key, pattern) in none.chain([(long.as_str(), false)]).chain(wild) {
        attempts.invalid(EVERYTHING, Call::Get("CACHE", key)).await;
        attempts.invalid(EVERYTHING, Call::Put("CACHE", key)).await;
        attempts
            .invalid(EVERYTHING, Call::Create("CACHE", key))
            .await;
        attempts
            .invalid(EVERYTHING, Call::Update("CACHE", key))
            .await;
        attempts
            .invalid(EVERYTHING, Call::Delete("CACHE", key))
            .await;
        let keys = Call::Keys("CACHE", key);
        match pattern {
            true => attempts.allowed(EVERYTHING, keys).await,
            false => attempts.invalid(EVERYTHING, keys).await,
        }
    }
    let long = "B".repeat(64);
    for bucket in NO_BUCKETS.iter().copied().chain([long.as_str()]) {
        attempts.invalid(EVERYTHING, Call::Get(bucket, "a")).await;
        attempts.invalid(EVERYTHING, Call::Put(bucket, "a")).await;
        attempts.invalid(EVERYTHING, Call::Keys(bucket, ">")).await;
    }
}

async fn tokens(attempts: &mut Attempts) {
    let long = "a".repeat(97);
    for token in NO_TOKENS.iter().copied().chain([long.as_str()]) {
        for call in [
            Call::StartPipeline(token, "w1"),
            Call::StartPipeline("extract", token),
            Call::StartNewPipeline(token),
            Call::PipelineResult(token),
            Call::Signal(token, "go"),
            Call::Signal("w1", token),
            Call::AwaitEvent(token, "go"),
            Call::AwaitEvent("w1", token),
            Call::Watch(token),
        ] {
            attempts.invalid(EVERYTHING, call).await;
        }
    }
    for service in ["", "a.", "a b", "*", ">", "a\r\n"] {
        attempts.invalid(EVERYTHING, Call::Circuit(service)).await;
    }
}
