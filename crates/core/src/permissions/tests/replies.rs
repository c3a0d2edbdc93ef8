//! Reply subjects that a stranger chose, and subjects on which a plugin may be given a message.

use crate::permissions::reserved::{CAPTURED, may_answer, may_reply_to};

use super::*;

/// Reply subjects with which a sender would have the host publish in its place.
const ELSEWHERE: &[&str] = &[
    "$JS.API.STREAM.PURGE.WORK_QUEUE",
    "$JS.API.STREAM.DELETE.KV_AGENT_CLAIMS",
    "$JS.API.STREAM.CREATE.X",
    "$JS.API.CONSUMER.DELETE.WORK_QUEUE.nlp",
    "$JS.ACK.WORK_QUEUE.nlp.1.1.1.1.0",
    "$KV.AGENT_CLAIMS.durable.x",
    "$KV.AGENT_LEASES.host",
    "$KV.CACHE.a",
    "$O.PAYLOADS.M.x",
    "$SRV.PING",
    "$SYS.REQ.SERVER.PING",
    "$",
    "work.nlp.high.x",
    "work.x",
    "pipeline.w1.02.sum",
    "pipeline.w1.complete",
    "coord.w1.cancel",
    "scatter.r1.task",
    "gather.r1.result",
    "dlq.work.x",
    "audit.command",
    "agent.x-001.created",
    "agent.x-001.ready",
    "agent.x-001.heartbeat",
    "agent.x-001.resp.r1",
    "agent.x-001.cmd.execute",
    "agent.x-001.cmd.shutdown",
    "agent.all.cmd.shutdown",
    "election.nlp.leader",
    "circuit.db.open",
    "health.check.x-001",
    "metrics.system.x",
    "metrics.agent.x-001.cpu_usage",
    "broadcast.emergency.shutdown",
    "",
    ".",
    "a.",
    ".a",
    "_INBOX..a",
    "_INBOX.a.",
    "_INBOX.>",
    "_INBOX.*",
    "_INBOX.a b",
    "_INBOX.a\r\nPUB x 0",
    "_INBOX.a\0",
    "_INBOX.a\u{a0}",
    ">",
    "*",
    "a.*",
];

#[test]
fn no_reply_subject_makes_the_host_a_deputy() {
    for reply in ELSEWHERE {
        assert!(!may_reply_to(reply), "{reply:?}");
    }
    let long = format!("_INBOX.{}", "a".repeat(256));
    assert!(!may_reply_to(&long));
    for captured in CAPTURED {
        let literal = captured.replace(['*', '>'], "x");
        assert!(!may_reply_to(&literal), "{literal}");
        assert!(!may_answer(&literal), "{literal}");
    }
    for reply in [
        "_INBOX.a",
        "_INBOX_host.a.b",
        "_R_.x",
        "answers.to.me",
        "agent.x-001.note",
    ] {
        assert!(may_reply_to(reply), "{reply}");
    }
}

/// A subscription of another plugin's, or a wide one of the manifest, must not bring these.
#[test]
fn nothing_reserved_or_denied_is_handed_over() {
    let agent = narrow(&[">"], &["private.>", "*.secret", "in.{agent}.x"]);
    for subject in [
        "work.nlp.high.x",
        "work.x",
        "pipeline.w1.01.a",
        "$JS.EVENT.ADVISORY.x",
        "$KV.AGENT_CLAIMS.x",
        "$SYS.x",
        "$",
        "_INBOX.a.b",
        "_R_.x",
        "_",
        "private.a",
        "private.a.b",
        "x.secret",
        "in.a-001.x",
        "",
        "a..b",
        "a.",
        "a b",
        "a.\u{2028}",
        "a.*",
        "a.>",
    ] {
        assert!(!agent.may_receive(subject), "{subject:?}");
    }
    for subject in [
        "private",
        "secret",
        "x.y.secret",
        "in.a-002.x",
        "Work.x",
        "workers.x",
    ] {
        assert!(agent.may_receive(subject), "{subject}");
    }
}
