//! The headers that only hosts set.
//!
//! This is the only list. Code that writes a header takes its name from here, plugins are refused
//! what stands here, and the reference of headers is compared with it: a header that is written and
//! not listed would be one that a plugin can forge.

/// The sending agent.
pub const AGENT_ID: &str = "X-Agent-ID";
/// The request that a message belongs to.
pub const REQUEST_ID: &str = "X-Request-ID";
/// The trace that a message belongs to.
pub const TRACE_ID: &str = "X-Trace-ID";
/// The span that sent it.
pub const SPAN_ID: &str = "X-Span-ID";
/// How urgent the work is that a message belongs to.
pub const PRIORITY: &str = "X-Priority";
/// How many milliseconds the sender still waits, counted from the arrival.
pub const TIMEOUT: &str = "X-Timeout-Ms";
/// How often a message was begun before.
pub const RETRY_COUNT: &str = "X-Retry-Count";
/// The stage whose output an input is.
pub const STAGE: &str = "X-Stage";
/// What is special about an input: `deadline`, `joined` or `incomplete` at a joining stage,
/// `failed` at any.
pub const JOIN: &str = "X-Join";
/// The name of the object that holds the payload.
pub const CLAIM: &str = "X-Claim";
/// Its size in bytes, for people; a host uses the size of the object.
pub const CLAIM_SIZE: &str = "X-Claim-Size";
/// Marks one conditional write into a bucket.
pub const WRITE_ID: &str = "X-Write-ID";
/// Of a dead letter: the subject of the original message.
pub const DLQ_SUBJECT: &str = "X-DLQ-Subject";
/// Of a dead letter: the stream that held it.
pub const DLQ_STREAM: &str = "X-DLQ-Stream";
/// Of a dead letter: its sequence in that stream.
pub const DLQ_SEQUENCE: &str = "X-DLQ-Sequence";
/// Of a dead letter: how often it was delivered.
pub const DLQ_DELIVERIES: &str = "X-DLQ-Deliveries";
/// Of a dead letter: how often it was begun.
pub const DLQ_ATTEMPTS: &str = "X-DLQ-Attempts";
/// Of a dead letter: the newest of these attempts, oldest first, as JSON:
/// `[{at, agent_id, delivery, kind, error}, …]`.
pub const DLQ_ATTEMPT_LOG: &str = "X-DLQ-Attempt-Log";
/// Of a dead letter: why it was given up, a word.
pub const DLQ_KIND: &str = "X-DLQ-Error-Kind";
/// Of a dead letter: why it was given up, a sentence.
pub const DLQ_ERROR: &str = "X-DLQ-Error";
/// Of a dead letter: the agent that tried it last; absent when none was woken.
pub const DLQ_AGENT: &str = "X-DLQ-Agent-ID";
/// Of a dead letter: when it was given up.
pub const DLQ_AT: &str = "X-DLQ-At";
/// W3C's form of trace and span.
pub const TRACEPARENT: &str = "traceparent";
/// What other tracing systems add to it.
pub const TRACESTATE: &str = "tracestate";

/// All of them.
pub const OF_HOSTS: [&str; 24] = [
    AGENT_ID,
    REQUEST_ID,
    TRACE_ID,
    SPAN_ID,
    PRIORITY,
    TIMEOUT,
    RETRY_COUNT,
    STAGE,
    JOIN,
    CLAIM,
    CLAIM_SIZE,
    WRITE_ID,
    DLQ_SUBJECT,
    DLQ_STREAM,
    DLQ_SEQUENCE,
    DLQ_DELIVERIES,
    DLQ_ATTEMPTS,
    DLQ_ATTEMPT_LOG,
    DLQ_KIND,
    DLQ_ERROR,
    DLQ_AGENT,
    DLQ_AT,
    TRACEPARENT,
    TRACESTATE,
];

/// Whether two names are one for some reader: case does not count, and `_` counts as `-`.
pub fn same(one: &str, other: &str) -> bool {
    let fold = |b: u8| {
        if b == b'_' {
            b'-'
        } else {
            b.to_ascii_lowercase()
        }
    };
    one.len() == other.len() && one.bytes().map(fold).eq(other.bytes().map(fold))
}

/// Whether a header is one that only hosts set.
pub fn is_of_hosts(name: &str) -> bool {
    OF_HOSTS.iter().any(|host| same(name, host))
}
