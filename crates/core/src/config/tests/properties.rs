//! Whatever is in a file, it is read or refused with findings that name a line of it.

use proptest::prelude::*;

use super::*;

fn mangled(text: &str) -> impl Strategy<Value = String> + use<> {
    let text: Vec<char> = text.chars().collect();
    let edits = prop::collection::vec(
        (
            0..text.len(),
            prop::sample::select(vec!['"', '[', ']', '=', '\n', 'x', '{', '.', '9']),
        ),
        1..6,
    );
    edits.prop_map(move |edits| {
        let mut text = text.clone();
        for (at, with) in edits {
            text[at] = with;
        }
        text.into_iter().collect()
    })
}

fn checked(manifest: &str) -> Result<(), TestCaseError> {
    let dir = sentiment(manifest);
    if let Err(findings) = load_sentiment(&dir) {
        prop_assert!(!findings.is_empty());
        let lines = manifest.lines().count().max(1);
        for finding in findings.iter() {
            prop_assert!(finding.line <= lines, "{}", finding);
            prop_assert!(!finding.problem.is_empty() && !finding.fix.is_empty());
            prop_assert!(
                !finding.to_string().contains(['\n', '\u{1b}']),
                "{:?}",
                finding
            );
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_text(text in any::<String>()) {
        checked(&text)?;
    }

    #[test]
    fn a_manifest_with_typing_errors(text in mangled(&include_golden("plugin-good.toml"))) {
        checked(&text)?;
    }
}

#[test]
fn deep_nesting_is_refused() {
    for text in [
        "a = ".to_owned() + &"[".repeat(100_000),
        "[config]\na = ".to_owned() + &"{a=".repeat(80_000),
    ] {
        let dir = sentiment(&text);
        load_sentiment(&dir).unwrap_err();
    }
    let dotted = format!("[config]\n{}a = 1\n", "a.".repeat(100_000));
    let dir = sentiment(&dotted);
    load_sentiment(&dir).unwrap_err();
}

#[test]
fn thousands_of_mistakes_are_cut_off_soon() {
    let manifest: String = (0..20_000).map(|n| format!("k{n} = 1\n")).collect();
    let findings = load_sentiment(&sentiment(&manifest)).unwrap_err();
    assert_eq!(findings.len(), crate::limits::MAX_FINDINGS);
}
