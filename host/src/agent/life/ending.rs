//! The end of an agent: what waits for it is handled or turned away, and it says that it stops.

use crate::patterns::lifecycle::Step;
use crate::patterns::{Answer, Delivery};
use crate::runtime::{Failure, Outcome};
use crate::status::AgentStatus;

use super::super::answer::answer;
use super::Life;

impl Life {
    /// Handles what waits for this agent already, and where the whole plugin ends, what waits for
    /// any of its agents. A paused agent, or one whose instance died, says that it will not.
    pub(super) async fn finish_waiting(&mut self, reason: &str) {
        let whole = matches!(reason, "drain" | "removed");
        loop {
            let able = self.instance.is_some() && !self.port.cell.is_paused();
            let takes = able && self.crew.circuit.lets_through();
            let delivery = match self.inboxes.mailbox.try_recv() {
                Some(delivery) => delivery,
                None if whole && takes => match self.crew.try_take() {
                    Some(delivery) => delivery,
                    None => return,
                },
                None => return,
            };
            if takes && reason != "lease-lost" {
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
            call,
            answer: waiting,
            ..
        } = delivery;
        // Nobody has begun it.
        if let Answer::Held(held) = waiting {
            return self.around.settler.give_back(held).await;
        }
        let message = format!("agent `{}` has stopped", self.port.id);
        let outcome = Outcome::Failed(Failure::Retry {
            message,
            delay: None,
        });
        answer(
            &self.port,
            &self.around.settler,
            &self.around.work,
            call,
            waiting,
            outcome,
        )
        .await;
    }

    pub(super) async fn end(&mut self, reason: &'static str) {
        self.taking = None;
        self.resign();
        if let Some(instance) = self.instance.take() {
            instance.stop(reason).await;
        }
        self.port.cell.set_status(AgentStatus::Stopped);
        self.announce(&Step::Stopped {
            reason: reason.to_owned(),
        });
    }
}
