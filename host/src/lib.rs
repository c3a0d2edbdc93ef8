//! MisterSmith's host: agents as sandboxed WebAssembly components on NATS.
//!
//! A message comes in by [`transport`]. A pattern ([`patterns`]) decides which agent gets it. The
//! [`runtime`] calls the component. The component calls [`capabilities`]; each asks [`permissions`].
//! Effects leave by [`transport`]. [`agent`] is one agent's life, [`host`] the life of the process;
//! [`config`] reads the configuration, by [`files`], [`provision`] sets JetStream up, [`cli`] is what a person types,
//! [`mod@bench`] what it measures.

pub mod agent;
pub mod bench;
mod bindings;
pub mod capabilities;
pub mod cli;
pub mod config;
pub mod files;
pub mod host;
pub mod limits;
pub mod names;
pub mod patterns;
pub mod permissions;
pub mod provision;
pub mod runtime;
pub mod status;
pub mod transport;
