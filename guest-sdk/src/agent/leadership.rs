//! The leadership of an election domain.

/// A change of leadership.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leadership {
    /// The domain of the election.
    pub domain: String,
    /// This agent leads now.
    pub leading: bool,
    /// The fencing term, larger with each leader.
    pub term: u64,
}
