//! Shutdown of an agent: handles or rejects waiting messages, then announces the stop.

use crate::delivery::{Delivery, Destination};
use crate::events::lifecycle::LifecycleEvent;
use crate::status::{AgentStatus, StopReason};
use mistersmith_runtime::{Failure, Outcome};

use super::super::event_loop::EventLoop;
use super::super::loop_port::{AgentInstance, AgentPort};

impl<P: AgentPort> EventLoop<P> {
    /// Handles the messages that wait for this agent and, where the whole plugin ends, those in the
    /// plugin queue. A paused agent, or one without an instance, rejects them.
    pub(super) async fn finish_waiting(&mut self, reason: StopReason) {
        let whole = reason.ends_plugin();
        loop {
            let state = &self.handle.state;
            let able = self.instance.is_some() && !state.is_paused() && state.fence.is_open();
            let takes = able && self.plugin_queue.circuit.lets_through();
            let delivery = match self.inboxes.mailbox.try_recv() {
                Some(delivery) => delivery,
                None if whole && takes => match self.plugin_queue.try_take() {
                    Some(delivery) => delivery,
                    None => return,
                },
                None => return,
            };
            if takes && reason != StopReason::LeaseLost {
                self.handle(delivery).await;
            } else {
                self.turn_away(delivery).await;
            }
        }
    }

    async fn turn_away(&mut self, delivery: Delivery) {
        for delivery in delivery.each() {
            self.turn_one_away(delivery).await;
        }
    }

    async fn turn_one_away(&mut self, delivery: Delivery) {
        let Delivery {
            call, destination, ..
        } = delivery;
        // Its attempt has not begun.
        if let Destination::HeldMessage(held) = destination {
            return self.host.give_back(held).await;
        }
        let message = format!("agent `{}` has stopped", self.handle.id);
        let outcome = Outcome::Failed(Failure::Retry {
            message,
            delay: None,
        });
        self.dispatch(call, destination, outcome).await;
    }

    pub(super) async fn end(&mut self, reason: StopReason) {
        self.taking = None;
        self.resign();
        if let Some(instance) = self.instance.take() {
            instance.stop(reason.as_str()).await;
        }
        self.handle.state.set_status(AgentStatus::Stopped);
        self.announce(&LifecycleEvent::Stopped { reason });
    }
}
