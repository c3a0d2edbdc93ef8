//! Fuzzing on the stable toolchain: the entries of a corpus, and random changes of them.
//!
//! `cargo test` replays the corpus and tries a few hundred changes; `make fuzz` goes on for as many
//! seconds as `MISTERSMITH_FUZZ_SECONDS` says. An input that fails is made small and written into
//! the corpus, so that it is replayed from then on. The seed is printed and can be given again
//! (`MISTERSMITH_SEED`).

mod change;
mod watchdog;

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use proptest::strategy::Strategy as _;
use proptest::test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner};

use crate::package;
use watchdog::Watchdog;

/// How many changed inputs are tried where no time is given.
const CASES: u32 = 300;

/// Checks every entry of the corpus `fuzz/<target>` of the package whose test runs, then changed
/// ones. `words` are put in here and there: what the input's language is made of. A check fails by
/// a panic, or when it takes more than 30 s.
///
/// # Panics
/// When the check fails, or there is no corpus.
pub fn fuzz(target: &str, words: &[&str], check: impl Fn(&[u8])) {
    let folder = package("fuzz").join(target);
    let corpus = read(&folder);
    let watchdog = Watchdog::start(&folder);
    let guarded = |input: &[u8]| watchdog.guard(input, || check(input));
    for (path, input) in &corpus {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| guarded(input))) {
            println!("the entry {} fails", path.display());
            resume_unwind(panic);
        }
    }
    let seed = std::env::var("MISTERSMITH_SEED").ok();
    let seed: u64 = seed.map_or_else(random, |seed| seed.parse().expect("a number"));
    println!("MISTERSMITH_SEED={seed}");
    let entries: Vec<Vec<u8>> = corpus.into_iter().map(|(_, input)| input).collect();
    let words: Vec<Vec<u8>> = words.iter().map(|word| word.as_bytes().to_vec()).collect();
    let inputs = change::inputs(entries, words);
    let mut runner = runner(seed);
    let (end, cases) = bounds();
    let mut tried: u64 = 0;
    while tried < cases && end.is_none_or(|end| Instant::now() < end) {
        tried += 1;
        let case = inputs.new_tree(&mut runner).expect("an input");
        let ran = runner.run_one(case, |input| {
            guarded(&input);
            Ok(())
        });
        if let Err(TestError::Fail(reason, input)) = ran {
            let file = keep(&folder, "failed", &input);
            panic!(
                "{reason}\nwith MISTERSMITH_SEED={seed}; the input is kept in {}:\n{}",
                file.display(),
                String::from_utf8_lossy(&input)
            );
        }
    }
    println!("{target}: {tried} inputs");
}

/// When to stop, and how many cases to try.
fn bounds() -> (Option<Instant>, u64) {
    match std::env::var("MISTERSMITH_FUZZ_SECONDS") {
        Ok(seconds) => {
            let seconds = Duration::from_secs(seconds.parse().expect("a number of seconds"));
            (Some(Instant::now() + seconds), u64::MAX)
        }
        Err(_) => (None, CASES.into()),
    }
}

fn runner(seed: u64) -> TestRunner {
    let config = Config {
        failure_persistence: None,
        max_shrink_time: 30_000,
        ..Config::default()
    };
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    TestRunner::new_with_rng(config, rng)
}

/// A number that no run had before.
fn random() -> u64 {
    let now = std::time::SystemTime::now();
    let since = now.duration_since(std::time::UNIX_EPOCH);
    let mut hasher = DefaultHasher::new();
    (std::process::id(), since.ok()).hash(&mut hasher);
    hasher.finish() % 1_000_000_000
}

/// The entries of a corpus by name, so that every run has them in the same order.
fn read(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let files = std::fs::read_dir(folder).unwrap_or_else(|error| {
        panic!(
            "{}: {error}: a corpus has an entry at least",
            folder.display()
        )
    });
    let mut paths: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    paths.sort();
    let read = |path: PathBuf| {
        let input = std::fs::read(&path).unwrap();
        (path, input)
    };
    paths.into_iter().map(read).collect()
}

/// Writes an input into the corpus, under a name that its content gives it.
fn keep(folder: &Path, why: &str, input: &[u8]) -> PathBuf {
    let mut hasher = DefaultHasher::new();
    input.hash(&mut hasher);
    let file = folder.join(format!("{why}-{:016x}", hasher.finish()));
    std::fs::write(&file, input).expect("it can be written");
    file
}
