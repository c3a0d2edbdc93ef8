//! The contract's list of what no plugin can be granted.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use proptest::prelude::*;

use super::*;

fn own() -> AgentId {
    "nlp-001".parse().unwrap()
}

/// What the contract lists, as literal subjects.
const HOST_SPEAKS: [&str; 31] = [
    "agent.nlp-001.created",
    "agent.nlp-001.started",
    "agent.x-002.ready",
    "agent.nlp-001.stopped",
    "agent.nlp-001.error",
    "agent.nlp-001.heartbeat",
    "agent.nlp-001.cmd.pause",
    "agent.nlp-001.cmd.resume",
    "agent.nlp-001.cmd.shutdown",
    "agent.all.cmd.config",
    "agent.nlp.cmd.status",
    "agent.nlp-001.cmd.execute.more",
    "agent.nlp-001.resp.r1",
    "dlq.work.nlp.test",
    "metrics.system.work_queue.depth",
    "metrics.agent.x-002.mine",
    "metrics.agent.nlp-001.cpu_usage",
    "election.nlp.vote",
    "election.nlp.vote.resp.nlp-001",
    "election.nlp.leader",
    "gather.r1.result",
    "gather.r1.complete",
    "health.check.nlp-001",
    "circuit.db.open",
    "audit.refused",
    "broadcast.emergency.shutdown",
    "$JS.API.STREAM.PURGE.WORK_QUEUE",
    "$KV.AGENT_CLAIMS.x",
    "_INBOX.a.b",
    "_R_.x",
    "_GR_.x",
];

const FREE: [&str; 16] = [
    "orders.paid",
    "agents.tasks",
    "agent.x-002.cmd.execute",
    "agent.all.cmd.execute",
    "agent.nlp-001.progress",
    "agent.nlp-001.ready.more",
    "metrics.agent.nlp-001.mine",
    "metrics.business.sales",
    "work.nlp.high.test",
    "work.nlp.test",
    "pipeline.w1.01.analyze",
    "coord.w1.cancel",
    "scatter.r1.task",
    "broadcast.global.hello",
    "broadcast.domain.nlp.x",
    "results.nlp.a",
];

#[test]
fn the_list_of_the_contract() {
    for subject in HOST_SPEAKS {
        assert!(publish(subject, Own::Agent(&own())).is_some(), "{subject}");
        assert!(request(subject, Own::Agent(&own())).is_some(), "{subject}");
    }
    for subject in FREE {
        assert_eq!(publish(subject, Own::Agent(&own())), None, "{subject}");
    }
}

#[test]
fn a_request_on_what_a_stream_captures_is_useless() {
    for subject in [
        "work.nlp.test",
        "coord.w1.x",
        "pipeline.w.01.a",
        "scatter.r1.task",
        "work.>",
    ] {
        assert_eq!(
            request(subject, Own::Agent(&own())),
            Some(STORED),
            "{subject}"
        );
    }
    for subject in [
        "tools.search",
        "agent.x-002.cmd.execute",
        "broadcast.global.x",
        ">",
    ] {
        assert_eq!(request(subject, Own::Agent(&own())), None, "{subject}");
    }
}

#[test]
fn grants_that_lie_wholly_within_reserved_space() {
    for pattern in [
        "agent.*.ready",
        "agent.*.cmd.pause",
        "agent.*.cmd.pause.>",
        "agent.*.resp.>",
        "dlq.>",
        "audit.*",
        "metrics.system.>",
        "metrics.agent.*.cpu_usage",
        "metrics.agent.other-001.>",
        "broadcast.emergency.>",
        "election.*.leader",
        "$JS.>",
        "_INBOX.>",
        "health.check.*",
    ] {
        assert!(publish(pattern, Own::Plugin("nlp")).is_some(), "{pattern}");
    }
    for pattern in [
        ">",
        "*.x",
        "agent.>",
        "agent.*.*",
        "agent.*.cmd.*",
        "agent.*.cmd.>",
        "agent.*.cmd.execute",
        "metrics.>",
        "metrics.agent.*.*",
        "metrics.agent.nlp-002.mine",
        "metrics.agent.>",
        "broadcast.>",
        "broadcast.*.x",
    ] {
        assert_eq!(publish(pattern, Own::Plugin("nlp")), None, "{pattern}");
    }
}

#[test]
fn subscriptions() {
    for pattern in [
        "work.>",
        "work.nlp.high.x",
        "pipeline.>",
        "pipeline.w.01.a",
        "$JS.>",
        "$SYS.>",
        "$KV.>",
        "_INBOX.>",
        "_R_.>",
        ">",
        "*",
        "*.x",
        "*.>",
    ] {
        assert!(subscribe(pattern).is_some(), "{pattern}");
    }
    for pattern in [
        "agent.*.ready",
        "broadcast.emergency.*",
        "coord.>",
        "audit.>",
        "dlq.>",
        "metrics.>",
        "workers.>",
        "a.work.b",
    ] {
        assert_eq!(subscribe(pattern), None, "{pattern}");
    }
    for wide in [">", "*.x"] {
        assert_eq!(subscribe_grant(wide), None, "{wide}");
    }
}

#[test]
fn queue_groups() {
    for pattern in [
        "broadcast.>",
        "broadcast.domain.nlp.*",
        "broadcast.*",
        "agent.*.ready",
        "agent.>",
        "coord.>",
        "gather.x.result",
        "audit.>",
    ] {
        assert!(queue(pattern).is_some(), "{pattern}");
    }
    for pattern in [
        "tools.echo",
        "agent.x-001.cmd.execute",
        "agent.*.heartbeat",
        "health.check.>",
    ] {
        assert_eq!(queue(pattern), None, "{pattern}");
    }
}

/// After nats-server's `TestResponsePermissions`: answering needs no grant, but only where answers
/// are due.
#[test]
fn answers() {
    for heard in ["tools.echo", "broadcast.global.who", "agent.x-001.progress"] {
        assert!(may_answer(heard), "{heard}");
    }
    for heard in [
        "agent.x-001.cmd.execute",
        "agent.x-001.cmd.status",
        "health.check.x-001",
        "election.nlp.vote",
        "coord.w.ready",
        "scatter.r1.task",
        "agent.x-001.ready",
    ] {
        assert!(!may_answer(heard), "{heard}");
    }
}

/// After nats-server's `TestUserAuthorizationAllowResponses`: a reply subject is chosen by a
/// stranger.
#[test]
fn reply_subjects() {
    for reply in [
        "_INBOX.abc.1",
        "_R_.x.y",
        "_GR_.a.b",
        "_INBOX_host.a",
        "my.inbox.1",
    ] {
        assert!(may_reply_to(reply), "{reply}");
    }
    for reply in [
        "$JS.API.STREAM.PURGE.WORK_QUEUE",
        "$KV.AGENT_CLAIMS.x",
        "work.nlp.x",
        "agent.x-001.cmd.shutdown",
        "agent.x-001.cmd.execute",
        "audit.forged",
        "dlq.x",
        "broadcast.emergency.shutdown",
        "",
        "a b",
        "a.*",
        "x\r\nPUB",
    ] {
        assert!(!may_reply_to(reply), "{reply:?}");
    }
}

fn pattern() -> impl Strategy<Value = String> {
    let token = prop::sample::select(vec![
        "agent",
        "metrics",
        "system",
        "broadcast",
        "emergency",
        "global",
        "dlq",
        "health",
        "work",
        "coord",
        "cmd",
        "execute",
        "pause",
        "ready",
        "resp",
        "nlp-001",
        "x-001",
        "cpu_usage",
        "mine",
        "*",
        ">",
        "$JS",
        "_INBOX",
    ]);
    prop::collection::vec(token, 1..5)
        .prop_map(|tokens| tokens.join("."))
        .prop_filter("a pattern", |p| subject::check_pattern(p).is_ok())
}

proptest! {
    /// A grant is called wholly reserved only if no subject under it could ever be used, and the
    /// other way round a free literal is never refused: the two uses of one function agree.
    #[test]
    fn patterns_and_subjects_agree(wide in pattern(), narrow in pattern()) {
        if subject::covers(&wide, &narrow) {
            if publish(&wide, Own::Plugin("nlp")).is_some() {
                prop_assert!(publish(&narrow, Own::Plugin("nlp")).is_some(), "{} {}", wide, narrow);
            }
            if request(&wide, Own::Plugin("nlp")).is_some() {
                prop_assert!(request(&narrow, Own::Plugin("nlp")).is_some(), "{} {}", wide, narrow);
            }
            if subscribe(&wide).is_none() {
                prop_assert!(subscribe(&narrow).is_none(), "{} {}", wide, narrow);
            }
        }
    }
}
