//! Control messages, handled between two messages.

use tokio::sync::oneshot;

use super::super::directory::Control;
use crate::delivery::Reason;
use mistersmith_runtime::{Health, Notice, Outcome};

use super::super::event_loop::EventLoop;
use super::super::loop_port::{AgentInstance, AgentPort};

impl<P: AgentPort> EventLoop<P> {
    pub(super) async fn handle_control(&mut self, control: Control) {
        match control {
            Control::Configured => self.notify(Notice::Configuration).await,
            Control::Health(answer) => self.health(answer).await,
            // The event loop handles it.
            Control::Stop { .. } => {}
        }
    }

    pub(super) async fn notify(&mut self, notice: Notice) {
        if let Some(instance) = &mut self.instance
            && let Outcome::Exited(death) = instance.notify(notice).await
        {
            self.failed(Reason::died(&death));
        }
    }

    async fn health(&mut self, answer: oneshot::Sender<Health>) {
        let Some(instance) = &mut self.instance else {
            return;
        };
        // The asker gave up while a long call ran.
        if answer.is_closed() {
            return;
        }
        match instance.health().await {
            Outcome::Done(health) => {
                let _ = answer.send(health);
            }
            Outcome::Exited(death) => self.failed(Reason::died(&death)),
            // A failed health call keeps the last health.
            Outcome::Failed(_) => {}
        }
    }
}
