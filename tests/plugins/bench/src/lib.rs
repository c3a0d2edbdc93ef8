//! Does what the last word of the subject says, and as little else as an agent can: so a benchmark
//! measures the host and not the agent.
//!
//! - `count`, and `test` of a subscription: counts the message. A payload that begins with `?` asks how many there were since the
//!   last time it was asked; the reply is the number.
//! - `publish`: publishes the payload on `bench.out`.
//! - `get`: reads the key `value` of the bucket `BENCH`.
//! - `spin`: computes for as many milliseconds as the payload says.
//! - `flood`: publishes on `bench.out` for as many milliseconds as the payload says.
//! - anything else: replies the payload.

use std::time::{Duration, Instant};

use mistersmith_sdk::kv::Bucket;
use mistersmith_sdk::{
    Agent, Error, Message, Question, Reply, Result, Stage, Work, export_agent, messaging,
};

/// Where it publishes.
const OUT: &str = "bench.out";

struct Bench {
    counted: u64,
    bucket: Bucket,
}

impl Agent for Bench {
    fn start() -> Result<Self> {
        Ok(Self {
            counted: 0,
            bucket: Bucket::named("BENCH"),
        })
    }

    fn execute(&mut self, message: &Message) -> Result<Reply> {
        let payload = message.payload();
        match message.subject().rsplit('.').next() {
            Some("count") => Ok(self.count(payload)),
            Some("publish") => {
                messaging::publish(OUT, payload)?;
                Ok(Reply::none())
            }
            Some("get") => {
                self.bucket.get("value")?;
                Ok(Reply::none())
            }
            Some("spin") => {
                let end = Instant::now() + time(message)?;
                while Instant::now() < end {
                    std::hint::spin_loop();
                }
                Ok(Reply::none())
            }
            Some("flood") => {
                let end = Instant::now() + time(message)?;
                while Instant::now() < end {
                    // Refused where the rate is used up: that is what a flood meets.
                    let _ = messaging::publish(OUT, payload);
                }
                Ok(Reply::none())
            }
            _ => Ok(Reply::from(payload)),
        }
    }

    fn work(&mut self, item: &Work) -> Result<Reply> {
        self.execute(item)
    }

    fn stage(&mut self, input: &Stage) -> Result<Reply> {
        self.execute(input)
    }

    fn scatter(&mut self, question: &Question) -> Result<Reply> {
        self.execute(question)
    }

    fn message(&mut self, message: &Message) -> Result<Reply> {
        if message.subject().ends_with(".test") {
            return Ok(self.count(message.payload()));
        }
        self.execute(message)
    }
}

impl Bench {
    fn count(&mut self, payload: &[u8]) -> Reply {
        if payload.first() != Some(&b'?') {
            self.counted += 1;
            return Reply::none();
        }
        Reply::text(std::mem::take(&mut self.counted).to_string())
    }
}

/// The milliseconds that a payload says.
fn time(message: &Message) -> Result<Duration> {
    let text = message.text()?;
    let milliseconds = text
        .parse()
        .map_err(|_| Error::reject(format!("{text:?} is not a number of milliseconds")))?;
    Ok(Duration::from_millis(milliseconds))
}

export_agent!(Bench);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use mistersmith_sdk::mock::Bus;

    #[test]
    fn counts_and_tells() {
        let mut bench = Bus::new().start::<Bench>().unwrap();
        for _ in 0..3 {
            assert!(bench.message("bench.count", "x").unwrap().is_none());
        }
        assert_eq!(bench.message("bench.count", "?").unwrap().to_text(), "3");
        assert_eq!(bench.message("bench.count", "?").unwrap().to_text(), "0");
    }

    #[test]
    fn does_what_the_subject_says() {
        let bus = Bus::new();
        bus.put("BENCH", "value", "v");
        let mut bench = bus.start::<Bench>().unwrap();
        assert_eq!(bench.message("bench.echo", "e").unwrap().to_text(), "e");
        bench.message("bench.publish", "p").unwrap();
        assert_eq!(bus.published().len(), 1);
        bench.message("bench.get", "").unwrap();
        bench.message("bench.spin", "1").unwrap();
        bench.message("bench.flood", "1").unwrap();
        assert!(bench.message("bench.spin", "long").is_err());
    }
}
