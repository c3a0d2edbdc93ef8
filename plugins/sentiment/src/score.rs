//! From sentences to a score.
//!
//! Each word of the lexicon has a valence. Words in the three places before it make it stronger or
//! weaker, or turn it; capitals and exclamation marks make it stronger; what follows a "but" weighs
//! more than what stands before it. The sum of a sentence is brought between -1 and 1, and the
//! score of the text is the mean of the sentences that say anything.

use serde::Serialize;

use crate::lexicon::Lexicon;
use crate::words::{Sentence, Word, sentences};

/// How much a word counts that changes the meaning of another: one place before it, two, three.
const REACH: [f64; 3] = [1.0, 0.95, 0.9];
/// What a negation makes of a valence: "not good" is less bad than "good" is good.
const NEGATED: f64 = -0.74;
/// What capitals add to a valence, where not all is in capitals.
const SHOUTED: f64 = 0.733;
/// What an exclamation mark adds to a sentence, up to four of them.
const EXCLAMATION: f64 = 0.292;
/// What a question mark adds to a sentence that has two or three.
const QUESTION: f64 = 0.18;
/// What more question marks add together.
const QUESTIONS: f64 = 0.96;
/// Brings a sum near 1 only when it is large.
const SCALE: f64 = 15.0;
/// From here on a score is not neutral.
const NEUTRAL: f64 = 0.05;

/// What a text expresses.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Score {
    pub(crate) label: Label,
    /// From -1, the worst, to 1, the best; with four digits.
    pub(crate) score: f64,
    /// The sentences that say anything.
    pub(crate) sentences: usize,
    /// The words that are meant well.
    pub(crate) positive: usize,
    /// The words that are meant ill.
    pub(crate) negative: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Label {
    Positive,
    Negative,
    Neutral,
}

/// Scores a text.
pub(crate) fn score(lexicon: &Lexicon, text: &str) -> Score {
    let mut sum = 0.0;
    let mut found = Score {
        label: Label::Neutral,
        score: 0.0,
        sentences: 0,
        positive: 0,
        negative: 0,
    };
    for sentence in sentences(text, |sign| lexicon.valence(sign).is_some()) {
        let valences = valences(lexicon, &sentence.words);
        if valences.is_empty() {
            continue;
        }
        found.sentences += 1;
        found.positive += valences.iter().filter(|valence| **valence > 0.0).count();
        found.negative += valences.iter().filter(|valence| **valence < 0.0).count();
        sum += level(&sentence, &valences);
    }
    if found.sentences > 0 {
        found.score = (sum / found.sentences as f64 * 10_000.0).round() / 10_000.0;
    }
    found.label = match found.score {
        score if score >= NEUTRAL => Label::Positive,
        score if score <= -NEUTRAL => Label::Negative,
        _ => Label::Neutral,
    };
    found
}

/// The sum of a sentence with its marks, between -1 and 1.
fn level(sentence: &Sentence, valences: &[f64]) -> f64 {
    let sum: f64 = valences.iter().sum();
    let questions = match sentence.questions {
        0 | 1 => 0.0,
        few @ 2..=3 => f64::from(few) * QUESTION,
        _ => QUESTIONS,
    };
    let marks = f64::from(sentence.exclamations.min(4)) * EXCLAMATION + questions;
    let sum = if sum == 0.0 {
        0.0
    } else {
        sum + marks * sum.signum()
    };
    sum / (sum * sum + SCALE).sqrt()
}

/// The valence of each word that has one, as it is meant in its sentence.
fn valences(lexicon: &Lexicon, words: &[Word]) -> Vec<f64> {
    let all_shouted = words.iter().all(|word| word.shouted);
    let contrast = words.iter().rposition(Word::contrasts);
    let mut valences = Vec::new();
    for (index, word) in words.iter().enumerate() {
        let (before, after) = (words.get(..index).unwrap_or(&[]), words.get(index + 1));
        let Some(plain) = plain(lexicon, before, word, after) else {
            continue;
        };
        let shout = if word.shouted && !all_shouted {
            SHOUTED
        } else {
            0.0
        };
        let meant = in_context(plain, shout, before);
        valences.push(match contrast {
            Some(contrast) if index < contrast => meant * 0.5,
            Some(contrast) if index > contrast => meant * 1.5,
            _ => meant,
        });
    }
    valences
}

/// The valence of a word in the lexicon, unless it is used in a way that has none.
fn plain(lexicon: &Lexicon, before: &[Word], word: &Word, after: Option<&Word>) -> Option<f64> {
    let valence = lexicon.valence(&word.text)?;
    let followed_by = |text| after.is_some_and(|next| next.text == text);
    let meant = match word.text.as_str() {
        // "It looks like rain", "and the like".
        "like" | "likes" => before.last().is_some_and(Word::likes),
        // "A kind of".
        "kind" => !followed_by("of"),
        // "Well" at the beginning, and "as well".
        "well" => before.last().is_some_and(|last| last.text != "as"),
        _ => true,
    };
    // "Pretty good", "terribly sorry": it only boosts.
    let boosts = word.boosts().is_some()
        && after
            .is_some_and(|next| lexicon.valence(&next.text).is_some() || next.boosts().is_some());
    (meant && !boosts).then_some(valence)
}

/// What the words before make of a valence.
fn in_context(valence: f64, shout: f64, before: &[Word]) -> f64 {
    let mut strength = valence.abs() + shout;
    let mut negated = false;
    let near = before.iter().enumerate().rev().zip(REACH);
    for ((index, word), weight) in near.take_while(|((_, word), _)| !word.ends_clause) {
        if let Some(boost) = word.boosts() {
            let shout = if word.shouted { SHOUTED } else { 0.0 };
            strength += weight * (boost + shout * boost.signum());
        }
        if word.negates() {
            let next = before.get(index + 1).map(|next| next.text.as_str());
            match (word.text.as_str(), next) {
                // "Not only good": no negation at all.
                ("not", Some("only")) => {}
                // "Never so good", "never been this good": the contrary of one.
                ("never", Some("so" | "this" | "been" | "such")) => strength += weight * 0.293,
                _ => negated = !negated,
            }
        }
    }
    let meant = strength.max(0.0) * valence.signum();
    if negated { meant * NEGATED } else { meant }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::Label::{Negative, Neutral, Positive};
    use super::*;

    fn of(text: &str) -> Score {
        score(&Lexicon::english().unwrap(), text)
    }

    #[test]
    fn real_sentences() {
        for (text, label) in [
            ("I love this phone, the screen is gorgeous.", Positive),
            ("Absolutely fantastic service, will come again!", Positive),
            ("The staff were friendly and helpful.", Positive),
            ("Not bad at all.", Positive),
            ("It never fails.", Positive),
            ("No problems whatsoever, works like a charm.", Positive),
            ("The plot is thin, but the acting is superb.", Positive),
            ("I have never been this happy.", Positive),
            ("Not only is it good, it is cheap too.", Positive),
            ("I really like it.", Positive),
            ("Thanks, that solved it :)", Positive),
            ("Great job 👍", Positive),
            ("This is terrible.", Negative),
            ("The food was awful and the waiter was rude.", Negative),
            ("I don't like it.", Negative),
            ("It isn’t good.", Negative),
            ("Not very helpful.", Negative),
            (
                "The idea is nice, but the app crashes all the time.",
                Negative,
            ),
            ("What a waste of money.", Negative),
            ("I was extremely disappointed with the quality.", Negative),
            ("Hardly useful.", Negative),
            ("They never reply, and nobody is helpful.", Negative),
            ("My order arrived broken :(", Negative),
            ("The license agreement forbids it, sadly.", Negative),
            ("The meeting is on Tuesday.", Neutral),
            ("It looks like rain.", Neutral),
            ("The table has four legs and a drawer.", Neutral),
            ("Water boils at one hundred degrees.", Neutral),
            ("Good evening, the news at nine.", Positive),
            ("What kind of file is it?", Neutral),
            ("Send the goods on Monday, as well as the bill.", Neutral),
            ("", Neutral),
            ("12345 !!! ???", Neutral),
        ] {
            let found = of(text);
            assert_eq!(found.label, label, "{text:?} {found:?}");
            assert!((-1.0..=1.0).contains(&found.score), "{text:?} {found:?}");
        }
    }

    #[test]
    fn the_stronger_of_two_sentences() {
        for (stronger, weaker) in [
            ("This is very good.", "This is good."),
            ("This is good.", "This is somewhat good."),
            ("This is good!", "This is good."),
            ("This is good!!!", "This is good!"),
            ("This is GOOD.", "This is good."),
            ("This is VERY good.", "This is very good."),
            ("This is excellent.", "This is good."),
            ("This is good.", "This is not bad."),
            ("Good, and great.", "Good."),
            ("It was slow, but good.", "It was good, but slow."),
            ("Not good.", "Horrible."),
            ("Bad.", "Very bad."),
            ("Bad.", "Bad!"),
            ("Not so bad.", "Bad."),
            ("No, it is good.", "It is no good."),
        ] {
            let (high, low) = (of(stronger).score, of(weaker).score);
            assert!(high > low, "{stronger:?} {high} {weaker:?} {low}");
        }
    }

    #[test]
    fn the_same_in_capitals_throughout_is_not_stronger() {
        assert_eq!(of("THIS IS GOOD").score, of("this is good").score);
    }

    #[test]
    fn a_text_is_the_mean_of_its_sentences_that_say_anything() {
        let (good, bad) = (of("It is good.").score, of("It is horrible.").score);
        let both = of("It is good. The table is brown. It is horrible.");
        assert_eq!((both.sentences, both.positive, both.negative), (2, 1, 1));
        assert!((both.score - (good + bad) / 2.0).abs() < 0.001, "{both:?}");
        // Repeating it does not make it better.
        assert_eq!(of(&"It is good. ".repeat(1000)).score, good);
    }

    #[test]
    fn long_texts_stay_within_bounds() {
        for word in ["good ", "very ", "not ", "!", "?", ",", "’", "😀"] {
            let found = of(&word.repeat(20_000));
            assert!((-1.0..=1.0).contains(&found.score), "{word} {found:?}");
        }
    }
}
