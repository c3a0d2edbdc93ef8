//! What is a subject, and the laws of matching, covering and overlapping.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use proptest::prelude::*;

use super::*;

#[test]
fn literal_subjects() {
    let long = "s".repeat(255);
    for good in [
        "a",
        "a.b",
        "work.nlp.high.x",
        "A_b-c",
        "ä.ö",
        "foo*",
        "a.b>c",
        "$x",
        &long,
    ] {
        Subject::check(good).unwrap();
    }
    let longer = "s".repeat(256);
    let bad = [
        "",
        ".",
        "a.",
        ".a",
        "a..b",
        "*",
        ">",
        "a.*",
        "a.>",
        "*.a",
        "a b",
        "a\tb",
        "a\r\nPUB x 0\r\n",
        "a\0",
        "\u{7f}",
        "a\u{a0}b",
        "a\u{2028}b",
        "a\u{85}",
        &longer,
    ];
    for subject in bad {
        assert!(Subject::check(subject).is_err(), "{subject:?}");
    }
}

#[test]
fn patterns() {
    for good in [">", "*", "a.*", "a.>", "*.*.>", "a.*.b"] {
        SubjectPattern::check(good).unwrap();
    }
    for bad in ["", "a.>.b", ">.", ">.>", "a..>", "a. *", "a.>\n"] {
        assert!(SubjectPattern::check(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn matching() {
    for (pattern, subject, expected) in [
        ("foo", "foo", true),
        ("foo", "foo.bar", false),
        ("foo.*", "foo.bar", true),
        ("foo.*", "foo", false),
        ("foo.*", "foo.bar.baz", false),
        ("foo.>", "foo.bar", true),
        ("foo.>", "foo.bar.baz", true),
        ("foo.>", "foo", false),
        (">", "a.b.c", true),
        ("*.b.*", "a.b.c", true),
        ("foo*", "foobar", false),
        ("foo*", "foo*", true),
    ] {
        assert_eq!(matches(pattern, subject), expected, "{pattern} {subject}");
    }
}

/// After nats-server's `TestIsSubsetMatch`, and what its permission check gets wrong.
#[test]
fn covering() {
    for (grant, pattern, expected) in [
        (">", "foo.*", true),
        ("*.*", "foo.*", true),
        ("foo.*", "foo.*", true),
        ("foo.bar", "foo.*", false),
        (">", "foo.>", true),
        ("*.>", "foo.>", true),
        ("foo.>", "foo.>", true),
        ("foo.bar", "foo.>", false),
        ("foo.*", "foo.>", false),
        ("foo.>", "foo.*", true),
        ("foo.>", "foo", false),
        ("foo.*.>", "foo.>", false),
        ("foo.>", "foo.*.>", true),
        ("*", ">", false),
        ("agent.a1.>", "agent.*.x", false),
        ("agent.*.x", "agent.a1.x", true),
    ] {
        assert_eq!(covers(grant, pattern), expected, "{grant} {pattern}");
    }
}

/// After nats-server's `TestSublistSubjectCollide`.
#[test]
fn overlapping() {
    for (a, b, expected) in [
        ("foo.*", "foo.*.bar.>", false),
        ("foo.*", "foo.foo", true),
        ("foo.*", "*.foo", true),
        ("foo.bar.>", "*.bar.foo", true),
        ("foo.>", "foo", false),
        ("foo.>", "foo.*", true),
        (">", "a.b", true),
        ("a.*.c", "a.b.*", true),
        ("a.*.c", "a.b.d", false),
    ] {
        assert_eq!(overlaps(a, b), expected, "{a} {b}");
        assert_eq!(overlaps(b, a), expected, "{b} {a}");
    }
}

fn literal() -> impl Strategy<Value = String> {
    "([abc]\\.){0,3}[abc]"
}

fn pattern() -> impl Strategy<Value = String> {
    "([ab*]\\.){0,3}([ab*]|>)"
}

/// Every literal subject of at most five tokens over the letters of `pattern()` and one more.
fn universe() -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    let mut last = vec![String::new()];
    for _ in 0..5 {
        let longer = |s: &String| ["a", "b", "c"].map(|t| format!("{s}.{t}"));
        last = last.iter().flat_map(longer).collect();
        all.extend(last.iter().map(|s| s.trim_start_matches('.').to_owned()));
    }
    all
}

proptest! {
    #[test]
    fn a_literal_matches_only_itself(a in literal(), b in literal()) {
        prop_assert_eq!(matches(&a, &b), a == b);
    }

    #[test]
    fn what_is_covered_is_matched(grant in pattern(), pattern in pattern(), subject in literal()) {
        if covers(&grant, &pattern) && matches(&pattern, &subject) {
            prop_assert!(matches(&grant, &subject));
        }
    }

    /// The definitions, decided by trying every subject that could tell the patterns apart.
    #[test]
    fn covers_and_overlaps_are_what_they_say(a in pattern(), b in pattern()) {
        let all = universe();
        let subset = all.iter().all(|s| !matches(&b, s) || matches(&a, s));
        prop_assert_eq!(covers(&a, &b), subset, "{} covers {}", a, b);
        let common = all.iter().any(|s| matches(&a, s) && matches(&b, s));
        prop_assert_eq!(overlaps(&a, &b), common, "{} overlaps {}", a, b);
    }

    #[test]
    fn covering_is_an_order(a in pattern(), b in pattern(), c in pattern()) {
        prop_assert!(covers(&a, &a));
        if covers(&a, &b) && covers(&b, &a) {
            prop_assert_eq!(&a, &b);
        }
        if covers(&a, &b) && covers(&b, &c) {
            prop_assert!(covers(&a, &c));
        }
    }

    #[test]
    fn a_covered_pattern_overlaps(a in pattern(), b in pattern()) {
        prop_assert_eq!(overlaps(&a, &b), overlaps(&b, &a));
        if covers(&a, &b) {
            prop_assert!(overlaps(&a, &b));
        }
    }

    /// Whatever a guest passes, the functions answer, and what is accepted cannot break a protocol
    /// line.
    #[test]
    fn hostile_text_is_answered(text in any::<String>(), other in any::<String>()) {
        matches(&text, &other);
        covers(&text, &other);
        overlaps(&text, &other);
        if Subject::check(&text).is_ok() {
            prop_assert!(!text.contains([' ', '\t', '\r', '\n', '\0']));
            prop_assert!(SubjectPattern::check(&text).is_ok());
            prop_assert!(matches(&text, &text));
        }
    }
}
