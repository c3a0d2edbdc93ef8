//! The task of one agent: claimed, started, handling one message at a time, stopped or restarted.
//!
//! An agent owns one instance of a plugin's component. It takes messages from its mailbox, from the
//! plugin queue, and from the run-time subscriptions of its instance. [`crate::settle`]
//! acknowledges held messages; [`mistersmith_runtime`] checks the permissions of a call. An agent
//! never touches another agent, so that the failure of one ends no other.

use tokio::sync::{Mutex, mpsc, oneshot};
use tokio_util::task::AbortOnDropHandle;

use super::deps::AgentDeps;
use super::directory::{AgentHandle, Control};
use super::event_loop::EventLoop;
use super::host_port::HostPort;
use super::inboxes::{Inboxes, Reload};
use super::revision::PluginRevision;
use crate::delivery::{Reason, ReasonKind};
use crate::status::StopReason;

/// A running agent, owned by its starter. Dropping it aborts the task.
#[derive(Debug)]
pub struct Agent {
    handle: AgentHandle,
    reload: mpsc::Sender<Box<Reload<PluginRevision>>>,
    task: Mutex<Option<AbortOnDropHandle<()>>>,
}

impl Agent {
    /// Starts the task of the agent, which publishes its own lifecycle events from here on.
    pub fn start(
        handle: AgentHandle,
        inboxes: Inboxes,
        revision: PluginRevision,
        deps: AgentDeps,
    ) -> Self {
        let (reload, reloads) = mpsc::channel(1);
        let host = HostPort::new(deps, &handle.id);
        let event_loop = EventLoop::new(host, revision, handle.clone(), (inboxes, reloads));
        // Aborted on drop: an agent without an owner must not act under its id.
        let task = AbortOnDropHandle::new(tokio::spawn(event_loop.run()));
        Self {
            handle,
            reload,
            task: Mutex::new(Some(task)),
        }
    }

    /// The handle through which patterns reach the agent.
    pub fn handle(&self) -> &AgentHandle {
        &self.handle
    }

    /// Replaces the agent's revision: starts the new instance while the old one finishes its
    /// message. If the new instance does not start, the old one continues and the reason is
    /// returned.
    pub async fn replace(&self, revision: PluginRevision) -> Result<(), Reason> {
        let gone = || {
            Reason::new(
                ReasonKind::Stopped,
                format!("agent `{}` has stopped", self.handle.id),
            )
        };
        let (done, answer) = oneshot::channel();
        self.reload
            .send(Box::new(Reload { revision, done }))
            .await
            .map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }

    /// Stops the agent after its current message; returns when the task has ended.
    pub async fn stop(&self, reason: StopReason) {
        let (done, gone) = oneshot::channel();
        if self
            .handle
            .control
            .send(Control::Stop { reason, done })
            .await
            .is_ok()
        {
            let _ = gone.await;
        }
    }

    /// Aborts the agent, even in the middle of a message; JetStream delivers its work again.
    pub async fn abort(&self) {
        if let Some(task) = self.task.lock().await.take() {
            task.abort();
            let _ = task.await;
        }
    }

    /// Whether the task has ended, for instance after a shutdown command.
    pub async fn is_gone(&self) -> bool {
        self.task
            .lock()
            .await
            .as_ref()
            .is_none_or(AbortOnDropHandle::is_finished)
    }
}
