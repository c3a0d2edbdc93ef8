//! Flesch's reading ease of a text.

use serde::Serialize;

use crate::{Sentence, rounded};

/// The readability of a text.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Readability {
    #[serde(skip)]
    pub(crate) words: usize,
    /// Flesch's reading ease: 206.835 - 1.015 words per sentence - 84.6 syllables per word.
    pub(crate) score: f64,
    pub(crate) words_per_sentence: f64,
    pub(crate) syllables_per_word: f64,
}

/// Measures the sentences of a text, at least one.
pub(crate) fn measure(sentences: &[Sentence]) -> Readability {
    let words = || {
        sentences
            .iter()
            .flat_map(|sentence| {
                sentence
                    .text
                    .split(|c: char| !c.is_alphanumeric() && c != '\'')
            })
            .filter(|word| !word.is_empty())
    };
    let count = words().count();
    let per_sentence = count as f64 / sentences.len().max(1) as f64;
    let syllables: usize = words().map(syllables).sum();
    let per_word = syllables as f64 / count.max(1) as f64;
    Readability {
        words: count,
        score: rounded(206.835 - 1.015 * per_sentence - 84.6 * per_word),
        words_per_sentence: rounded(per_sentence),
        syllables_per_word: rounded(per_word),
    }
}

/// Groups of vowels, without a silent "e" at the end; at least one.
fn syllables(word: &str) -> usize {
    let word = word.to_lowercase();
    let silent = word.ends_with('e') && !word.ends_with("le") && !word.ends_with("ee");
    let mut groups = 0;
    let mut in_group = false;
    for c in word.chars() {
        let vowel = "aeiouyäöü".contains(c);
        groups += usize::from(vowel && !in_group);
        in_group = vowel;
    }
    groups
        .saturating_sub(usize::from(silent && groups > 1))
        .max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sentence;

    #[test]
    fn syllables_are_counted() {
        for (word, expected) in [
            ("the", 1),
            ("agent", 2),
            ("message", 2),
            ("table", 2),
            ("free", 1),
            ("readability", 5),
            ("nth", 1),
            ("3", 1),
        ] {
            assert_eq!(syllables(word), expected, "{word}");
        }
    }

    #[test]
    fn short_words_read_easily() {
        let easy = measure(&[sentence("The cat sat on the mat.", "")]);
        assert_eq!(
            (easy.words, easy.words_per_sentence, easy.syllables_per_word),
            (6, 6.0, 1.0)
        );
        assert_eq!(easy.score, 116.145);
        let hard = measure(&[sentence(
            "Organisational interoperability necessitates standardisation.",
            "",
        )]);
        assert!(hard.score < 0.0, "{hard:?}");
    }
}
