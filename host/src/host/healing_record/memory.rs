//! The pure memory of agent overrides and election terms, kept in case their buckets are lost.

use std::collections::BTreeMap;

use crate::agents::Overrides;
use mistersmith_core::names::{AgentId, Token};

/// The overrides of agents, each with the creation time of the bucket that held them.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    known: BTreeMap<AgentId, (Overrides, String)>,
    /// The bucket that was checked last.
    newest: String,
    /// The newest terms seen.
    terms: BTreeMap<Token, u64>,
}

impl Memory {
    /// Records that an agent of this host uses these overrides and that this bucket holds them.
    pub(crate) fn saw(&mut self, agent: &AgentId, overrides: Overrides, bucket: &str) {
        if overrides == Overrides::default() {
            self.known.remove(agent);
        } else {
            let seen = (overrides, bucket.to_owned());
            self.known.insert(agent.clone(), seen);
        }
    }

    /// Records that an agent of this host uses these overrides. The bucket may be lost already; if
    /// it is not, writing them once more changes nothing.
    pub(crate) fn notes(&mut self, agent: &AgentId, overrides: Overrides) {
        if !self.newest.is_empty() {
            let bucket = self.newest.clone();
            self.saw(agent, overrides, &bucket);
        }
    }

    /// Records a term of an election.
    pub(crate) fn saw_term(&mut self, domain: Token, term: u64) {
        let newest = self.terms.entry(domain).or_default();
        *newest = term.max(*newest);
    }

    /// The newest terms seen, by domain.
    pub(crate) fn terms(&self) -> &BTreeMap<Token, u64> {
        &self.terms
    }

    /// Records that all running agents were compared with this bucket.
    pub(crate) fn looked(&mut self, bucket: &str) {
        bucket.clone_into(&mut self.newest);
    }

    /// Whether overrides of an agent are remembered.
    pub(crate) fn knows(&self, agent: &AgentId) -> bool {
        self.known.contains_key(agent)
    }

    /// The overrides of an agent that were lost with the predecessor of this bucket.
    pub(crate) fn lost(&self, agent: &AgentId, bucket: &str) -> Option<Overrides> {
        let (overrides, seen) = self.known.get(agent)?;
        (seen != bucket).then(|| overrides.clone())
    }

    /// Whether this bucket may lack the overrides that an agent uses.
    pub(crate) fn is_lost(&self, agent: &AgentId, bucket: &str) -> bool {
        let another = !self.newest.is_empty() && self.newest != bucket;
        another || self.lost(agent, bucket).is_some()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn overrides_are_lost_with_their_bucket_and_not_by_a_command() {
        let (one, two): (AgentId, AgentId) = ("a-001".parse().unwrap(), "a-002".parse().unwrap());
        let paused = Overrides {
            paused: true,
            ..Overrides::default()
        };
        let mut memory = Memory::default();
        assert!(!memory.is_lost(&one, "first"), "nothing was seen yet");
        memory.saw(&one, paused.clone(), "first");
        memory.saw(&two, Overrides::default(), "first");
        memory.looked("first");
        assert!(memory.knows(&one) && !memory.knows(&two));
        assert_eq!(memory.lost(&one, "first"), None);
        assert_eq!(memory.lost(&one, "second"), Some(paused.clone()));
        assert!(memory.is_lost(&one, "second") && memory.is_lost(&two, "second"));
        memory.saw(&two, Overrides::default(), "second");
        memory.looked("second");
        assert!(!memory.is_lost(&two, "second"));
        assert!(
            memory.is_lost(&one, "second"),
            "it does not run, and is not written yet"
        );
        memory.saw(&one, paused, "second");
        assert!(!memory.is_lost(&one, "second"));
        memory.saw(&one, Overrides::default(), "second");
        assert!(!memory.knows(&one), "it was resumed");
        memory.notes(
            &two,
            Overrides {
                paused: true,
                ..Overrides::default()
            },
        );
        assert!(memory.lost(&two, "third").is_some());
    }

    #[test]
    fn terms_do_not_fall() {
        let mut memory = Memory::default();
        let domain: Token = "lab".parse().unwrap();
        for term in [3, 9, 4] {
            memory.saw_term(domain.clone(), term);
        }
        assert_eq!(memory.terms().get(&domain), Some(&9));
    }
}
