//! Messages that the open or half-open circuit holds back.

use crate::delivery::error_reply::send_error;
use crate::delivery::{Delivery, Destination};
use mistersmith_runtime::Call;

use super::super::event_loop::EventLoop;
use super::super::loop_port::AgentPort;

impl<P: AgentPort> EventLoop<P> {
    /// Handles a message that lost the race for the circuit's permit: a held message returns to the
    /// plugin queue, a sender that waits gets an error, and an event goes to the queue for any
    /// agent.
    pub(super) async fn requeue(&mut self, call: Box<Call>, destination: Destination) {
        if let (Destination::Reply { to, connection }, Some(reason)) =
            (&destination, self.plugin_queue.circuit.refusal())
        {
            return send_error(connection, to, &self.handle.id, &call.trace, &reason).await;
        }
        self.plugin_queue.offer(Delivery {
            call,
            destination,
            charge: None,
            rest: None,
        });
    }
}
