//! How a host gets to its NATS server, and what it does while it has none.

mod login;
mod outage;
mod own_credentials;
mod own_server;
mod refused;
mod renewed;
pub mod tls;
mod unreadable;
mod versions;
