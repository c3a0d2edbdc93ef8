//! The account of a scenario: what became of every item that was offered.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::items::Intent;

/// The items offered to the streams.
#[derive(Debug, Default)]
pub(super) struct Offered {
    /// A stream has acknowledged these.
    pub(super) sure: BTreeMap<String, Intent>,
    /// No answer came for these: they may or may not be stored.
    pub(super) unsure: BTreeSet<String>,
}

/// The ends found afterwards, by the id of the item.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// One entry for each result.
    pub(super) results: Vec<String>,
    /// One entry for each dead letter, with its error.
    pub(super) letters: Vec<(String, String)>,
    /// Items that are still stored.
    pub(super) left: BTreeSet<String>,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) offered: usize,
    pub(super) done: usize,
    /// Dead letters, intended or not.
    pub(super) dead: usize,
    /// Items with more than one result.
    pub(super) duplicated: usize,
    /// Acknowledged items without a result and a dead letter that are no longer stored.
    pub(super) lost: usize,
    pub(super) left: usize,
    /// Offers that nobody acknowledged.
    pub(super) unsure: usize,
    /// The mistakes, item by item.
    pub(super) wrong: Vec<String>,
}

impl Account {
    pub(super) fn of(offered: &Offered, found: &Found) -> Self {
        let mut results: BTreeMap<&str, usize> = BTreeMap::new();
        for id in &found.results {
            *results.entry(id).or_default() += 1;
        }
        let letters: BTreeMap<&str, &str> = found
            .letters
            .iter()
            .map(|(id, error)| (id.as_str(), error.as_str()))
            .collect();
        let mut account = Self {
            offered: offered.sure.len(),
            unsure: offered.unsure.len(),
            ..Self::default()
        };
        for (id, count) in &results {
            if *count > 1 {
                account.duplicated += 1;
                account.wrong.push(format!("{id} has {count} results"));
            }
        }
        for id in results.keys().chain(letters.keys()) {
            if !offered.sure.contains_key(*id) && !offered.unsure.contains(*id) {
                account.wrong.push(format!("{id} was never offered"));
            }
        }
        for (id, intent) in &offered.sure {
            let done = results.contains_key(id.as_str());
            let letter = letters.get(id.as_str());
            account.enter(id, *intent, done, letter.copied());
            if !done && letter.is_none() {
                account.miss(id, found);
            }
        }
        account
    }

    /// Enters an item that has a result, a letter, or neither.
    fn enter(&mut self, id: &str, intent: Intent, done: bool, letter: Option<&str>) {
        self.done += usize::from(done);
        self.dead += usize::from(!done && letter.is_some());
        match (done, letter, intent) {
            (true, Some(error), _) => {
                let both = format!("{id} has a result and a dead letter: {error}");
                self.wrong.push(both);
            }
            (true, None, Intent::Dead) => {
                self.wrong
                    .push(format!("{id} was to fail and has a result"));
            }
            (false, Some(error), Intent::Done) => {
                self.wrong.push(format!("{id} is a dead letter: {error}"));
            }
            _ => {}
        }
    }

    fn miss(&mut self, id: &str, found: &Found) {
        if found.left.contains(id) {
            self.left += 1;
            self.wrong.push(format!("{id} is still stored"));
        } else {
            self.lost += 1;
            self.wrong.push(format!("{id} is lost"));
        }
    }
}

/// The heads of the columns of an account.
pub(super) const HEADS: &str =
    "                         offered    done    dead  duplicated  lost  left  unacknowledged";

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:>7} {:>7} {:>7} {:>11} {:>5} {:>5} {:>15}",
            self.offered, self.done, self.dead, self.duplicated, self.lost, self.left, self.unsure
        )
    }
}

#[test]
fn every_item_is_entered_once_and_what_is_wrong_is_named() {
    let sure = |items: &[(&str, Intent)]| {
        let items = items.iter().map(|(id, intent)| ((*id).to_owned(), *intent));
        items.collect::<BTreeMap<_, _>>()
    };
    let offered = Offered {
        sure: sure(&[
            ("done", Intent::Done),
            ("twice", Intent::Done),
            ("dead", Intent::Dead),
            ("given-up", Intent::Done),
            ("left", Intent::Done),
            ("lost", Intent::Done),
            ("survived", Intent::Dead),
            ("both", Intent::Done),
        ]),
        unsure: BTreeSet::from(["maybe".to_owned(), "never".to_owned()]),
    };
    let found = Found {
        results: [
            "done", "twice", "twice", "survived", "both", "maybe", "alien",
        ]
        .map(str::to_owned)
        .to_vec(),
        letters: ["dead", "given-up", "both"]
            .map(|id| (id.to_owned(), "why".to_owned()))
            .to_vec(),
        left: BTreeSet::from(["left".to_owned()]),
    };
    let account = Account::of(&offered, &found);
    let wrong = [
        "twice has 2 results",
        "alien was never offered",
        "both has a result and a dead letter: why",
        "given-up is a dead letter: why",
        "left is still stored",
        "lost is lost",
        "survived was to fail and has a result",
    ];
    assert_eq!(
        account,
        Account {
            offered: 8,
            done: 4,
            dead: 2,
            duplicated: 1,
            lost: 1,
            left: 1,
            unsure: 2,
            wrong: wrong.map(str::to_owned).to_vec(),
        }
    );
    assert_eq!(account.to_string().len(), HEADS.len() - 25);
}
