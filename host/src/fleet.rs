//! Services for every agent of the host: commands, health, `$SRV`; and the published metrics.

pub mod commands;
pub mod health;
pub mod metrics;
pub mod micro;
mod serve;
