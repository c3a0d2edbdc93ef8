//! The words of a sentence, and its terms: the words without stop words and numbers.

/// English words that stand in every text.
const STOP_WORDS: &str = "\
    a about above after again against all also although always am among an and another any are as at away \
    be because been before being below between both but by can cannot could did do does doing done down during \
    each either else even ever every few first for from further get gets give given gives go goes had has have \
    having he her here hers herself him himself his how however i if in into is it its itself just last least less \
    let lets like made make makes many may me might more most much must my myself neither never no nor not \
    nothing now of off often on once one only onto or other others our ours ourselves out over own per rather \
    same say says see shall she should since so some such take takes than that the their theirs them themselves \
    then there these they this those through thus to together too two under until up upon us use used uses using \
    very was we well were what when where whether which while who whom whose why will with within without would \
    yes yet you your yours yourself yourselves don't doesn't isn't aren't wasn't can't won't it's that's";

/// Runs of letters and digits; apostrophes, hyphens and underscores may stand inside.
pub(crate) fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && !matches!(c, '\'' | '-' | '_'))
        .map(|word| word.trim_matches(['\'', '-', '_']))
        .filter(|word| !word.is_empty())
}

/// The words in lower case that are neither stop words nor very short nor bare numbers.
pub(crate) fn terms(text: &str) -> Vec<String> {
    words(text)
        .map(|word| {
            let word = word.to_lowercase();
            word.strip_suffix("'s").map(str::to_owned).unwrap_or(word)
        })
        .filter(|word| word.len() > 2)
        .filter(|word| word.contains(char::is_alphabetic))
        .filter(|word| !STOP_WORDS.split_whitespace().any(|stop| stop == word))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_terms() {
        for (text, expected_words, expected_terms) in [
            ("", vec![], vec![]),
            (
                "The host's 3 -agents- don't x",
                vec!["The", "host's", "3", "agents", "don't", "x"],
                vec!["host", "agents"],
            ),
            (
                "At-least-once, work_queue; v1.2",
                vec!["At-least-once", "work_queue", "v1", "2"],
                vec!["at-least-once", "work_queue"],
            ),
            ("Größe 日本", vec!["Größe", "日本"], vec!["größe", "日本"]),
        ] {
            assert_eq!(words(text).collect::<Vec<_>>(), expected_words, "{text:?}");
            assert_eq!(terms(text), expected_terms, "{text:?}");
        }
    }
}
