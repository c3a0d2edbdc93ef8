//! Names that no grant opens, tried with everything granted.

use super::Attempts;
use super::call::Call;

/// Everything that a manifest can say.
const EVERYTHING: &str = "publish >; request >; subscribe >; publish *.>; subscribe *.>; \
     kv AGENT_LEASES > read-write; kv AGENT_CLAIMS > read-write; kv AGENT_CONFIG > read-write; \
     kv PIPELINES > read-write; kv ATTEMPTS > read-write; kv IDEMPOTENCE > read-write; \
     kv AGENT_STATE > read-write; kv CIRCUITS > read-write";

/// Neither published on nor asked.
const SPOKEN_BY_HOSTS: &[&str] = &[
    "agent.probe-001.created",
    "agent.probe-001.started",
    "agent.probe-001.ready",
    "agent.probe-001.stopped",
    "agent.probe-001.error",
    "agent.probe-001.heartbeat",
    "agent.probe-002.ready",
    "agent.probe-001.resp.r1",
    "agent.probe-001.resp",
    "agent.other-001.resp.r1",
    "agent.probe-001.cmd",
    "agent.probe-001.cmd.pause",
    "agent.probe-001.cmd.resume",
    "agent.other-001.cmd.shutdown",
    "agent.other-001.cmd.config",
    "agent.all.cmd.status",
    "agent.all.cmd.shutdown",
    "agent.other.cmd.shutdown",
    "agent.other-001.cmd.Execute",
    "agent.other-001.cmd.execute.now",
    "dlq.work.nlp.x",
    "dlq.x",
    "dlq",
    "audit.refused",
    "audit.command",
    "election.nlp.leader",
    "election.nlp.vote",
    "election.nlp.vote.resp.probe-001",
    "gather.r1.result",
    "gather.r1.complete",
    "health.check.probe-001",
    "health.check.all",
    "circuit.db.open",
    "metrics.system.connections.revivals",
    "metrics.agent.other-001.mine",
    "metrics.agent.probe-002.mine",
    "metrics.agent.probe-001.cpu_usage",
    "metrics.agent.probe-001.messages_in",
    "broadcast.emergency",
    "broadcast.emergency.shutdown",
    "$JS.API.INFO",
    "$JS.API.STREAM.PURGE.WORK_QUEUE",
    "$JS.API.STREAM.DELETE.KV_AGENT_CLAIMS",
    "$JS.API.STREAM.MSG.GET.KV_AGENT_CLAIMS",
    "$JS.API.DIRECT.GET.KV_AGENT_STATE",
    "$JS.API.CONSUMER.CREATE.WORK_QUEUE",
    "$JS.API.CONSUMER.MSG.NEXT.WORK_QUEUE.nlp",
    "$JS.ACK.WORK_QUEUE.nlp.1.1.1.1.0",
    "$JS.FC.x",
    "$KV.AGENT_CLAIMS.probe-001",
    "$KV.CACHE.probe.a",
    "$O.PAYLOADS.C.x",
    "$SRV.PING",
    "$SRV.STATS.echo",
    "$SYS.REQ.SERVER.PING",
    "$SYS.ACCOUNT.A.CONNECT",
    "$G.x",
    "_INBOX.a",
    "_INBOX.a.b",
    "_INBOX_host.x",
    "_R_.x",
    "_GR_.x",
    "_",
];

/// Not asked: a stream would answer.
const STORED: &[&str] = &[
    "work.nlp.high.x",
    "work.nlp.x",
    "pipeline.w1.01.extract",
    "pipeline.w1.complete",
    "coord.w1.cancel",
    "scatter.r1.task",
];

/// Not heard.
const NOT_HEARD: &[&str] = &[
    ">",
    "*",
    "*.>",
    "*.*",
    "*.nlp.>",
    "work.>",
    "work.*",
    "work.nlp.high.x",
    "pipeline.>",
    "pipeline.*.01.extract",
    "$JS.>",
    "$JS.API.>",
    "$JS.EVENT.ADVISORY.>",
    "$KV.>",
    "$KV.AGENT_CLAIMS.>",
    "$O.>",
    "$SRV.>",
    "$SYS.>",
    "_INBOX.>",
    "_INBOX.*.*",
    "_R_.>",
    "_GR_.>",
];

/// Not heard in a queue group: broadcasts, and what a stream stores.
const NOT_SHARED: &[&str] = &[
    "broadcast.>",
    "broadcast.*.x",
    "broadcast.global.x",
    "agent.>",
    "agent.*.ready",
    "coord.*.go",
    "scatter.*.task",
    "gather.>",
    "dlq.>",
    "audit.>",
];

/// Buckets of the host's own state: neither read nor written.
const CLOSED: &[&str] = &[
    "AGENT_LEASES",
    "AGENT_CLAIMS",
    "AGENT_CONFIG",
    "PIPELINES",
    "ATTEMPTS",
    "IDEMPOTENCE",
];

/// Buckets that only the host writes.
const READ_ONLY: &[&str] = &["AGENT_STATE", "CIRCUITS"];

pub(super) async fn attempts() -> Attempts {
    let mut attempts = Attempts::default();
    on_subjects(&mut attempts).await;
    on_buckets(&mut attempts).await;
    attempts
}

async fn on_subjects(attempts: &mut Attempts) {
    for free in [
        "free.a",
        "metrics.agent.probe-001.mine",
        "agent.x-001.cmd.execute",
    ] {
        attempts.allowed(EVERYTHING, Call::Publish(free)).await;
        attempts.allowed(EVERYTHING, Call::Request(free)).await;
        attempts.allowed(EVERYTHING, Call::Subscribe(free)).await;
    }
    for subject in SPOKEN_BY_HOSTS {
        attempts.denied(EVERYTHING, Call::Publish(subject)).await;
        let stored = Call::PublishStored(subject);
        attempts.denied(EVERYTHING, stored).await;
        attempts.denied(EVERYTHING, Call::Request(subject)).await;
        // Not by a grant that names it exactly, either.
        let exact = format!("publish {subject}; request {subject}");
        attempts.denied(&exact, Call::Publish(subject)).await;
    }
    for subject in STORED {
        attempts.allowed(EVERYTHING, Call::Publish(subject)).await;
        attempts.denied(EVERYTHING, Call::Request(subject)).await;
    }
    for pattern in NOT_HEARD {
        attempts.denied(EVERYTHING, Call::Subscribe(pattern)).await;
        let shared = Call::SubscribeIn(pattern, "q");
        attempts.denied(EVERYTHING, shared).await;
    }
    for pattern in NOT_SHARED {
        attempts.allowed(EVERYTHING, Call::Subscribe(pattern)).await;
        let shared = Call::SubscribeIn(pattern, "q");
        attempts.denied(EVERYTHING, shared).await;
    }
}

async fn on_buckets(attempts: &mut Attempts) {
    let writes = |bucket| {
        [
            Call::Put(bucket, "a.b"),
            Call::Create(bucket, "a.b"),
            Call::Update(bucket, "a.b"),
            Call::Delete(bucket, "a.b"),
        ]
    };
    for bucket in CLOSED {
        attempts.denied(EVERYTHING, Call::Get(bucket, "a.b")).await;
        attempts.denied(EVERYTHING, Call::Keys(bucket, ">")).await;
        for write in writes(bucket) {
            attempts.denied(EVERYTHING, write).await;
        }
    }
    for bucket in READ_ONLY {
        attempts.allowed(EVERYTHING, Call::Get(bucket, "a.b")).await;
        attempts.allowed(EVERYTHING, Call::Keys(bucket, ">")).await;
        for write in writes(bucket) {
            attempts.denied(EVERYTHING, write).await;
        }
    }
}
