//! Faults of hosts, servers and the network under load, with an account of every item.
//!
//! Each scenario offers work and workflows, makes its faults meanwhile, and waits until nothing is
//! left to do. Every acknowledged item must then be done once, or be a dead letter that was meant
//! to be one. Without variables a scenario takes seconds; `make soak` runs the same scenarios for
//! longer, with the faults of another seed.

mod account;
mod bed;
mod cluster;
mod cuts;
mod hosts;
mod items;
mod load;
mod messages;
mod network;
mod pace;
mod reloads;
mod server;
mod settled;
