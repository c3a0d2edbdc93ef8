//! The reserved subjects as patterns, for those who cannot ask the functions of `reserved`: a
//! nats-server.

/// Where no plugin may publish.
pub(crate) const HOST_ALONE: &[&str] = &[
    "$SYS.>",
    "$JS.>",
    "$KV.>",
    "$O.>",
    "$SRV.>",
    "_INBOX.>",
    "agent.*.created",
    "agent.*.started",
    "agent.*.ready",
    "agent.*.stopped",
    "agent.*.error",
    "agent.*.heartbeat",
    "agent.*.resp.>",
    "agent.*.cmd.pause",
    "agent.*.cmd.resume",
    "agent.*.cmd.shutdown",
    "agent.*.cmd.config",
    "agent.*.cmd.status",
    "dlq.>",
    "audit.>",
    "election.>",
    "gather.>",
    "health.>",
    "circuit.>",
    "metrics.system.>",
    "metrics.agent.*.cpu_usage",
    "metrics.agent.*.memory_usage",
    "metrics.agent.*.tasks_processed",
    "metrics.agent.*.tasks_failed",
    "metrics.agent.*.messages_in",
    "metrics.agent.*.messages_out",
    "broadcast.emergency.>",
];

/// The subjects that no plugin may subscribe to. Inboxes are closed too, but answers come there.
pub(crate) const NOT_HEARD: &[&str] = &[
    "$SYS.>",
    "$JS.>",
    "$KV.>",
    "$O.>",
    "$SRV.>",
    "work.>",
    "pipeline.>",
];

#[cfg(test)]
mod tests {
    use super::super::reserved::{self, HOST_METRICS, Own};
    use super::*;

    #[test]
    fn each_pattern_is_reserved() {
        let own = Own::Plugin("echo");
        for pattern in HOST_ALONE {
            assert!(reserved::publish(pattern, own).is_some(), "{pattern}");
        }
        for pattern in NOT_HEARD {
            assert!(reserved::subscribe_grant(pattern).is_some(), "{pattern}");
        }
        for metric in HOST_METRICS {
            let pattern = format!("metrics.agent.*.{metric}");
            assert!(HOST_ALONE.contains(&pattern.as_str()), "{pattern}");
        }
    }
}
