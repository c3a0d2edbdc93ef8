//! Dispatch of a call's outcome: to the settler, a reply subject or a gathering.

use crate::delivery::Destination;
use mistersmith_core::names::AgentId;
use mistersmith_runtime::{Call, Failure, Outcome};

use super::super::event_loop::EventLoop;
use super::super::loop_port::AgentPort;

impl<P: AgentPort> EventLoop<P> {
    /// Sends the outcome to its destination. The outcome of an agent that has lost its id is
    /// dropped.
    pub(super) async fn dispatch(
        &mut self,
        call: Box<Call>,
        destination: Destination,
        outcome: Outcome,
    ) {
        let state = &self.handle.state;
        let done = matches!(outcome, Outcome::Done(_));
        if done && !matches!(destination, Destination::Nobody) {
            state.counters.sent.add_one();
        }
        if let Destination::HeldMessage(mut held) = destination {
            // The settler checks the fence itself before each step.
            held.fence = Some(state.fence.clone());
            return self.host.settle(&self.handle.id, call, held, outcome).await;
        }
        let outcome = match state.fence.is_open() {
            true => outcome,
            false => superseded(&self.handle.id, outcome),
        };
        self.host
            .send(&self.handle, &call, destination, outcome)
            .await;
    }
}

/// Replaces the outcome of an agent that has lost the right to its id; its output is dropped.
fn superseded(agent: &AgentId, outcome: Outcome) -> Outcome {
    match outcome {
        Outcome::Done(_) => Outcome::Failed(Failure::Retry {
            message: format!("agent `{agent}` has ended: its id is not this host's any more"),
            delay: None,
        }),
        other => other,
    }
}
