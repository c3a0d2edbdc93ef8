//! One call of a host function, with its arguments as texts.

use super::super::*;
use crate::bindings::mistersmith::agent::{coordination, kv, messaging};
use coordination::Host as _;
use kv::Host as _;
use messaging::Host as _;

/// A call of a host function; what it does not name is empty.
#[derive(Debug, Clone, Copy)]
pub(super) enum Call<'a> {
    /// To a subject.
    Publish(&'a str),
    PublishStored(&'a str),
    Request(&'a str),
    /// To a pattern.
    Subscribe(&'a str),
    /// To a pattern, in a queue group.
    SubscribeIn(&'a str, &'a str),
    /// A bucket and a key.
    Get(&'a str, &'a str),
    Put(&'a str, &'a str),
    Create(&'a str, &'a str),
    Update(&'a str, &'a str),
    Delete(&'a str, &'a str),
    /// A bucket and a pattern of keys.
    Keys(&'a str, &'a str),
    Scatter,
    /// A stage and a workflow.
    StartPipeline(&'a str, &'a str),
    /// A stage; the host makes the workflow.
    StartNewPipeline(&'a str),
    /// A workflow.
    PipelineResult(&'a str),
    /// A workflow and an event.
    Signal(&'a str, &'a str),
    AwaitEvent(&'a str, &'a str),
    /// A workflow.
    Watch(&'a str),
    /// A service.
    Circuit(&'a str),
    /// A header, its name and value, of a message to a subject that is granted.
    PublishWith(&'a str, &'a str),
    PublishStoredWith(&'a str, &'a str),
    RequestWith(&'a str, &'a str),
    ScatterWith(&'a str, &'a str),
    StartPipelineWith(&'a str, &'a str),
}

impl Call<'_> {
    /// Makes the call: `ok`, or the case of its error.
    pub(super) async fn make(self, guest: &mut Guest) -> &'static str {
        match self {
            Self::Get(..)
            | Self::Put(..)
            | Self::Create(..)
            | Self::Update(..)
            | Self::Delete(..)
            | Self::Keys(..) => self.on_a_bucket(guest).await,
            Self::PublishWith(..)
            | Self::PublishStoredWith(..)
            | Self::RequestWith(..)
            | Self::ScatterWith(..)
            | Self::StartPipelineWith(..) => self.with_a_header(guest).await,
            Self::Publish(..)
            | Self::PublishStored(..)
            | Self::Request(..)
            | Self::Subscribe(..)
            | Self::SubscribeIn(..) => self.on_a_subject(guest).await,
            _ => self.of_coordination(guest).await,
        }
    }

    async fn on_a_subject(self, guest: &mut Guest) -> &'static str {
        let none = Vec::new;
        match self {
            Self::Publish(to) => outcome(&guest.publish(to.into(), none(), Vec::new()).await),
            Self::PublishStored(to) => {
                outcome(&guest.publish_stored(to.into(), none(), Vec::new()).await)
            }
            Self::Request(to) => outcome(&guest.request(to.into(), none(), Vec::new(), None).await),
            Self::Subscribe(to) => outcome(&guest.subscribe(to.into(), None).await),
            Self::SubscribeIn(to, queue) => {
                outcome(&guest.subscribe(to.into(), Some(queue.into())).await)
            }
            other => panic!("{other:?}"),
        }
    }

    async fn on_a_bucket(self, guest: &mut Guest) -> &'static str {
        let none = Vec::new;
        match self {
            Self::Get(b, k) => outcome(&guest.get(b.into(), k.into()).await),
            Self::Put(b, k) => outcome(&guest.put(b.into(), k.into(), none()).await),
            Self::Create(b, k) => outcome(&guest.create(b.into(), k.into(), none()).await),
            Self::Update(b, k) => outcome(&guest.update(b.into(), k.into(), none(), 1).await),
            Self::Delete(b, k) => outcome(&guest.delete(b.into(), k.into(), None).await),
            Self::Keys(b, pattern) => outcome(&guest.keys(b.into(), pattern.into()).await),
            other => panic!("{other:?}"),
        }
    }

    async fn of_coordination(self, guest: &mut Guest) -> &'static str {
        let none = Vec::new;
        match self {
            Self::Scatter => outcome(&guest.scatter(none(), Vec::new(), anybody()).await),
            Self::StartPipeline(stage, workflow) => {
                let start =
                    guest.start_pipeline(stage.into(), Some(workflow.into()), none(), Vec::new());
                outcome(&start.await)
            }
            Self::StartNewPipeline(stage) => {
                let start = guest.start_pipeline(stage.into(), None, none(), Vec::new());
                outcome(&start.await)
            }
            Self::PipelineResult(workflow) => {
                outcome(&guest.pipeline_result(workflow.into(), Some(1)).await)
            }
            Self::Signal(workflow, event) => {
                outcome(&guest.signal(workflow.into(), event.into(), none()).await)
            }
            Self::AwaitEvent(workflow, event) => {
                let awaited = guest.await_event(workflow.into(), event.into(), Some(1));
                outcome(&awaited.await)
            }
            Self::Watch(workflow) => outcome(&guest.watch(workflow.into()).await),
            Self::Circuit(service) => outcome(&guest.circuit(service.into()).await),
            other => panic!("{other:?}"),
        }
    }

    async fn with_a_header(self, guest: &mut Guest) -> &'static str {
        let none = Vec::new;
        let one = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
        match self {
            Self::PublishWith(name, value) => {
                outcome(&guest.publish("a.b".into(), none(), one(name, value)).await)
            }
            Self::PublishStoredWith(name, value) => {
                let sent = guest.publish_stored("a.b".into(), none(), one(name, value));
                outcome(&sent.await)
            }
            Self::RequestWith(name, value) => {
                let asked = guest.request("a.b".into(), none(), one(name, value), None);
                outcome(&asked.await)
            }
            Self::ScatterWith(name, value) => {
                outcome(&guest.scatter(none(), one(name, value), anybody()).await)
            }
            Self::StartPipelineWith(name, value) => {
                let start =
                    guest.start_pipeline("s".into(), Some("w".into()), none(), one(name, value));
                outcome(&start.await)
            }
            other => panic!("{other:?}"),
        }
    }
}

fn anybody() -> coordination::Gathering {
    coordination::Gathering {
        timeout_ms: Some(1),
        min: None,
        expected: Vec::new(),
    }
}
