//! Which sentences make the summary.

use std::collections::BTreeSet;

use crate::Sentence;

/// Of two sentences that share more of their terms than this, one is enough.
const ALIKE: f64 = 0.5;
/// A sentence of fewer words is a fragment, one of more is a list.
const WORDS: std::ops::RangeInclusive<usize> = 4..=60;

/// The best sentences, at most so many, in the order of the document, none much like another. Where
/// only fragments are there, fragments are taken.
pub(crate) fn best(sentences: &[Sentence], most: usize) -> Vec<&Sentence> {
    let mut ranked: Vec<(usize, &Sentence)> = sentences.iter().enumerate().collect();
    // A stable sort: of equally good ones the first comes first.
    ranked.sort_by(|(_, a), (_, b)| {
        (is_whole(b), b.score)
            .partial_cmp(&(is_whole(a), a.score))
            .unwrap_or(std::cmp::Ordering::Equal)
    });
    let mut chosen: Vec<(usize, &Sentence)> = Vec::new();
    for (place, sentence) in ranked {
        if chosen.len() >= most {
            break;
        }
        if !chosen
            .iter()
            .any(|(_, other)| alike(sentence, other) > ALIKE)
        {
            chosen.push((place, sentence));
        }
    }
    chosen.sort_by_key(|(place, _)| *place);
    chosen.into_iter().map(|(_, sentence)| sentence).collect()
}

fn is_whole(sentence: &Sentence) -> bool {
    WORDS.contains(&sentence.text.split_whitespace().count())
        && sentence.text.ends_with(['.', '!', '?'])
}

/// The share of the terms of two sentences that both have.
fn alike(a: &Sentence, b: &Sentence) -> f64 {
    let (a, b): (BTreeSet<_>, BTreeSet<_>) = (a.terms.iter().collect(), b.terms.iter().collect());
    a.intersection(&b).count() as f64 / a.union(&b).count().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sentence(text: &str, score: f64) -> Sentence {
        Sentence {
            text: text.into(),
            score,
            terms: text.split_whitespace().map(str::to_owned).collect(),
        }
    }

    fn texts(sentences: &[Sentence], most: usize) -> Vec<&str> {
        best(sentences, most)
            .into_iter()
            .map(|sentence| &*sentence.text)
            .collect()
    }

    #[test]
    fn the_best_without_repetition() {
        let sentences = [
            sentence("one two three four.", 0.5),
            sentence("five six seven eight.", 0.9),
            sentence("five six seven eight. again", 1.0),
            sentence("five six seven nine eight.", 0.8),
            sentence("ten eleven twelve thirteen!", 0.6),
        ];
        assert_eq!(
            texts(&sentences, 2),
            ["five six seven eight.", "ten eleven twelve thirteen!"]
        );
        assert_eq!(texts(&sentences, 0), [""; 0]);
        assert_eq!(texts(&sentences, 99).len(), 3);
    }

    #[test]
    fn fragments_come_last() {
        let sentences = [
            sentence("a fragment", 1.0),
            sentence("this is a sentence.", 0.1),
        ];
        assert_eq!(texts(&sentences, 1), ["this is a sentence."]);
        assert_eq!(texts(&sentences, 2).len(), 2);
    }
}
