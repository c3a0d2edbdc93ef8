//! The agent of docs/writing-plugins.md and its test, word for word.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use mistersmith_sdk::{Agent, Message, Reply, Result, Work, context, export_agent, log};
use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
struct Config {
    greeting: String,
}

#[derive(Deserialize)]
struct Visitor {
    name: String,
}

#[derive(Serialize)]
struct Greeting {
    text: String,
    visitors: u64,
}

struct Greeter {
    config: Config,
    visitors: u64,
}

impl Agent for Greeter {
    // Once for each agent: `[config]` of plugin.toml says `greeting = "hello"`.
    fn start() -> Result<Self> {
        Ok(Self {
            config: context::config()?,
            visitors: 0,
        })
    }

    // A message of a `[[subscribe]]`, or of a subscription of your own.
    fn message(&mut self, message: &Message) -> Result<Reply> {
        let visitor: Visitor = message.json()?;
        self.visitors += 1;
        log::info!(visitor = visitor.name; "visitor number {}", self.visitors);
        let text = format!("{}, {}", self.config.greeting, visitor.name);
        Reply::json(&Greeting {
            text,
            visitors: self.visitors,
        })
    }

    // The command `agent.<id>.cmd.execute`.
    fn execute(&mut self, message: &Message) -> Result<Reply> {
        self.message(message)
    }

    // A work item; the reply is stored as its result.
    fn work(&mut self, item: &Work) -> Result<Reply> {
        log::debug!(
            "{} at {} priority, try {}",
            item.task(),
            item.priority(),
            item.retries() + 1
        );
        self.message(item)
    }

    // Somebody changed the configuration with `agent.<id>.cmd.config`.
    fn configuration(&mut self) -> Result<()> {
        self.config = context::config()?;
        Ok(())
    }
}

export_agent!(Greeter);

#[cfg(test)]
mod tests {
    use super::*;
    use mistersmith_sdk::json;
    use mistersmith_sdk::mock::{Bus, Delivery};

    #[test]
    fn greets() {
        let bus = Bus::new().with_config(json!({"greeting": "hello"}));
        let mut agent = bus.start::<Greeter>().unwrap();

        let reply = agent
            .message("tools.hello", json!({"name": "Ada"}))
            .unwrap();
        assert_eq!(
            reply.to_value(),
            json!({"text": "hello, Ada", "visitors": 1})
        );
        assert_eq!(bus.logs()[0].message, "visitor number 1");

        // Nonsense is rejected, not tried again.
        assert!(
            agent
                .work("work.greet.high.hello", "nonsense")
                .unwrap_err()
                .is_reject()
        );

        let third = Delivery::work("work.greet.hello", json!({"name": "Bob"})).retries(2);
        assert!(agent.deliver(third).is_ok());

        agent.configure(json!({"greeting": "good evening"}));
        assert_eq!(agent.agent().config.greeting, "good evening");
    }
}
