//! How long a scenario runs, and which faults it makes.
//!
//! `MISTERSMITH_SOAK_SECONDS` is the time of all scenarios together, of which each gets its share,
//! `MISTERSMITH_SOAK_SEED` the seed, `MISTERSMITH_SOAK_TABLE` the file for the accounts.

use std::io::Write as _;
use std::ops::Range;
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};

use super::account::{Account, HEADS};

/// Scenarios that share the time of a soak.
const SHARES: u64 = 16;
/// Most seconds of a soak: a day.
const MOST: u64 = 24 * 60 * 60;

#[derive(Debug)]
pub(super) struct Pace {
    name: &'static str,
    /// How long items are offered.
    pub(super) span: Duration,
    pub(super) seed: u64,
    random: SmallRng,
    begun: Instant,
}

impl Pace {
    /// The pace of a scenario that takes so many seconds in its short form.
    pub(super) fn of(name: &'static str, short: u64) -> Self {
        let total = number("MISTERSMITH_SOAK_SECONDS").map(|seconds| seconds.min(MOST));
        let seed = number("MISTERSMITH_SOAK_SEED").unwrap_or(1);
        let span = total.map_or(short, |total| (total / SHARES).max(short));
        Self {
            name,
            span: Duration::from_secs(span),
            seed,
            random: SmallRng::seed_from_u64(seed),
            begun: Instant::now(),
        }
    }

    /// Whether this is a soak, in which faults may take long.
    pub(super) fn is_long(&self) -> bool {
        self.span > Duration::from_secs(30)
    }

    /// Whether the time of the scenario is not over yet.
    pub(super) fn goes_on(&self) -> bool {
        self.begun.elapsed() < self.span
    }

    pub(super) fn below(&mut self, end: usize) -> usize {
        self.random.random_range(0..end)
    }

    /// Lets a time pass that is drawn from these milliseconds: the fault or the pause itself.
    pub(super) async fn pause(&mut self, milliseconds: Range<u64>) {
        let time = Duration::from_millis(self.random.random_range(milliseconds));
        tokio::time::sleep(time).await;
    }

    /// Reports the account.
    ///
    /// # Panics
    /// When anything is wrong in it.
    pub(super) fn close(&self, account: &Account) {
        let seconds = self.begun.elapsed().as_secs();
        let row = format!(
            "{:<25}{account}   {seconds} s, seed {}",
            self.name, self.seed
        );
        println!("{row}");
        if let Some(table) = std::env::var_os("MISTERSMITH_SOAK_TABLE") {
            let file = std::fs::OpenOptions::new()
                .create(true)
                .append(true)
                .open(table);
            let mut file = file.unwrap();
            let heads = match file.metadata().unwrap().len() {
                0 => format!("{HEADS}\n"),
                _ => String::new(),
            };
            // One write, because scenarios may end at the same time.
            file.write_all(format!("{heads}{row}\n").as_bytes())
                .unwrap();
        }
        assert!(
            account.wrong.is_empty(),
            "{HEADS}\n{row}\n{:#?}",
            account.wrong
        );
    }
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable)
        .ok()
        .filter(|text| !text.is_empty())?;
    let number = text.parse();
    Some(number.unwrap_or_else(|error| panic!("{variable} is {text:?}: {error}")))
}
