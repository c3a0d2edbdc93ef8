//! Instantiation of a revision, up to the return of its `start`.

use std::sync::Arc;

use tokio::sync::mpsc;

use crate::delivery::{Reason, ReasonKind};
use crate::events::lifecycle::LifecycleEvent;
use mistersmith_runtime::{RateLimits, RuntimeMessage, SharedConfig};

use super::super::event_loop::EventLoop;
use super::super::loop_port::{AgentInstance, AgentPort, InstanceSeat, Revision};

/// An instance whose `start` has returned and which does not take messages yet.
pub(super) struct Instantiated<I> {
    pub(super) instance: I,
    pub(super) runtime_messages: mpsc::UnboundedReceiver<Box<RuntimeMessage>>,
    pub(super) config: Arc<SharedConfig>,
}

impl<P: AgentPort> EventLoop<P> {
    /// Instantiates and starts a revision.
    pub(super) async fn instantiate(
        &mut self,
        revision: &P::Revision,
        rates: RateLimits,
    ) -> Result<Instantiated<P::Instance>, Reason> {
        let (inbox, runtime_messages) = mpsc::unbounded_channel();
        let config = self.handle.state.config_of(revision.spec());
        let seat = InstanceSeat {
            config: config.clone(),
            inbox,
            rates,
        };
        let instantiated = self.host.instantiate(&self.handle, revision, seat);
        let mut instance = instantiated.await?;
        if self.is_worth_telling() {
            self.announce(&LifecycleEvent::Started);
        }
        let outcome = instance.start().await;
        match Reason::of(&outcome) {
            None => Ok(Instantiated {
                instance,
                runtime_messages,
                config,
            }),
            Some(reason) => Err(Reason::new(
                ReasonKind::Start,
                format!("start failed: {} ({})", reason.message, reason.kind),
            )),
        }
    }
}
