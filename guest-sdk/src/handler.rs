//! Dispatches each delivery of the host to the method of the agent that takes it.

#[cfg(target_family = "wasm")]
mod component;

use std::cell::Cell;
use std::thread::LocalKey;

use crate::agent::{Agent, Event, Leadership};
use crate::error::{Error, Result};
use crate::log;
use crate::message::{Message, Priority, Question, Stage, Work};
use crate::reply::Reply;

/// Implemented by `export_agent!`: the type of the agent, and the slot of its one value.
#[doc(hidden)]
pub trait Component {
    /// The agent.
    type Agent: Agent;

    /// The slot; it is empty until `start` succeeded, and while a call runs.
    fn slot() -> &'static LocalKey<Cell<Option<Self::Agent>>>;

    /// Lends the agent to `body`.
    fn with<R>(body: impl FnOnce(&mut Option<Self::Agent>) -> R) -> R {
        let mut agent = Self::slot().take();
        let result = body(&mut agent);
        Self::slot().set(agent);
        result
    }
}

/// One message, and how it came.
#[derive(Debug)]
pub(crate) struct Delivery {
    pub(crate) kind: Kind,
    pub(crate) subject: String,
    pub(crate) payload: Vec<u8>,
}

/// How a message came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    Execute,
    Work { priority: Priority, retries: u32 },
    Stage { number: u32, retries: u32 },
    Scatter { request: String },
    Subscription { id: Option<u64>, wants_reply: bool },
    Other(String),
}

/// A notification.
#[derive(Debug)]
pub(crate) enum Notice {
    Leadership(Leadership),
    Coordination(Event),
    Configuration,
    Other(String, String),
}

/// Hands one message to its method. `item` is its index in the batch, 0 outside one.
pub(crate) fn dispatch<A: Agent>(agent: &mut A, delivery: Delivery, item: u32) -> Result<Reply> {
    let message = Message::new(delivery.subject, delivery.payload, item);
    match delivery.kind {
        Kind::Execute => agent.execute(&message.subscribed(None, true)),
        Kind::Work { priority, retries } => agent.work(&Work::new(message, priority, retries)?),
        Kind::Stage { number, retries } => agent.stage(&Stage::new(message, number, retries)?),
        Kind::Scatter { request } => agent.scatter(&Question::new(message, request)),
        Kind::Subscription { id, wants_reply } => {
            agent.message(&message.subscribed(id, wants_reply))
        }
        Kind::Other(kind) => agent.other(&kind, &message),
    }
}

/// Hands several messages to `batch`, or each to its own method where not all of them are of a
/// subscription. Always as many answers as messages: the host takes them by position.
pub(crate) fn dispatch_batch<A: Agent>(
    agent: &mut A,
    deliveries: Vec<Delivery>,
) -> Vec<Result<Reply>> {
    let subscribed = |delivery: &Delivery| matches!(delivery.kind, Kind::Subscription { .. });
    if !deliveries.iter().all(subscribed) {
        return (0..)
            .zip(deliveries)
            .map(|(item, delivery)| dispatch(agent, delivery, item))
            .collect();
    }
    let messages: Vec<Message> = (0..)
        .zip(deliveries)
        .map(|(item, delivery)| {
            let message = Message::new(delivery.subject, delivery.payload, item);
            match delivery.kind {
                Kind::Subscription { id, wants_reply } => message.subscribed(id, wants_reply),
                _ => message,
            }
        })
        .collect();
    let answers = agent.batch(&messages);
    if answers.len() == messages.len() {
        return answers;
    }
    let error = Error::retry(format_args!(
        "`Agent::batch` gave {} answers to {} messages",
        answers.len(),
        messages.len()
    ));
    messages.iter().map(|_| Err(error.clone())).collect()
}

/// Notifies the agent; an error is logged, since no sender waits for an answer.
pub(crate) fn notify<A: Agent>(agent: &mut A, notice: &Notice) {
    let (name, result) = match notice {
        Notice::Leadership(change) => ("leadership", agent.leadership(change)),
        Notice::Coordination(event) => ("coordination", agent.coordination(event)),
        Notice::Configuration => ("configuration", agent.configuration()),
        Notice::Other(name, json) => (name.as_str(), agent.notice(name, json)),
    };
    if let Err(error) = result {
        log::error!("the notice `{name}` was not handled: {error}");
    }
}

/// Stops the agent; an error is logged.
pub(crate) fn stop<A: Agent>(agent: &mut A, reason: &str) {
    if let Err(error) = agent.stop(reason) {
        log::error!("the agent did not stop cleanly: {error}");
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use super::*;

    /// Records which method was called, and with what.
    struct Teller;

    impl Agent for Teller {
        fn start() -> Result<Self> {
            Ok(Self)
        }
        fn execute(&mut self, m: &Message) -> Result<Reply> {
            Ok(format!("execute {} {}", m.text()?, m.wants_reply()).into())
        }
        fn work(&mut self, w: &Work) -> Result<Reply> {
            let version = w.version().unwrap_or("-");
            let (domain, task, text) = (w.domain(), w.task(), w.text()?);
            let (priority, retries) = (w.priority(), w.retries());
            Ok(format!("work {domain} {version} {priority} {task} {retries} {text}").into())
        }
        fn stage(&mut self, s: &Stage) -> Result<Reply> {
            let (workflow, number, name) = (s.workflow(), s.number(), s.name());
            Ok(format!("stage {workflow} {number} {name} {}", s.retries()).into())
        }
        fn scatter(&mut self, q: &Question) -> Result<Reply> {
            Ok(format!("scatter {}", q.request()).into())
        }
        fn message(&mut self, m: &Message) -> Result<Reply> {
            let (subject, id) = (m.subject(), m.subscription());
            Ok(format!("message {subject} {id:?} {}", m.wants_reply()).into())
        }
        fn other(&mut self, kind: &str, m: &Message) -> Result<Reply> {
            Ok(format!("other {kind} {}", m.subject()).into())
        }
    }

    struct Nothing;

    impl Agent for Nothing {
        fn start() -> Result<Self> {
            Ok(Self)
        }
    }

    fn delivery(kind: Kind, subject: &str) -> Delivery {
        Delivery {
            kind,
            subject: subject.into(),
            payload: b"hi".into(),
        }
    }

    fn each_kind() -> [(Delivery, &'static str, &'static str); 6] {
        let work = Kind::Work {
            priority: Priority::High,
            retries: 2,
        };
        let stage = Kind::Stage {
            number: 2,
            retries: 1,
        };
        let scatter = Kind::Scatter {
            request: "r1".into(),
        };
        let subscription = Kind::Subscription {
            id: Some(7),
            wants_reply: false,
        };
        [
            (
                delivery(Kind::Execute, "agent.a-001.cmd.execute"),
                "execute hi true",
                "execute",
            ),
            (
                delivery(work, "work.v2.nlp.high.x"),
                "work nlp v2 high x 2 hi",
                "work",
            ),
            (
                delivery(stage, "pipeline.w1.02.sum"),
                "stage w1 2 sum 1",
                "stage",
            ),
            (
                delivery(scatter, "scatter.r1.task"),
                "scatter r1",
                "scatter",
            ),
            (
                delivery(subscription, "a.b"),
                "message a.b Some(7) false",
                "message",
            ),
            (
                delivery(Kind::Other("tide".into()), "x.y"),
                "other tide x.y",
                "other",
            ),
        ]
    }

    #[test]
    fn each_kind_reaches_its_method() {
        for (delivery, told, _) in each_kind() {
            assert_eq!(dispatch(&mut Teller, delivery, 0).unwrap().to_text(), told);
        }
    }

    #[test]
    fn each_kind_is_rejected_unless_implemented() {
        for (delivery, _, method) in each_kind() {
            let error = dispatch(&mut Nothing, delivery, 0).unwrap_err();
            assert!(error.is_reject());
            let hint = format!("implement `Agent::{method}`");
            assert!(error.message().ends_with(&hint), "{error}");
        }
    }

    #[test]
    fn a_subject_that_is_none_is_rejected() {
        let kind = Kind::Stage {
            number: 1,
            retries: 0,
        };
        assert!(dispatch(&mut Teller, delivery(kind, "a"), 0).is_err());
    }

    #[test]
    fn a_batch_of_messages_goes_to_message_by_default() {
        let subscription = Kind::Subscription {
            id: None,
            wants_reply: true,
        };
        let batch = vec![
            delivery(subscription.clone(), "a"),
            delivery(subscription, "b"),
        ];
        let answers = dispatch_batch(&mut Teller, batch);
        let texts: Vec<String> = answers.iter().flatten().map(Reply::to_text).collect();
        assert_eq!(texts, ["message a None true", "message b None true"]);
    }

    #[test]
    fn a_mixed_batch_goes_to_the_methods() {
        let batch = each_kind().map(|(delivery, _, _)| delivery).into();
        let answers = dispatch_batch(&mut Teller, batch);
        let texts: Vec<String> = answers.iter().flatten().map(Reply::to_text).collect();
        assert_eq!(texts, each_kind().map(|(_, told, _)| told));
    }

    #[test]
    fn a_batch_is_answered_for_each_message_whatever_the_agent_does() {
        struct Lazy;
        impl Agent for Lazy {
            fn start() -> Result<Self> {
                Ok(Self)
            }
            fn batch(&mut self, _: &[Message]) -> Vec<Result<Reply>> {
                vec![Ok(Reply::none())]
            }
        }
        let one = || {
            let kind = Kind::Subscription {
                id: None,
                wants_reply: false,
            };
            delivery(kind, "a")
        };
        let answers = dispatch_batch(&mut Lazy, vec![one(), one()]);
        let error = Error::retry("`Agent::batch` gave 1 answers to 2 messages");
        assert_eq!(answers, [Err(error.clone()), Err(error)]);
        assert_eq!(dispatch_batch(&mut Lazy, vec![one()]), [Ok(Reply::none())]);
    }
}
