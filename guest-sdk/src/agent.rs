//! The trait that an agent implements, and the values of its notifications.

mod leadership;

use serde::Deserialize;

use crate::error::{CallError, Error, Result};
use crate::message::{Message, Question, Stage, Work};
use crate::reply::Reply;

pub use leadership::Leadership;

/// An agent: one method for each kind of message and notification.
///
/// Only [`start`](Agent::start) must be written. A kind of delivery that is not implemented is
/// rejected with a message that names the method. The host calls one method at a time, so
/// `&mut self` is all the synchronisation that is needed; the value lives as long as the
/// instance: until it is stopped, reloaded, panics, or exceeds a limit.
///
/// Each call has the wall time `limits.timeout` (5 s) and the processor time `limits.cpu` (1 s) of
/// the manifest. A panic is logged as an error and ends the instance; the host starts another one,
/// and a work item is tried again as if [`Error::retry`] had been returned.
pub trait Agent: Sized + 'static {
    /// Makes the agent; called once for each instance, before anything else. This is the place to
    /// read the [configuration](crate::context::config) and to
    /// [subscribe](crate::messaging::subscribe). It has `limits.start_timeout` (10 s) to return.
    ///
    /// # Errors
    /// Any error keeps the agent from being started; the host tries again, with growing delay.
    fn start() -> Result<Self>;

    /// Answers a command, `agent.<id>.cmd.execute`, whose sender waits for the reply.
    ///
    /// # Errors
    /// The sender gets any error; the command is not tried again.
    fn execute(&mut self, message: &Message) -> Result<Reply> {
        Err(not_implemented("commands", "execute", message.subject()))
    }

    /// Does a work item. The reply is stored on `agent.<id>.resp.<request-id>` before the item is
    /// taken off the queue. An item comes at least once: it can come again after a crash.
    ///
    /// # Errors
    /// [`Error::Retry`] and [`Error::Other`]: the item is tried again, at most `max_deliver` times.
    /// [`Error::Reject`]: it becomes a dead letter at once.
    fn work(&mut self, item: &Work) -> Result<Reply> {
        Err(not_implemented("work items", "work", item.subject()))
    }

    /// Does one stage of a pipeline; the reply is the input of the next stage.
    ///
    /// # Errors
    /// As [`work`](Agent::work).
    fn stage(&mut self, input: &Stage) -> Result<Reply> {
        Err(not_implemented("pipeline stages", "stage", input.subject()))
    }

    /// Answers a question that was put to many agents.
    ///
    /// # Errors
    /// The asking agent gets the error as this agent's failure; [`Reply::none`] sends nothing at
    /// all.
    fn scatter(&mut self, question: &Question) -> Result<Reply> {
        Err(not_implemented("questions", "scatter", question.subject()))
    }

    /// Takes a message of a subscription: a `[[subscribe]]` of the manifest, or one of
    /// [`messaging::subscribe`](crate::messaging::subscribe). The reply is sent if the sender
    /// [waits for one](Message::wants_reply).
    ///
    /// # Errors
    /// A sender that waits gets the error; the message is not tried again.
    fn message(&mut self, message: &Message) -> Result<Reply> {
        Err(not_implemented(
            "messages of subscriptions",
            "message",
            message.subject(),
        ))
    }

    /// Takes several messages of one `[[subscribe]]` with `batch` at once. One answer for each, in
    /// order: with any other number of answers all of them are tried again. Unless it is
    /// implemented, each message goes to [`message`](Agent::message).
    fn batch(&mut self, messages: &[Message]) -> Vec<Result<Reply>> {
        messages
            .iter()
            .map(|message| self.message(message))
            .collect()
    }

    /// Takes a kind of delivery that this version of the SDK has no method for; `kind` names it.
    ///
    /// # Errors
    /// As [`work`](Agent::work).
    fn other(&mut self, kind: &str, message: &Message) -> Result<Reply> {
        Err(not_implemented(
            &format!("deliveries of the kind `{kind}`"),
            "other",
            message.subject(),
        ))
    }

    /// The configuration changed; [`context::config`](crate::context::config) has the new one.
    ///
    /// # Errors
    /// An error is logged.
    fn configuration(&mut self) -> Result<()> {
        Ok(())
    }

    /// This agent became, or ceased to be, the leader of a domain.
    ///
    /// # Errors
    /// An error is logged.
    fn leadership(&mut self, change: &Leadership) -> Result<()> {
        let _ = change;
        Ok(())
    }

    /// An event of a workflow that the agent waits for.
    ///
    /// # Errors
    /// An error is logged.
    fn coordination(&mut self, event: &Event) -> Result<()> {
        let _ = event;
        Ok(())
    }

    /// A notification that this version of the SDK has no method for: its name and JSON.
    ///
    /// # Errors
    /// An error is logged.
    fn notice(&mut self, name: &str, json: &str) -> Result<()> {
        let _ = (name, json);
        Ok(())
    }

    /// Reports the health of the agent; called with each heartbeat and health check while idle.
    fn health(&mut self) -> Health {
        Health::ok()
    }

    /// Called once, before the instance ends orderly; `reason` is `shutdown`, `reload` or `drain`.
    /// It has `limits.stop_timeout` (5 s) to return. It is not called after a panic or a timeout.
    ///
    /// # Errors
    /// An error is logged; the instance ends anyway.
    fn stop(&mut self, reason: &str) -> Result<()> {
        let _ = reason;
        Ok(())
    }
}

fn not_implemented(what: &str, method: &str, subject: &str) -> Error {
    Error::reject(format_args!(
        "this agent takes no {what} (`{subject}`): implement `Agent::{method}`"
    ))
}

/// An event on `coord.<workflow>.<event>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The id of the workflow.
    pub workflow: String,
    /// `ready`, `complete`, `error`, `cancel`, or a name of the plugin's own.
    pub event: String,
    /// The payload of the event.
    pub payload: Vec<u8>,
}

impl Event {
    /// The payload as JSON of the type wanted.
    ///
    /// # Errors
    /// [`CallError::Json`].
    pub fn json<'a, T: Deserialize<'a>>(&'a self) -> Result<T, CallError> {
        serde_json::from_slice(&self.payload)
            .map_err(|error| CallError::Json(format!("the event `{}`: {error}", self.event)))
    }
}

/// How an agent judges itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Health {
    /// It can do its work.
    pub ok: bool,
    /// A sentence for a person.
    pub detail: Option<String>,
    /// How loaded it is, 0 to 1; none leaves it to the host.
    pub load: Option<f32>,
}

impl Health {
    /// The agent can do its work.
    #[must_use]
    pub fn ok() -> Self {
        Self {
            ok: true,
            detail: None,
            load: None,
        }
    }

    /// The agent cannot do its work; `detail` says why.
    #[must_use]
    pub fn failing(detail: impl Into<String>) -> Self {
        Self {
            ok: false,
            detail: Some(detail.into()),
            load: None,
        }
    }

    /// Adds how loaded the agent is; cut to 0–1, and dropped when it is not a number.
    #[must_use]
    pub fn with_load(mut self, load: f32) -> Self {
        self.load = (!load.is_nan()).then(|| load.clamp(0.0, 1.0));
        self
    }

    /// Adds a sentence for a person.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use super::*;

    #[test]
    fn health_says_what_was_given() {
        assert_eq!(
            Health::failing("no model").with_load(7.0),
            Health {
                ok: false,
                detail: Some("no model".into()),
                load: Some(1.0)
            }
        );
        assert!(Health::ok().with_detail("fine").ok);
        assert_eq!(Health::ok().with_load(f32::NAN).load, None);
    }

    #[test]
    fn an_event_reads_its_payload() {
        let event = Event {
            workflow: "w".into(),
            event: "ready".into(),
            payload: b"[1]".into(),
        };
        assert_eq!(event.json::<Vec<u8>>().unwrap(), [1]);
        let error = event.json::<String>().unwrap_err();
        assert!(
            error.to_string().starts_with("json: the event `ready`: "),
            "{error}"
        );
    }
}
