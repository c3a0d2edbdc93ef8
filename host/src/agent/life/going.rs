//! From one message to the next, where the next one waits already and nothing else has happened.
//!
//! The same order of things as in the loop, without waiting for them: what an agent is told between
//! two messages is seen before each message here too.

use super::{Life, Next};

/// Where messages come from.
const INBOXES: usize = 3;

impl Life {
    /// Handles the messages that wait, for as long as there is nothing else to do.
    pub(super) async fn go_on(&mut self) {
        while self.is_undisturbed() {
            match self.at_hand() {
                Some(Next::Handle(delivery)) => self.handle(delivery).await,
                Some(Next::Heard(heard)) => self.handle_heard(heard).await,
                _ => return,
            }
            // Others on this thread have their turn too.
            tokio::task::coop::consume_budget().await;
        }
    }

    /// Whether the loop would take a message now, if there is one.
    fn is_undisturbed(&self) -> bool {
        let takes = self.instance.is_some() && self.taking.is_some();
        let told = !self.inboxes.control.is_empty() || !self.swaps.is_empty();
        let turned = self.gate.has_changed().unwrap_or(true) || self.port.cell.is_paused();
        takes && !told && !turned && self.crew.circuit.lets_through() && self.knows_its_office()
    }

    /// A message that waits. No inbox is looked at first twice in a row, so that none starves.
    fn at_hand(&mut self) -> Option<Next> {
        self.turn = self.turn.wrapping_add(1);
        (0..INBOXES).find_map(|step| match (self.turn + step) % INBOXES {
            0 => self.inboxes.mailbox.try_recv().map(Next::Handle),
            1 => self.heard.try_recv().ok().map(Next::Heard),
            _ => self.crew.take_at_hand().map(Next::Handle),
        })
    }
}
