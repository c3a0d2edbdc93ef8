//! The life of an agent as the rest of the world sees it: events, AGENT_STATE, commands, health.

mod commands;
mod events;
