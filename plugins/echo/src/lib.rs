//! Replies each message with its own payload and content type.

use mistersmith_sdk::{Agent, Message, Reply, Result, export_agent};

struct Echo;

impl Agent for Echo {
    fn start() -> Result<Self> {
        Ok(Self)
    }

    fn execute(&mut self, message: &Message) -> Result<Reply> {
        let reply = Reply::from(message.payload());
        Ok(match message.content_type() {
            Some(content_type) => reply.with_content_type(content_type),
            None => reply,
        })
    }

    fn message(&mut self, message: &Message) -> Result<Reply> {
        self.execute(message)
    }
}

export_agent!(Echo);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use mistersmith_sdk::json;
    use mistersmith_sdk::mock::{Bus, Delivery};

    #[test]
    fn replies_what_it_is_sent() {
        let mut echo = Bus::new().start::<Echo>().unwrap();
        let bytes = [0, 1, 255];
        assert_eq!(echo.execute(&bytes).unwrap().payload(), bytes);
        assert_eq!(echo.message("tools.echo", "hey").unwrap().to_text(), "hey");
        assert_eq!(echo.execute("").unwrap(), Reply::bytes(""));
    }

    #[test]
    fn keeps_the_content_type() {
        let mut echo = Bus::new().start::<Echo>().unwrap();
        let reply = echo.execute(json!({"a": 1})).unwrap();
        assert_eq!(reply.content_type(), Some("application/json"));
        let image = Delivery::message("tools.echo", "...").header("content-type", "image/png");
        let reply = echo.deliver(image).unwrap();
        assert_eq!(reply.content_type(), Some("image/png"));
        assert_eq!(echo.execute("text").unwrap().content_type(), None);
    }
}
