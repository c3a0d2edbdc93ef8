//! The words and their valences.

use std::collections::BTreeMap;

use mistersmith_sdk::Error;

/// Words by valence. A sorted map, since the usual hash map would ask for random numbers.
pub(crate) struct Lexicon {
    valences: BTreeMap<&'static str, f64>,
}

impl Lexicon {
    /// The lexicon that is compiled into the plugin.
    pub(crate) fn english() -> Result<Self, Error> {
        Self::parse(include_str!("../lexicon.txt"))
    }

    /// Each line is a valence and its words; `#` begins a comment.
    fn parse(text: &'static str) -> Result<Self, Error> {
        let mut valences = BTreeMap::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let mut fields = line.split_whitespace();
            let Some(valence) = fields.next() else {
                continue;
            };
            let valence: f64 = valence
                .parse()
                .map_err(|_| Error::other(format_args!("lexicon: {valence:?} is no valence")))?;
            for word in fields {
                if valences.insert(word, valence).is_some() {
                    return Err(Error::other(format_args!("lexicon: {word:?} stands twice")));
                }
            }
        }
        Ok(Self { valences })
    }

    /// The valence of a word in lower case, with or without a usual ending; none when it says
    /// nothing.
    pub(crate) fn valence(&self, word: &str) -> Option<f64> {
        let found = self.get(word).or_else(|| self.without_ending(word))?;
        (found != 0.0).then_some(found)
    }

    fn get(&self, word: &str) -> Option<f64> {
        self.valences.get(word).copied()
    }

    fn without_ending(&self, word: &str) -> Option<f64> {
        // An ending, and what stands for it in the base form: loving, love; happily, happy.
        const ENDINGS: [(&str, &[&str]); 9] = [
            ("iness", &["y"]),
            ("ness", &[""]),
            ("ily", &["y"]),
            ("ly", &["", "le"]),
            ("ing", &["", "e"]),
            ("ies", &["y"]),
            ("ied", &["y"]),
            ("es", &["", "e"]),
            ("s", &[""]),
        ];
        const SHORT_ENDINGS: [(&str, &[&str]); 5] = [
            ("iest", &["y"]),
            ("ier", &["y"]),
            ("est", &["", "e"]),
            ("er", &["", "e"]),
            ("ed", &["", "e"]),
        ];
        for (ending, bases) in ENDINGS.iter().chain(&SHORT_ENDINGS) {
            let Some(stem) = word.strip_suffix(ending) else {
                continue;
            };
            // Of shorter stems too many are other words: "lied" is no form of "ly".
            if stem.chars().count() < 3 {
                continue;
            }
            for base in *bases {
                if let Some(valence) = self.get(&format!("{stem}{base}")) {
                    return Some(valence);
                }
            }
            // Planned, sadder, winning: the last letter is doubled.
            if let Some(valence) = undoubled(stem).and_then(|stem| self.get(stem)) {
                return Some(valence);
            }
        }
        None
    }
}

/// The stem without its last letter, if that stands twice.
fn undoubled(stem: &str) -> Option<&str> {
    let (rest, last) = stem.split_at_checked(stem.len().checked_sub(1)?)?;
    rest.ends_with(last).then_some(rest)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_lexicon_is_large_and_sound() {
        let lexicon = Lexicon::english().unwrap();
        assert!(lexicon.valences.len() > 1000, "{}", lexicon.valences.len());
        for (word, valence) in &lexicon.valences {
            assert!((-4.0..=4.0).contains(valence), "{word} {valence}");
            assert_eq!(word.to_lowercase(), **word);
        }
        let positive = lexicon.valences.values().filter(|v| **v > 0.0).count();
        let negative = lexicon.valences.values().filter(|v| **v < 0.0).count();
        assert!(positive > 500 && negative > 500, "{positive} {negative}");
    }

    #[test]
    fn endings_are_taken_off() {
        let lexicon = Lexicon::english().unwrap();
        for (word, base) in [
            ("loves", "love"),
            ("loved", "love"),
            ("loving", "love"),
            ("happily", "happy"),
            ("happier", "happy"),
            ("happiest", "happy"),
            ("sadder", "sad"),
            ("winning", "winning"),
            ("scammed", "scam"),
            ("terribly", "terribly"),
            ("horribly", "horrible"),
            ("worries", "worry"),
            ("crashes", "crash"),
            ("rudeness", "rude"),
            ("ugliness", "ugly"),
            ("failures", "failure"),
            ("nicest", "nice"),
        ] {
            assert!(lexicon.valence(word).is_some(), "{word}");
            assert_eq!(lexicon.valence(word), lexicon.valence(base), "{word}");
        }
    }

    #[test]
    fn what_only_looks_alike_says_nothing() {
        let lexicon = Lexicon::english().unwrap();
        for word in [
            "likely", "goods", "news", "evening", "table", "the", "lied", "",
        ] {
            assert_eq!(lexicon.valence(word), None, "{word}");
        }
    }

    #[test]
    fn a_broken_lexicon_is_told() {
        for (text, problem) in [
            ("x good", "lexicon: \"x\" is no valence"),
            ("1 good\n2 good", "lexicon: \"good\" stands twice"),
        ] {
            let error = Lexicon::parse(text).err().unwrap();
            assert_eq!(error.message(), problem);
        }
        assert_eq!(
            Lexicon::parse("# a\n\n1 b").unwrap().valence("b"),
            Some(1.0)
        );
    }
}
