//! Splits a text into sentences.

/// Abbreviations: they end with a full stop and end no sentence.
const ABBREVIATIONS: [&str; 16] = [
    "e.g", "i.e", "etc", "cf", "vs", "mr", "mrs", "ms", "dr", "prof", "vol", "fig", "inc", "ltd",
    "approx", "resp",
];

/// One line, plain quotation marks and dashes, no control characters.
pub(crate) fn normal(text: &str) -> String {
    let plain: String = text
        .chars()
        .map(|c| match c {
            '“' | '”' | '„' | '«' | '»' => '"',
            '‘' | '’' | '‚' => '\'',
            '–' | '—' => '-',
            c if c.is_control() || c == '\u{feff}' => ' ',
            c => c,
        })
        .collect();
    plain.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The sentences of a text that is on one line. A sentence ends with a mark that a space and
/// something like the beginning of a sentence follow.
pub(crate) fn split(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut sentence = String::new();
    let mut words = text.split(' ').peekable();
    while let Some(word) = words.next() {
        if !sentence.is_empty() {
            sentence.push(' ');
        }
        sentence.push_str(word);
        if words.peek().is_none_or(|next| ends(word) && begins(next)) {
            found.push(std::mem::take(&mut sentence));
        }
    }
    found.retain(|sentence| !sentence.is_empty());
    found
}

fn ends(word: &str) -> bool {
    let word = word.trim_end_matches(['"', '\'', ')', ']']);
    let Some(before) = word.strip_suffix('.') else {
        return word.ends_with(['!', '?', '…']);
    };
    let before = before.trim_start_matches(['"', '\'', '(', '[']);
    let initial = before.len() == 1 && before.chars().all(char::is_uppercase);
    !initial && !ABBREVIATIONS.contains(&&*before.to_lowercase())
}

fn begins(word: &str) -> bool {
    let word = word.trim_start_matches(['"', '\'', '(', '[']);
    word.starts_with(|c: char| c.is_uppercase() || c.is_ascii_digit() || !c.is_alphabetic())
        || word.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences() {
        for (text, expected) in [
            ("", vec![]),
            ("One two", vec!["One two"]),
            (
                "One. Two! Three? (Four.) Five",
                vec!["One.", "Two!", "Three?", "(Four.)", "Five"],
            ),
            ("Say \"no.\" Then go.", vec!["Say \"no.\"", "Then go."]),
            (
                "Use e.g. This, or J. Smith of v1.2 etc. and so on.",
                vec!["Use e.g. This, or J. Smith of v1.2 etc. and so on."],
            ),
            (
                "ends. not here. 3 is new.",
                vec!["ends. not here.", "3 is new."],
            ),
        ] {
            assert_eq!(split(text), expected, "{text:?}");
        }
    }

    #[test]
    fn normal_text_is_plain() {
        assert_eq!(
            normal("“It’s”\t–\u{feff} so\n\nok\u{7}"),
            "\"It's\" - so ok"
        );
    }
}
