//! How a message reaches an agent, and what becomes of it: one file per pattern.
//!
//! A pattern turns what `transport` received into a [`Delivery`] and puts it where an agent of the
//! plugin takes it: the agent's own mailbox, or a queue that the agents of the plugin share
//! ([`Crew`]). When the agent is done, [`disposition`] decides and carries out the fate of the
//! message; nothing else acks, naks or terms. Patterns know no agent but through its [`AgentPort`].

pub mod attempts;
pub mod audit;
pub mod cancelled;
pub mod cell;
pub mod circuit;
pub mod claims;
pub mod commands;
pub mod coordination;
pub mod crew;
pub mod dead_letter;
pub mod delivery;
pub mod directory;
pub mod disposition;
pub mod election;
pub mod failure;
pub mod health;
pub mod idempotence;
pub mod keeper;
pub mod lifecycle;
pub mod mailbox;
pub mod metrics;
pub mod micro;
pub mod outbox;
pub mod overrides;
pub mod pipeline;
pub mod posted;
pub mod scatter;
pub mod schedule;
pub mod subscribe;
pub mod work_queue;

pub use crew::Crew;
pub use delivery::{Answer, Delivery};
pub use directory::{AgentPort, Control, Directory};
