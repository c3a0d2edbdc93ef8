//! Scores the sentiment of English texts by a lexicon: work in the domain `nlp`, task `sentiment`,
//! or `cmd.execute`. Takes plain text or `{"text": "…"}`, replies `{"label": "positive", "score":
//! 0.62, "sentences": 3, "positive": 4, "negative": 1}`. An `id` beside `text` comes back, so that
//! whoever collects results knows which text each is about.

mod lexicon;
mod score;
mod words;

use lexicon::Lexicon;
use mistersmith_sdk::{Agent, Message, Reply, Result, Work, export_agent};
use score::Score;
use serde::{Deserialize, Serialize};

struct Sentiment {
    lexicon: Lexicon,
}

#[derive(Deserialize)]
struct Input {
    text: String,
    id: Option<String>,
}

#[derive(Serialize)]
struct Output {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(flatten)]
    score: Score,
}

impl Agent for Sentiment {
    fn start() -> Result<Self> {
        Ok(Self {
            lexicon: Lexicon::english()?,
        })
    }

    fn work(&mut self, item: &Work) -> Result<Reply> {
        self.execute(item)
    }

    fn execute(&mut self, message: &Message) -> Result<Reply> {
        let input = if message.is_json() {
            message.json()?
        } else {
            Input {
                text: message.text()?.to_owned(),
                id: None,
            }
        };
        Reply::json(&Output {
            id: input.id,
            score: score::score(&self.lexicon, &input.text),
        })
    }
}

export_agent!(Sentiment);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use super::*;
    use mistersmith_sdk::json;
    use mistersmith_sdk::mock::Bus;

    #[test]
    fn takes_plain_text_and_json() {
        let mut agent = Bus::new().start::<Sentiment>().unwrap();
        let expected = json!({
            "label": "positive", "score": 0.6369, "sentences": 1, "positive": 1, "negative": 0,
        });
        let text = "I love this.";
        let subject = "work.nlp.high.sentiment";
        for reply in [
            agent.work(subject, text),
            agent.work(subject, json!({"text": text})),
            agent.execute(text),
            agent.execute(json!({"text": text})),
        ] {
            assert_eq!(reply.unwrap().to_value(), expected);
        }
        let named = agent.work(subject, json!({"text": text, "id": "a/1"}));
        assert_eq!(named.unwrap().to_value()["id"], "a/1");
    }

    #[test]
    fn rejects_what_is_no_text() {
        let mut agent = Bus::new().start::<Sentiment>().unwrap();
        for bad in [&b"{\"text\": 1}"[..], b"{}", b"{ broken", b"\xff"] {
            let error = agent.work("work.nlp.sentiment", bad).unwrap_err();
            assert!(error.is_reject(), "{error}");
        }
    }
}
