//! Merges the passages that the librarians found.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// The answer of one librarian.
#[derive(Deserialize)]
pub(crate) struct Found {
    #[serde(default)]
    shelf: String,
    passages: Vec<Passage>,
}

#[derive(Deserialize)]
struct Passage {
    text: String,
    score: f64,
}

/// A passage, and who found it.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Source {
    pub(crate) agent: String,
    pub(crate) shelf: String,
    pub(crate) text: String,
    /// How well it fits, 0 to 1.
    pub(crate) score: f64,
}

/// The best passages of all, at most so many, each once. The same answers in another order give the
/// same: answers come as they come.
pub(crate) fn merge(found: Vec<(String, Found)>, most: usize) -> Vec<Source> {
    let mut sources: Vec<Source> = Vec::new();
    for (agent, found) in found {
        for passage in found.passages {
            sources.push(Source {
                agent: agent.clone(),
                shelf: found.shelf.clone(),
                text: passage.text,
                score: passage.score,
            });
        }
    }
    sources.sort_by(|a, b| {
        let by_score = b.score.total_cmp(&a.score);
        by_score.then_with(|| (&a.text, &a.agent).cmp(&(&b.text, &b.agent)))
    });
    let mut seen = BTreeSet::new();
    sources.retain(|source| seen.insert(source.text.clone()));
    sources.truncate(most);
    sources
}

/// The passages as one paragraph.
pub(crate) fn paragraph(sources: &[Source]) -> String {
    let texts: Vec<&str> = sources.iter().map(|source| &*source.text).collect();
    texts.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(agent: &str, passages: &[(&str, f64)]) -> (String, Found) {
        let passages = passages.iter().map(|(text, score)| Passage {
            text: (*text).to_owned(),
            score: *score,
        });
        let found = Found {
            shelf: "s".into(),
            passages: passages.collect(),
        };
        (agent.to_owned(), found)
    }

    #[test]
    fn the_order_of_the_answers_does_not_matter() {
        let a = || found("a-001", &[("x", 0.5), ("y", 0.1)]);
        let b = || found("b-001", &[("x", 0.5), ("z", 0.9)]);
        let merged = merge(vec![a(), b()], 9);
        assert_eq!(merged, merge(vec![b(), a()], 9));
        let texts: Vec<(&str, &str)> = merged.iter().map(|s| (&*s.text, &*s.agent)).collect();
        assert_eq!(texts, [("z", "b-001"), ("x", "a-001"), ("y", "a-001")]);
        assert_eq!(paragraph(&merge(vec![a(), b()], 2)), "z x");
        assert_eq!(paragraph(&merge(vec![], 2)), "");
    }
}
