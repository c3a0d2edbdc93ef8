//! The election of a plugin as its agents see it: the domain, the leader, and the newest term.
//!
//! The newest term of a domain never falls.

use parking_lot::{Mutex, MutexGuard};

use mistersmith_core::names::Token;

/// The agents' view of their election. Outlives a reload.
#[derive(Debug, Default)]
pub struct LeaderView(Mutex<Notes>);

#[derive(Debug, Default)]
struct Notes {
    domain: Option<Token>,
    leader: Option<Leader>,
    /// The newest term seen of domain `of`, the domain that was open last.
    newest: u64,
    of: Option<Token>,
}

/// The last known leader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leader {
    /// The agent; it may be a participant outside this system, with an id of its own form.
    pub agent: String,
    /// Its term.
    pub term: u64,
}

impl LeaderView {
    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.0.lock()
    }

    /// The election domain of the plugin; none when it takes part in no election.
    pub fn domain(&self) -> Option<Token> {
        self.notes().domain.clone()
    }

    /// The newest term that was seen; 0 before the first.
    pub fn newest_term(&self) -> u64 {
        self.notes().newest
    }

    /// The last known leader.
    pub fn leader(&self) -> Option<Leader> {
        self.notes().leader.clone()
    }

    /// Sets the domain in which the plugin takes part; none ends its part.
    pub fn open(&self, domain: Option<Token>) {
        let mut notes = self.notes();
        notes.leader = None;
        if domain.is_some() && notes.of != domain {
            notes.newest = 0;
            notes.of.clone_from(&domain);
        }
        notes.domain = domain;
    }

    /// Notes a term of this domain that was seen before the plugin took part.
    pub fn remember(&self, domain: &Token, term: u64) {
        let mut notes = self.notes();
        if notes.of.as_ref() == Some(domain) {
            notes.newest = notes.newest.max(term);
        }
    }

    /// Sets the leader, or that there is none.
    pub fn saw(&self, leader: Option<Leader>) {
        let mut notes = self.notes();
        if let Some(leader) = &leader {
            notes.newest = notes.newest.max(leader.term);
        }
        notes.leader = leader;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_that_were_seen_are_remembered() {
        let board = LeaderView::default();
        let leader = |term| {
            let agent = "a-001".to_owned();
            Some(Leader { agent, term })
        };
        board.open("nlp".parse().ok());
        board.saw(leader(9));
        board.saw(None);
        assert_eq!((board.leader(), board.newest_term()), (None, 9));
        board.saw(leader(4));
        assert_eq!(board.newest_term(), 9, "an old answer does not count");
        board.remember(&"other".parse().unwrap_or_else(|_| unreachable!()), 99);
        board.remember(&"nlp".parse().unwrap_or_else(|_| unreachable!()), 8);
        assert_eq!(board.newest_term(), 9);
        board.open(None);
        board.open("nlp".parse().ok());
        assert_eq!(board.newest_term(), 9);
        board.open("other".parse().ok());
        assert_eq!(board.newest_term(), 0);
    }
}
