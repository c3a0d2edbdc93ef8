//! The pure decision which host may have an agent id.

use std::time::Duration;

use mistersmith_core::limits;

/// The next step for one number.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ClaimDecision {
    /// Unclaimed: create the claim.
    Create,
    /// Ours at this revision: write it again, to confirm that it still is.
    Retake(u64),
    /// Its holder is gone: take it over from this revision.
    TakeOver(u64),
    /// A living host holds it: try the next number.
    Skip,
}

/// The known state of a number's holder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Life {
    Lives,
    Gone,
    /// The bucket of the leases is younger than a lease.
    Unknown,
}

/// Whether a bucket of this age lists every living host: all have written to it since.
pub(super) fn is_old(age: Duration) -> bool {
    age > limits::LEASE_TERM
}

/// Decides about a number whose claim names this holder. A number that our agents use is kept if
/// its holder may be gone.
pub(super) fn decide(
    holder: Option<&str>,
    us: &str,
    life: Life,
    revision: u64,
    held: bool,
) -> ClaimDecision {
    match (holder, life) {
        (Some(holder), _) if holder == us => ClaimDecision::Retake(revision),
        (Some(_), Life::Lives) => ClaimDecision::Skip,
        (Some(_), Life::Unknown) if held => ClaimDecision::Retake(revision),
        (Some(_), Life::Unknown) => ClaimDecision::Skip,
        // No host recognises itself as the holder of an unreadable claim, so none renews it.
        _ => ClaimDecision::TakeOver(revision),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_have_a_number() {
        use Life::{Gone, Lives, Unknown};
        let cases = [
            (Some("us"), Gone, false, ClaimDecision::Retake(7)),
            (Some("us"), Lives, false, ClaimDecision::Retake(7)),
            (Some("them"), Lives, false, ClaimDecision::Skip),
            (Some("them"), Unknown, false, ClaimDecision::Skip),
            (Some("them"), Gone, false, ClaimDecision::TakeOver(7)),
            (None, Gone, false, ClaimDecision::TakeOver(7)),
            // Our agents keep their id as long as no living host is known to hold it.
            (Some("us"), Gone, true, ClaimDecision::Retake(7)),
            (Some("them"), Lives, true, ClaimDecision::Skip),
            (Some("them"), Unknown, true, ClaimDecision::Retake(7)),
            (Some("them"), Gone, true, ClaimDecision::TakeOver(7)),
        ];
        for (holder, life, held, expected) in cases {
            assert_eq!(
                decide(holder, "us", life, 7, held),
                expected,
                "{holder:?} {life:?} {held}"
            );
        }
    }

    #[test]
    fn a_bucket_knows_who_lives_once_it_is_older_than_a_term() {
        assert!(!is_old(limits::LEASE_TERM));
        assert!(is_old(limits::LEASE_TERM + Duration::from_millis(1)));
    }
}
