//! Our matching of subjects is that of the server: what a grant allows must be what it delivers.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::stream::select_all;
use futures_util::{FutureExt, StreamExt};
use mistersmith::names::subject::{covers, matches, overlaps};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use tokio::task::unconstrained;

use crate::harness::{Nats, Outside, within};

/// Which of the subjects each pattern receives from the server.
async fn delivered(
    nats: &Outside,
    patterns: &[String],
    subjects: &[String],
) -> BTreeMap<String, BTreeSet<String>> {
    let mut streams = Vec::new();
    for (place, pattern) in patterns.iter().enumerate() {
        let messages = nats.client.subscribe(pattern.clone()).await.unwrap();
        streams.push(messages.map(move |message| (place, message.subject.to_string())));
    }
    let mut all = select_all(streams);
    // One connection delivers in order: when the last message has come back, all have.
    let end = nats.client.new_inbox();
    let mut ends = nats.client.subscribe(end.clone()).await.unwrap();
    for subject in subjects {
        let sent = nats.client.publish(subject.clone(), "".into()).await;
        sent.unwrap();
    }
    nats.client.publish(end, "".into()).await.unwrap();
    within("the last message", ends.next()).await;
    let mut heard: BTreeMap<String, BTreeSet<String>> = patterns
        .iter()
        .map(|pattern| (pattern.clone(), BTreeSet::new()))
        .collect();
    // Unconstrained: tokio would have a task that is busy for long say that nothing is there.
    while let Some(Some((place, subject))) = unconstrained(all.next()).now_or_never() {
        // `>` hears the last message as well.
        if subjects.contains(&subject) {
            heard.get_mut(&patterns[place]).unwrap().insert(subject);
        }
    }
    heard
}

/// All words of one to that many of these tokens.
fn words(tokens: &[&str], most: usize) -> Vec<String> {
    let mut all: Vec<String> = tokens.iter().map(ToString::to_string).collect();
    let mut last = all.clone();
    for _ in 1..most {
        let longer = |word: &String| -> Vec<String> {
            let with = |token: &&str| format!("{word}.{token}");
            tokens.iter().map(with).collect()
        };
        last = last.iter().flat_map(longer).collect();
        all.extend(last.iter().cloned());
    }
    all
}

#[tokio::test]
async fn small_patterns_match_cover_and_overlap_as_the_server_delivers() {
    let nats = Nats::start().await;
    // A token that no pattern names, and one token more than patterns have, decide every case.
    let subjects = words(&["a", "b", "c"], 4);
    let mut patterns = words(&["a", "b", "*"], 3);
    let open = words(&["a", "b", "*"], 2);
    patterns.extend(open.iter().map(|word| format!("{word}.>")));
    patterns.push(">".to_owned());
    let heard = delivered(&nats, &patterns, &subjects).await;
    assert_eq!(heard.len(), 52);
    for (pattern, got) in &heard {
        let ours = subjects.iter().filter(|subject| matches(pattern, subject));
        let ours: BTreeSet<String> = ours.cloned().collect();
        assert_eq!(*got, ours, "what {pattern:?} matches");
        for (other, theirs) in &heard {
            let inside = theirs.is_subset(got);
            assert_eq!(
                covers(pattern, other),
                inside,
                "{pattern:?} covers {other:?}"
            );
            let apart = theirs.is_disjoint(got);
            assert_eq!(
                overlaps(pattern, other),
                !apart,
                "{pattern:?} overlaps {other:?}"
            );
        }
    }
}

#[tokio::test]
async fn any_pattern_matches_as_the_server_delivers() {
    const CASES: usize = 40;
    let nats = Nats::start().await;
    // Wildcards that are only a part of a token are none.
    let token = r"[a-c]|[A-Za-z0-9_-]{1,4}|a\*|\*b|>c|é|\$x";
    let subject = format!(r"(({token})\.){{0,6}}({token})");
    let pattern = format!(r"(({token}|\*)\.){{0,6}}({token}|\*|>)");
    let cases = (
        prop::collection::vec(pattern.as_str(), 1..12),
        prop::collection::vec(subject.as_str(), 1..30),
    );
    let mut runner = TestRunner::default();
    for _ in 0..CASES {
        let (patterns, subjects) = cases.new_tree(&mut runner).unwrap().current();
        let client = nats.another().await;
        let heard = delivered(&client, &patterns, &subjects).await;
        for pattern in &patterns {
            for subject in &subjects {
                let got = heard[pattern].contains(subject);
                assert_eq!(
                    matches(pattern, subject),
                    got,
                    "{pattern:?} matches {subject:?}"
                );
            }
        }
    }
}
