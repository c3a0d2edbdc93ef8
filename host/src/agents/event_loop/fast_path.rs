//! Fast path: drains ready messages without re-entering `select!`.
//!
//! Before each message it checks the same conditions as the loop: control messages, reload, fence,
//! pause, circuit and leadership. Without these checks a busy agent would never see a stop.

use super::super::event_loop::{EventLoop, Next};
use super::super::loop_port::AgentPort;

/// The number of inboxes: mailbox, run-time subscriptions, plugin queue.
const INBOXES: usize = 3;

impl<P: AgentPort> EventLoop<P> {
    /// Handles ready messages until an inbox is empty or a condition of the loop changes.
    pub(super) async fn drain_ready(&mut self) {
        while self.is_undisturbed() {
            match self.try_next() {
                Some(Next::Handle(delivery)) => self.handle(delivery).await,
                Some(Next::RuntimeMessage(message)) => self.handle_runtime_message(message).await,
                _ => return,
            }
            // Yields to other tasks of the thread when the budget is used up.
            tokio::task::coop::consume_budget().await;
        }
    }

    /// Whether the loop would take a message now.
    fn is_undisturbed(&self) -> bool {
        let may = self.handle.state.fence.is_open();
        let takes = self.instance.is_some() && self.taking.is_some() && may;
        let called = !self.inboxes.control.is_empty() || !self.reloads.is_empty();
        let changed = self.gate.has_changed().unwrap_or(true) || self.handle.state.is_paused();
        takes
            && !called
            && !changed
            && self.plugin_queue.circuit.lets_through()
            && self.knows_its_leadership()
    }

    /// The next ready message. The first inbox polled rotates, so that none starves.
    fn try_next(&mut self) -> Option<Next<P::Revision>> {
        self.turn = self.turn.wrapping_add(1);
        (0..INBOXES).find_map(|step| match (self.turn + step) % INBOXES {
            0 => self.inboxes.mailbox.try_recv().map(Next::Handle),
            1 => self
                .runtime_messages
                .try_recv()
                .ok()
                .map(Next::RuntimeMessage),
            _ => self.plugin_queue.take_ready().map(Next::Handle),
        })
    }
}
