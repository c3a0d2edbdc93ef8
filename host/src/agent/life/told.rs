//! What an agent is told between two messages.

use tokio::sync::oneshot;

use crate::patterns::Control;
use crate::patterns::disposition::Reason;
use crate::runtime::{Health, Notice, Outcome};

use super::Life;

impl Life {
    pub(super) async fn told(&mut self, control: Control) {
        match control {
            Control::Configured => self.notify(Notice::Configuration).await,
            Control::Health(answer) => self.health(answer).await,
            // The loop sees to it.
            Control::Stop { .. } => {}
        }
    }

    pub(super) async fn notify(&mut self, notice: Notice) {
        if let Some(instance) = &mut self.instance
            && let Outcome::Died(death) = instance.notify(notice).await
        {
            self.fell(Reason::died(&death));
        }
    }

    async fn health(&mut self, answer: oneshot::Sender<Health>) {
        let Some(instance) = &mut self.instance else {
            return;
        };
        // Whoever asked while a long call ran has long gone.
        if answer.is_closed() {
            return;
        }
        match instance.health().await {
            Outcome::Done(health) => {
                let _ = answer.send(health);
            }
            Outcome::Died(death) => self.fell(Reason::died(&death)),
            // A plugin cannot fail to say how it is.
            Outcome::Failed(_) => {}
        }
    }
}
