//! Leadership notices to the instance: each change once, and never one that is already outdated.

use std::sync::Arc;
use std::time::Instant;

use super::super::candidate::Leadership;
use super::super::state::AgentState;
use mistersmith_runtime::Notice;

use super::super::event_loop::EventLoop;
use super::super::loop_port::{AgentPort, Revision};

/// Ends the agent's leadership on drop, however the agent ends.
pub(super) struct StepsDown(pub(super) Arc<AgentState>);

impl Drop for StepsDown {
    fn drop(&mut self) {
        self.0.set_takes(false);
    }
}

impl<P: AgentPort> EventLoop<P> {
    /// Notifies the instance of a change since the last notice.
    pub(super) async fn tell_of_leadership(&mut self) {
        if self.instance.is_none() {
            return;
        }
        let leads = self.handle.state.candidate.leadership(Instant::now());
        if let Some(ended) = self.leadership.take() {
            self.notify(notice(&ended, false)).await;
        }
        // The instance may have ended in the call above; then it does not lead.
        if let Some(begun) = leads.filter(|_| self.instance.is_some()) {
            self.notify(notice(&begun, true)).await;
            self.leadership = Some(begun);
        }
    }

    /// Whether the instance has been notified of the current leadership.
    pub(super) fn knows_its_leadership(&self) -> bool {
        if self.revision.spec().election.is_none() && self.leadership.is_none() {
            return true;
        }
        let leads = self.handle.state.candidate.leadership(Instant::now());
        leads.map(|leadership| leadership.term)
            == self.leadership.as_ref().map(|leadership| leadership.term)
    }

    /// Ends the leadership and the taking of messages of an instance before the next one begins.
    pub(super) fn resign(&mut self) {
        self.handle.state.set_takes(false);
        self.leadership = None;
    }
}

fn notice(leadership: &Leadership, leading: bool) -> Notice {
    Notice::Leadership {
        domain: leadership.domain.to_string(),
        leading,
        term: leadership.term,
    }
}
