//! Reload: replaces the revision of an agent under the same id.

use crate::status::StopReason;
use mistersmith_core::permissions::SubjectFilterCache;
use mistersmith_runtime::RateLimits;

use super::super::event_loop::EventLoop;
use super::super::inboxes::Reload;
use super::super::loop_port::{AgentInstance, AgentPort, Revision};

impl<P: AgentPort> EventLoop<P> {
    /// Starts the new revision beside the old one, which continues if the new one fails.
    pub(super) async fn replaced(&mut self, reload: Box<Reload<P::Revision>>) {
        let Reload { revision, done } = *reload;
        let rates = RateLimits::new(&revision.spec().limits);
        self.resign();
        match self.instantiate(&revision, rates.clone()).await {
            Ok(instantiated) => {
                self.subjects = SubjectFilterCache::new(revision.permissions(&self.handle.id));
                self.revision = revision;
                self.rates = rates;
                self.adopt();
                if let Some(old) = self.instance.take() {
                    old.stop(StopReason::Reload.as_str()).await;
                }
                self.backoff.succeeded();
                self.announced = false;
                self.ready(instantiated);
                let _ = done.send(Ok(()));
            }
            Err(reason) => {
                let _ = done.send(Err(reason));
            }
        }
    }
}
