//! Counts the words, lines and characters of texts, names the most frequent words, and keeps
//! totals that all agents of all hosts share, by compare-and-swap.
//!
//! Work comes at least once, so a text that is delivered again after a crash is counted again.

mod count;

use count::{Count, Totals, count};
use mistersmith_sdk::kv::Bucket;
use mistersmith_sdk::{Agent, Message, Reply, Result, Work, context, export_agent, log};
use serde::{Deserialize, Serialize};

const BUCKET: Bucket = Bucket::new("WORD_COUNT");
const KEY: &str = "totals";

#[derive(Deserialize)]
struct WordCount {
    /// How many of the most frequent words to tell.
    #[serde(default = "five")]
    top: usize,
}

fn five() -> usize {
    5
}

#[derive(Deserialize)]
struct Input {
    text: String,
    id: Option<String>,
}

#[derive(Serialize)]
struct Output<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(flatten)]
    count: Count<'a>,
    totals: Totals,
}

impl Agent for WordCount {
    fn start() -> Result<Self> {
        Ok(context::config()?)
    }

    /// Counts a text, plain or as `{"text": "…"}`. An `id` beside `text` comes back, so that
    /// whoever collects results knows which text each is about.
    fn work(&mut self, item: &Work) -> Result<Reply> {
        let Input { text, id } = if item.is_json() {
            item.json()?
        } else {
            Input {
                text: item.text()?.to_owned(),
                id: None,
            }
        };
        let text = text.to_lowercase();
        let count = count(&text, self.top);
        let totals = BUCKET.update_with(KEY, |totals: Option<Totals>| {
            totals.unwrap_or_default().plus(&count)
        })?;
        log::debug!(words = count.words; "text number {}", totals.texts);
        Reply::json(&Output { id, count, totals })
    }

    /// Tells the totals.
    fn execute(&mut self, _: &Message) -> Result<Reply> {
        let totals = BUCKET.get_json::<Totals>(KEY)?;
        Reply::json(&totals.map(|(totals, _)| totals).unwrap_or_default())
    }

    fn configuration(&mut self) -> Result<()> {
        *self = Self::start()?;
        Ok(())
    }
}

export_agent!(WordCount);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use super::*;
    use mistersmith_sdk::mock::{Bus, Call};
    use mistersmith_sdk::{CallError, json};

    const SUBJECT: &str = "work.data.normal.wordcount";

    #[test]
    fn counts_plain_text_and_json() {
        let bus = Bus::new().with_config(json!({"top": 2}));
        let mut agent = bus.start::<WordCount>().unwrap();
        let counted = agent.work(SUBJECT, "To be, or not\nto be").unwrap();
        let expected = json!({
            "words": 6, "lines": 2, "characters": 19,
            "top": [{"word": "be", "count": 2}, {"word": "to", "count": 2}],
            "totals": {"texts": 1, "words": 6, "lines": 2, "characters": 19},
        });
        assert_eq!(counted.to_value(), expected);
        let counted = agent.work(SUBJECT, json!({"text": "that is the question", "id": "q"}));
        let totals = json!({"texts": 2, "words": 10, "lines": 3, "characters": 39});
        let counted = counted.unwrap().to_value();
        assert_eq!((&counted["totals"], &counted["id"]), (&totals, &json!("q")));
        assert_eq!(agent.execute("").unwrap().to_value(), totals);
    }

    #[test]
    fn rejects_what_is_no_text() {
        let mut agent = Bus::new().start::<WordCount>().unwrap();
        for bad in [&b"{\"text\": 1}"[..], b"{", b"\xff"] {
            assert!(agent.work(SUBJECT, bad).unwrap_err().is_reject());
        }
    }

    #[test]
    fn totals_of_nothing_are_zero() {
        let mut agent = Bus::new().start::<WordCount>().unwrap();
        assert_eq!(agent.execute("").unwrap().to_value()["texts"], 0);
    }

    #[test]
    fn the_configuration_can_change() {
        let mut agent = Bus::new().start::<WordCount>().unwrap();
        assert_eq!(agent.agent().top, 5);
        agent.configure(json!({"top": 1}));
        let counted = agent.work(SUBJECT, "a b c").unwrap().to_value();
        assert_eq!(counted["top"], json!([{"word": "a", "count": 1}]));
    }

    #[test]
    fn no_text_is_lost_when_many_agents_count() {
        let bus = Bus::new();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let mut agent = bus.start::<WordCount>().unwrap();
                    for _ in 0..25 {
                        agent.work(SUBJECT, "one two three").unwrap();
                    }
                });
            }
        });
        let totals: Totals =
            mistersmith_sdk::serde_json::from_slice(&bus.value("WORD_COUNT", KEY).unwrap())
                .unwrap();
        assert_eq!((totals.texts, totals.words), (200, 600));
    }

    #[test]
    fn a_store_that_is_away_asks_to_try_again() {
        let bus = Bus::new();
        let mut agent = bus.start::<WordCount>().unwrap();
        bus.fail(Call::KvGet, CallError::Unavailable("no connection".into()));
        let error = agent.work(SUBJECT, "text").unwrap_err();
        assert!(!error.is_reject());
        bus.deny_keys("WORD_COUNT", ">");
        assert!(agent.work(SUBJECT, "text").is_err());
        assert_eq!(bus.value("WORD_COUNT", KEY), None);
    }
}
