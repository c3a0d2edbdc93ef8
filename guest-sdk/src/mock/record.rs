//! The calls that a mock bus records, and the closures that answer them.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::Deserialize;

use crate::error::{CallError, Result};
use crate::headers::find;
use crate::log::Level;
use crate::reply::Reply;

/// A closure that answers requests.
pub(super) type Responder =
    Arc<Mutex<dyn FnMut(&Sent) -> Result<Reply, CallError> + Send + 'static>>;

/// A kind of call that [`Bus::fail`](super::Bus::fail) can let fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Call {
    /// [`messaging::publish`](crate::messaging::publish) and the like.
    Publish,
    /// [`messaging::publish_stored`](crate::messaging::publish_stored).
    PublishStored,
    /// [`messaging::request`](crate::messaging::request) and the like.
    Request,
    /// [`messaging::subscribe`](crate::messaging::subscribe) and the like.
    Subscribe,
    /// [`messaging::unsubscribe`](crate::messaging::unsubscribe).
    Unsubscribe,
    /// [`Bucket::get`](crate::kv::Bucket::get) and the like.
    KvGet,
    /// [`Bucket::put`](crate::kv::Bucket::put) and the like.
    KvPut,
    /// [`Bucket::create`](crate::kv::Bucket::create) and the like.
    KvCreate,
    /// [`Bucket::update`](crate::kv::Bucket::update) and the like.
    KvUpdate,
    /// [`Bucket::delete`](crate::kv::Bucket::delete) and the like.
    KvDelete,
    /// [`Bucket::keys`](crate::kv::Bucket::keys).
    KvKeys,
    /// [`Scatter::gather`](crate::coordination::Scatter::gather).
    Scatter,
    /// [`Input::start`](crate::coordination::Input::start) and the like.
    StartPipeline,
    /// [`coordination::pipeline_result`](crate::coordination::pipeline_result) and the like.
    PipelineResult,
    /// [`coordination::signal`](crate::coordination::signal) and the like.
    Signal,
    /// [`coordination::await_event`](crate::coordination::await_event) and the like.
    AwaitEvent,
    /// [`coordination::watch`](crate::coordination::watch).
    Watch,
    /// [`coordination::unwatch`](crate::coordination::unwatch).
    Unwatch,
    /// [`coordination::circuit`](crate::coordination::circuit).
    Circuit,
}

/// A message or a request that an agent sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// The id of the agent.
    pub agent: String,
    /// The subject.
    pub subject: String,
    /// The payload.
    pub payload: Vec<u8>,
    /// The headers that the agent set.
    pub headers: Vec<(String, String)>,
    /// The stream that stored it; none for a plain publish and for a request.
    pub stream: Option<String>,
    /// The time limit of a request or a question; none where the agent named none.
    pub timeout: Option<Duration>,
}

impl Sent {
    /// The payload as text.
    ///
    /// # Errors
    /// [`CallError::Other`] when it is not UTF-8.
    pub fn text(&self) -> Result<&str, CallError> {
        std::str::from_utf8(&self.payload)
            .map_err(|error| CallError::Other(format!("not UTF-8 text: {error}")))
    }

    /// The payload as JSON of the type wanted.
    ///
    /// # Errors
    /// [`CallError::Json`].
    pub fn json<'a, T: Deserialize<'a>>(&'a self) -> Result<T, CallError> {
        serde_json::from_slice(&self.payload)
            .map_err(|error| CallError::Json(format!("`{}`: {error}", self.subject)))
    }

    /// The first value of one of its headers; names are compared without case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name)
    }
}

/// A subscription made at run time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscribed {
    /// The id of the agent.
    pub agent: String,
    /// The number that `subscribe` returned.
    pub id: u64,
    /// The subject, perhaps with wildcards.
    pub subject: String,
    /// The queue group, if any.
    pub queue: Option<String>,
}

/// A line of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// How important it is.
    pub level: Level,
    /// The text.
    pub message: String,
    /// The named values, in order.
    pub fields: Vec<(String, String)>,
}
