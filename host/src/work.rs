//! Work items and stage inputs: pulled from durable consumers and handed to a free agent.

mod completion;
mod consumer;
mod consumer_state;
mod intake;
mod payloads;
mod port;
mod pull_state;
mod pulling;
mod queue;
mod schedule;

pub use consumer::{Source, WorkConsumer};
pub use intake::QueueContext;
pub use payloads::Payloads;
pub use pulling::{give_back_waiting, pull};
