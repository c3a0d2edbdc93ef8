//! A set of subject patterns, as a trie over tokens: one lookup per token however many patterns
//! there are, and no allocation.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// Patterns with the wildcards `*` and `>`; also patterns of keys, which have the same grammar.
#[derive(Debug, Default)]
pub(super) struct SubjectSet {
    root: Node,
}

#[derive(Debug, Default)]
struct Node {
    /// What follows a certain token.
    literal: HashMap<Box<str>, Node, BuildHasherDefault<TokenHasher>>,
    /// What follows any token.
    any: Option<Box<Node>>,
    /// A pattern goes on with `>` from here.
    rest: bool,
    /// A pattern ends here.
    end: bool,
}

impl SubjectSet {
    /// Adds a valid pattern. One with a `>` before its end would match whatever follows.
    pub(super) fn insert(&mut self, pattern: &str) {
        let mut node = &mut self.root;
        for token in pattern.split('.') {
            node = match token {
                ">" => {
                    node.rest = true;
                    return;
                }
                "*" => node.any.get_or_insert_default(),
                _ => node.literal.entry(token.into()).or_default(),
            };
        }
        node.end = true;
    }

    /// Does one of the patterns match this valid literal subject?
    pub(super) fn matches(&self, subject: &str) -> bool {
        self.root.matches(Some(subject))
    }
}

impl Node {
    /// `rest` is what of the subject is left, none when its last token was consumed.
    ///
    /// Visits each node at most once, so that its work is bounded by the patterns, not by the
    /// subject.
    fn matches(&self, rest: Option<&str>) -> bool {
        let Some(rest) = rest else {
            return self.end;
        };
        if self.rest {
            return true;
        }
        let dot = rest.bytes().position(|b| b == b'.');
        let (token, rest) = match dot.and_then(|at| rest.split_at_checked(at)) {
            Some((token, rest)) => (token, rest.get(1..)),
            None => (rest, None),
        };
        self.literal
            .get(token)
            .is_some_and(|node| node.matches(rest))
            || self.any.as_ref().is_some_and(|node| node.matches(rest))
    }
}

/// A short multiplicative hash. Only the author of a manifest chooses what is stored, so nobody can
/// make collisions that slow down the lookups of others, and it takes a fraction of the default's
/// time.
#[derive(Default)]
struct TokenHasher(u64);

impl TokenHasher {
    fn add(&mut self, word: u64) {
        let mixed = (self.0.rotate_left(5) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ (mixed >> 32);
    }
}

impl Hasher for TokenHasher {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.add(u64::from_le_bytes(*word));
        }
        let last = rest.iter().fold(0, |word, b| word << 8 | u64::from(*b));
        self.add(last);
    }

    /// Called by `str` to end a text; the map compares whole tokens anyway.
    fn write_u8(&mut self, _end: u8) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::names::subject;

    fn set(patterns: &[String]) -> SubjectSet {
        let mut set = SubjectSet::default();
        patterns.iter().for_each(|p| set.insert(p));
        set
    }

    proptest! {
        /// The trie is nothing but a faster way to ask every pattern.
        #[test]
        fn agrees_with_the_matcher(
            patterns in prop::collection::vec("([ab*]\\.){0,3}([ab*]|>)", 0..6),
            subjects in prop::collection::vec("([abc]\\.){0,4}[abc]", 1..20),
        ) {
            let set = set(&patterns);
            for subject in subjects {
                let expected = patterns.iter().any(|p| subject::matches(p, &subject));
                prop_assert_eq!(set.matches(&subject), expected, "{} in {:?}", subject, patterns);
            }
        }
    }

    #[test]
    fn an_empty_set_matches_nothing() {
        assert!(!SubjectSet::default().matches("a"));
    }

    #[test]
    fn a_subject_of_many_tokens_costs_no_more_than_the_patterns() {
        let set = set(&["*.*.*.*.x".to_owned(), "a.>".to_owned(), "*.a.>".to_owned()]);
        assert!(set.matches(&["a"; 128].join(".")));
        assert!(!set.matches(&["b"; 128].join(".")));
    }
}
