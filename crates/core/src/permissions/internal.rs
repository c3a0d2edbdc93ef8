//! The buckets of the host's own state.

use super::Access;

/// Why a plugin can never use this bucket so, whatever it is granted; nothing when a grant decides.
pub fn internal_bucket(bucket: &str, access: Access) -> Option<&'static str> {
    match (bucket, access) {
        ("AGENT_LEASES" | "AGENT_CLAIMS" | "AGENT_CONFIG" | "PIPELINES", _) => {
            Some("the host keeps its leases, claims and overrides there")
        }
        ("ATTEMPTS", _) => Some("the host counts there how often work was begun"),
        ("IDEMPOTENCE", _) => Some("the host keeps the results of requests there"),
        ("AGENT_STATE" | "CIRCUITS", Access::Write) => Some("the host alone writes there"),
        _ => None,
    }
}
