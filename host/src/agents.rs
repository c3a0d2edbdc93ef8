//! Agents: the state, mailbox, queue and event loop of each.

mod agent;
mod answer;
mod candidate;
mod coordinator;
mod deps;
mod directory;
mod event_loop;
mod executed;
mod failing_pulls;
mod host_port;
mod inboxes;
mod leader_view;
mod loop_port;
mod mailbox;
mod overrides;
mod plugin_queue;
mod posted;
mod revision;
mod state;

pub use agent::Agent;
pub use candidate::{CandidateState, Leadership};
pub use coordinator::Coordinator;
pub use deps::AgentDeps;
pub use directory::{AgentHandle, AgentSnapshots, Control, Directory, Target};
pub use failing_pulls::FailingPulls;
pub use inboxes::handle;
pub use leader_view::{Leader, LeaderView};
pub use mailbox::{PLACE, Run};
pub use overrides::Overrides;
pub use plugin_queue::PluginQueue;
pub use posted::{Offer, Posted};
pub use revision::PluginRevision;
pub use state::AgentState;
