//! The host's own matching of subjects, against the server's: where they disagreed, a grant would
//! open something else than what it says.

use std::collections::BTreeSet;

use futures_util::StreamExt;
use mistersmith_core::names::subject::{covers, matches, overlaps};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use harness::{Nats, Outside};

/// Few words, so that patterns and subjects meet often.
const WORDS: &[&str] = &["a", "b", "ab", "A"];

fn subject() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(WORDS), 1..5).prop_map(|tokens| tokens.join("."))
}

fn pattern(words: &'static [&'static str]) -> impl Strategy<Value = String> {
    let token = prop_oneof![3 => prop::sample::select(words), 2 => Just("*")];
    let ends_open = prop::bool::weighted(0.3);
    (prop::collection::vec(token, 1..5), ends_open).prop_map(|(mut tokens, open)| {
        if open {
            tokens.push(">");
        }
        tokens.join(".")
    })
}

/// Different values of a strategy.
fn sample(strategy: impl Strategy<Value = String>, count: usize) -> Vec<String> {
    let mut runner = TestRunner::deterministic();
    let mut found = BTreeSet::new();
    while found.len() < count {
        found.insert(strategy.new_tree(&mut runner).unwrap().current());
    }
    found.into_iter().collect()
}

/// Which subjects the server delivers to a subscription on each pattern.
async fn delivered(
    nats: &Outside,
    patterns: &[String],
    subjects: &[String],
) -> Vec<BTreeSet<String>> {
    const END: &str = "end.of.test";
    let mut listening = Vec::new();
    for pattern in patterns {
        listening.push(nats.client.subscribe(pattern.clone()).await.unwrap());
    }
    let mut end = nats.client.subscribe(END).await.unwrap();
    for subject in subjects {
        nats.client
            .publish(subject.clone(), "".into())
            .await
            .unwrap();
    }
    nats.client.publish(END, "".into()).await.unwrap();
    end.next().await.unwrap();
    let mut heard = Vec::new();
    for mut subscription in listening {
        subscription.unsubscribe().await.unwrap();
        let messages: Vec<String> = subscription
            .map(|message| message.subject.to_string())
            .collect()
            .await;
        heard.push(
            messages
                .into_iter()
                .filter(|subject| subject != END)
                .collect(),
        );
    }
    heard
}

#[tokio::test]
async fn the_host_and_the_server_match_alike() {
    let nats = Nats::options().without_jetstream().start().await;
    let subjects = sample(subject(), 300);
    let patterns = sample(pattern(WORDS), 400);
    let heard = delivered(&nats, &patterns, &subjects).await;
    for (pattern, heard) in patterns.iter().zip(&heard) {
        let ours: BTreeSet<String> = subjects
            .iter()
            .filter(|subject| matches(pattern, subject))
            .cloned()
            .collect();
        assert_eq!(ours, *heard, "{pattern}");
    }
    assert!(
        heard.iter().any(|heard| heard.len() > 50),
        "the sample says something"
    );

    // What covers a pattern hears all that it hears; what overlaps it, some of it. The sample of
    // subjects is only a sample: it can refute, and the words are few enough that it does.
    for (one, heard_by_one) in patterns.iter().zip(&heard) {
        for (other, heard_by_other) in patterns.iter().zip(&heard) {
            if covers(one, other) {
                assert!(
                    heard_by_one.is_superset(heard_by_other),
                    "{one} is said to cover {other}"
                );
                assert!(overlaps(one, other), "{one} covers {other}");
            }
            if !overlaps(one, other) {
                let both = heard_by_one.intersection(heard_by_other).next();
                assert_eq!(
                    both, None,
                    "{one} and {other} are said to have nothing in common"
                );
            }
        }
    }
}

/// The words of the exhaustive check, and one that no pattern has.
const TWO: &[&str] = &["a", "b"];
const THREE: &[&str] = &["a", "b", "other"];

/// Every subject of one to six tokens out of three words: beyond the longest pattern, and beyond
/// its words, nothing new can happen.
fn everything() -> impl Iterator<Item = String> {
    let words = THREE.len();
    (1..=6u32).flat_map(move |length| {
        (0..words.pow(length)).map(move |number| {
            let token = |place: u32| THREE[number / words.pow(place) % words];
            (0..length).map(token).collect::<Vec<_>>().join(".")
        })
    })
}

proptest! {
    /// A claim about patterns, checked against every subject that it is about.
    #[test]
    fn covering_and_overlapping_mean_what_they_say(one in pattern(TWO), other in pattern(TWO)) {
        let (mut all_covered, mut any_shared) = (true, false);
        for subject in everything() {
            let (by_one, by_other) = (matches(&one, &subject), matches(&other, &subject));
            all_covered &= by_one || !by_other;
            any_shared |= by_one && by_other;
        }
        prop_assert_eq!(overlaps(&one, &other), any_shared, "{} {}", one, other);
        prop_assert_eq!(covers(&one, &other), all_covered, "{} {}", one, other);
    }
}
