//! From a text to sentences of words, and the words that change the meaning of others.

/// A sentence.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Sentence {
    pub(crate) words: Vec<Word>,
    /// The exclamation marks in it.
    pub(crate) exclamations: u32,
    /// The question marks in it.
    pub(crate) questions: u32,
}

/// A word, or an emoticon.
#[derive(Debug, PartialEq)]
pub(crate) struct Word {
    /// In lower case, with straight apostrophes.
    pub(crate) text: String,
    /// It is written in capitals.
    pub(crate) shouted: bool,
    /// A comma or the like follows.
    pub(crate) ends_clause: bool,
}

/// Cuts a text into sentences. A single line end does not end a sentence, an empty line does.
/// `is_sign` tells which characters and emoticons that are not words have a meaning.
pub(crate) fn sentences(text: &str, is_sign: impl Fn(&str) -> bool) -> Vec<Sentence> {
    let mut sentences = vec![Sentence::default()];
    let mut ended = false;
    for line in text.lines() {
        ended |= line.trim().is_empty();
        for piece in line.split_whitespace() {
            if std::mem::take(&mut ended) {
                sentences.push(Sentence::default());
            }
            if let Some(sentence) = sentences.last_mut() {
                ended = sentence.take(piece, &is_sign);
            }
        }
    }
    sentences.retain(|sentence| !sentence.words.is_empty());
    sentences
}

impl Sentence {
    /// Adds what stands between two spaces; says whether it ends the sentence.
    fn take(&mut self, piece: &str, is_sign: &impl Fn(&str) -> bool) -> bool {
        let emoticon = piece.trim_end_matches(['.', ',', '!', '?']).to_lowercase();
        if is_sign(&emoticon) && !emoticon.chars().all(char::is_alphanumeric) {
            self.push(&emoticon);
        } else {
            self.take_words(piece, is_sign);
        }
        let marks = |mark| u32::try_from(piece.matches(mark).count()).unwrap_or(u32::MAX);
        self.exclamations = self.exclamations.saturating_add(marks('!'));
        self.questions = self.questions.saturating_add(marks('?'));
        let end = piece.trim_end_matches(['"', '\'', '”', '’', ')', ']', '*', '_']);
        if let (Some(last), true) = (
            self.words.last_mut(),
            end.ends_with([',', ';', ':', '–', '—']),
        ) {
            last.ends_clause = true;
        }
        end.ends_with(['.', '!', '?', '…'])
    }

    fn take_words(&mut self, piece: &str, is_sign: &impl Fn(&str) -> bool) {
        let mut word = String::new();
        for c in piece.chars() {
            match c {
                c if c.is_alphanumeric() => word.push(c),
                '\'' | '’' => word.push('\''),
                c => {
                    self.push(&std::mem::take(&mut word));
                    let sign = c.to_string();
                    if !c.is_ascii() && is_sign(&sign) {
                        self.push(&sign);
                    }
                }
            }
        }
        self.push(&word);
    }

    fn push(&mut self, word: &str) {
        let word = word.trim_matches('\'');
        if word.is_empty() {
            return;
        }
        let letters = || word.chars().filter(|c| c.is_alphabetic());
        self.words.push(Word {
            text: word.to_lowercase(),
            shouted: letters().count() > 1 && letters().all(char::is_uppercase),
            ends_clause: false,
        });
    }
}

impl Word {
    /// It turns the meaning of what follows: `not`, `isn't`, `never`.
    pub(crate) fn negates(&self) -> bool {
        const NEGATIONS: &str = "\
            not no never none nobody nothing neither nor nowhere without cannot cant dont doesnt \
            didnt isnt wasnt arent werent wont hardly barely scarcely rarely seldom";
        self.text.ends_with("n't") || self.is_one_of(NEGATIONS)
    }

    /// It makes what follows stronger (above 0) or weaker (below 0).
    pub(crate) fn boosts(&self) -> Option<f64> {
        const STRONGER: &str = "\
            absolutely amazingly awfully completely considerably damn decidedly deeply enormously \
            entirely especially exceptionally extraordinarily extremely fully greatly highly \
            hugely immensely incredibly insanely intensely more most particularly perfectly pretty \
            purely quite really remarkably seriously so such super terribly thoroughly too totally \
            truly unbelievably utterly very";
        const WEAKER: &str = "\
            almost bit fairly kinda less little marginally moderately occasionally partly rather \
            slightly somewhat sort sorta";
        /// How much a booster adds to, or takes from, a valence.
        const STEP: f64 = 0.293;
        if self.is_one_of(STRONGER) {
            Some(STEP)
        } else if self.is_one_of(WEAKER) {
            Some(-STEP)
        } else {
            None
        }
    }

    fn is_one_of(&self, words: &str) -> bool {
        words.split(' ').any(|word| word == self.text)
    }

    /// What follows it weighs more than what stands before it.
    pub(crate) fn contrasts(&self) -> bool {
        ["but", "however"].contains(&self.text.as_str())
    }

    /// After it `like` is a verb: `I like`, `don't like`, but `looks like`, `the like`.
    pub(crate) fn likes(&self) -> bool {
        const BEFORE_VERB: &str = "\
            i we you they who people users everyone and to do did really also still would will not \
            never always";
        self.text.ends_with("n't") || self.is_one_of(BEFORE_VERB)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing)]

    use super::*;

    fn cut(text: &str) -> Vec<Vec<String>> {
        let is_sign = |sign: &str| [":)", ":d", "❤"].contains(&sign);
        let words = |sentence: Sentence| sentence.words.into_iter().map(|w| w.text).collect();
        sentences(text, is_sign).into_iter().map(words).collect()
    }

    #[test]
    fn sentences_end_at_marks_and_empty_lines() {
        for (text, expected) in [
            ("", vec![]),
            (" \n\n ... \n", vec![]),
            ("One two. Three", vec![vec!["one", "two"], vec!["three"]]),
            (
                "\"One!\" Two? (Three.) four",
                vec![vec!["one"], vec!["two"], vec!["three"], vec!["four"]],
            ),
            (
                "one\ntwo\r\n\r\nthree",
                vec![vec!["one", "two"], vec!["three"]],
            ),
            ("v1.2 of x.y", vec![vec!["v1", "2", "of", "x", "y"]]),
            ("isn’t 'well-made'", vec![vec!["isn't", "well", "made"]]),
            ("ok :) so :D!", vec![vec!["ok", ":)", "so", ":d"]]),
            ("love❤️it", vec![vec!["love", "❤", "it"]]),
        ] {
            assert_eq!(cut(text), expected, "{text:?}");
        }
    }

    #[test]
    fn marks_capitals_and_clauses_are_seen() {
        let sentence = &sentences("WOW, it is A-OK (really), no?!!", |_| false)[0];
        assert_eq!((sentence.exclamations, sentence.questions), (2, 1));
        let shouted: Vec<&str> = sentence
            .words
            .iter()
            .filter(|w| w.shouted)
            .map(|w| &*w.text)
            .collect();
        assert_eq!(shouted, ["wow", "ok"]);
        let ends: Vec<&str> = sentence
            .words
            .iter()
            .filter(|w| w.ends_clause)
            .map(|w| &*w.text)
            .collect();
        assert_eq!(ends, ["wow", "really"]);
    }
}
