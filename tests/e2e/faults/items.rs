//! The items that scenarios offer: work of several lengths and ends, and workflows of two stages.

use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};

/// The intended end of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Intent {
    Done,
    Dead,
}

/// The stored outputs of an item.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) subject: String,
    pub(super) payload: String,
    pub(super) intent: Intent,
}

const PRIORITIES: [&str; 5] = ["critical.", "high.", "normal.", "low.", ""];

impl Item {
    /// The item of that number; the same for the same seed.
    pub(super) fn number(number: u64, seed: u64, id: &str) -> Self {
        let mut random = SmallRng::seed_from_u64(seed.wrapping_mul(1_000_003).wrapping_add(number));
        if number.is_multiple_of(4) {
            return Self {
                subject: format!("pipeline.{id}.01.read"),
                payload: "{}".to_owned(),
                intent: Intent::Done,
            };
        }
        let (command, intent) = command(&mut random, id);
        Self {
            subject: format!("work.lab.{}x", PRIORITIES[random.random_range(0..5)]),
            payload: command.to_string(),
            intent,
        }
    }
}

fn command(random: &mut SmallRng, id: &str) -> (Value, Intent) {
    let command = match random.random_range(0..100) {
        0..3 => {
            return (
                json!({"do": "fail_reject", "message": "on purpose"}),
                Intent::Dead,
            );
        }
        3..7 => json!({"do": "fail_times", "n": 1}),
        7..25 => json!({"do": "sleep", "ms": random.random_range(10..150), "how": "wait"}),
        25..27 => json!({"do": "sleep", "ms": 1000, "how": "wait"}),
        _ => json!({"do": "echo", "value": id}),
    };
    (command, Intent::Done)
}
