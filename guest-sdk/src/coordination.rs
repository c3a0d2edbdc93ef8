//! Coordination: questions to many agents, pipelines, events of workflows, elections, circuits.
//!
//! ```no_run
//! # fn main() -> mistersmith_sdk::Result<()> {
//! # use std::time::Duration;
//! use mistersmith_sdk::coordination;
//!
//! // Asks every agent with `[scatter]` in its manifest; answers within two seconds count.
//! let found = coordination::scatter(&"what is NATS?")
//!     .timeout(Duration::from_secs(2))
//!     .gather()?;
//! let texts: Vec<String> = found.json()?;
//!
//! // A pipeline, and its result.
//! let workflow = coordination::start_pipeline("extract", &"# A document")?;
//! let result = coordination::pipeline_result_within(&workflow, Duration::from_secs(2))?;
//!
//! // Events of a workflow, kept for two days.
//! coordination::signal(&workflow, "reviewed", &true)?;
//! let reviewed = coordination::await_event(&workflow, "reviewed")?;
//! # Ok(()) }
//! ```
//!
//! A workflow, an event and a stage are named by one token of `[A-Za-z0-9_-]`, at most 96 bytes.
//! What waits is cut to what is left of the current call
//! ([`context::remaining`](crate::context::remaining)), and counts as a request in flight; each
//! call counts into `publish_rate`.

mod circuit;
mod events;
mod gathered;
mod pipeline;
mod scatter;

use crate::agent::Leadership;
use crate::error::{CallError, Result};
use crate::imports;

pub use circuit::Circuit;
pub use events::{await_event, await_event_within, signal, signal_bytes, unwatch, watch};
pub(crate) use gathered::Gathering;
pub use gathered::{Answer, Failed, Gathered, Status};
pub use pipeline::{Input, pipeline, pipeline_result, pipeline_result_within, start_pipeline};
pub use scatter::{Scatter, scatter, scatter_bytes};

/// Whether this agent leads, and in which term; none when its manifest has no `[election]`. Send
/// the term along with what only the leader may write, so that a later leader can be told from this
/// one.
#[must_use]
pub fn leadership() -> Option<Leadership> {
    imports::leadership()
}

/// The state of a circuit; closed for a service without any report.
///
/// # Errors
/// Needs that the service is that of the plugin's own `[circuit]`, or `[permissions] kv` with
/// `read` on the key of that name in the bucket CIRCUITS: [`Denied`](CallError::Denied),
/// [`Invalid`](CallError::Invalid), [`Timeout`](CallError::Timeout),
/// [`Unavailable`](CallError::Unavailable).
pub fn circuit(service: &str) -> Result<Circuit, CallError> {
    imports::circuit(service)
}

fn to_json<T: serde::Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, CallError> {
    serde_json::to_vec(value)
        .map_err(|error| CallError::Json(format!("the payload does not become JSON: {error}")))
}
