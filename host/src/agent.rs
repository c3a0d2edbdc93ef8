//! One agent's life: claimed, started, handling one message at a time, ended or started again.
//!
//! An agent is a task that owns one instance of a plugin's component. It takes messages from its
//! mailbox, from the queue that it shares with the other agents of its plugin, and from its own
//! run-time subscriptions. What a message's fate is it leaves to [`crate::patterns`]; what a call
//! may do, to [`crate::runtime`]. It never touches another agent.

mod answer;
mod backoff;
mod life;

use std::sync::Arc;

use tokio::sync::{Mutex, Semaphore, mpsc, oneshot};
use tokio_util::task::AbortOnDropHandle;

use crate::config::PluginSpec;
use crate::limits;
use crate::names::AgentId;
use crate::patterns::disposition::{Reason, Settler};
use crate::patterns::mailbox::{Inbox, mailbox};
use crate::patterns::outbox::Outbox;
use crate::patterns::{AgentPort, Control, Crew};
use crate::permissions::PluginPermissions;
use crate::runtime::{Audit, Component, Coordination, Runtime};
use crate::transport::Link;

/// One version of a plugin, ready to run: after this is built, no configuration can fail.
#[derive(Clone)]
pub struct Version {
    /// What its manifest says.
    pub spec: Arc<PluginSpec>,
    /// Its component, compiled and checked against the world.
    pub component: Component,
    /// The connection of its capabilities: the host's, or its own.
    pub link: Link,
    /// What its credentials file held when its own connection was opened.
    pub credentials: Option<Arc<[u8]>>,
    /// What its agents may do.
    pub permissions: PluginPermissions,
    /// Requests of all its agents that may wait for an answer.
    pub requests: Arc<Semaphore>,
}

/// What agents need of the host.
#[derive(Clone)]
pub struct Surroundings {
    /// Runs components.
    pub runtime: Arc<Runtime>,
    /// Carries verdicts out.
    pub settler: Settler,
    /// Takes events.
    pub outbox: Outbox,
    /// The connection for results that nobody waits for.
    pub work: Link,
    /// Hears what agents were refused.
    pub audit: Arc<dyn Audit>,
    /// Runs what agents do together.
    pub coordination: Arc<dyn Coordination>,
}

/// A running agent, in the hands of whoever started it.
#[derive(Debug)]
pub struct Agent {
    port: AgentPort,
    swap: mpsc::Sender<Box<Swap>>,
    task: Mutex<Option<AbortOnDropHandle<()>>>,
}

/// An agent is asked to go on as another version.
struct Swap {
    version: Version,
    done: oneshot::Sender<Result<(), Reason>>,
}

impl Agent {
    /// Starts an agent. It reports for itself from here on.
    pub fn start(
        port: AgentPort,
        inboxes: Inboxes,
        version: Version,
        crew: Arc<Crew>,
        around: Surroundings,
    ) -> Self {
        let (swap, swaps) = mpsc::channel(1);
        let life = life::Life::new(port.clone(), inboxes, swaps, version, crew, around);
        // An agent that nobody holds any longer must not go on under its id.
        let task = AbortOnDropHandle::new(tokio::spawn(life.run()));
        Self {
            port,
            swap,
            task: Mutex::new(Some(task)),
        }
    }

    /// Where patterns reach it.
    pub fn port(&self) -> &AgentPort {
        &self.port
    }

    /// Lets the agent go on as another version: the new instance is started first, the old one
    /// finishes its message. When the new one does not start, the old one goes on and the reason
    /// is returned.
    pub async fn replace(&self, version: Version) -> Result<(), Reason> {
        let gone = || Reason::new("stopped", format!("agent `{}` has stopped", self.port.id));
        let (done, answer) = oneshot::channel();
        self.swap
            .send(Box::new(Swap { version, done }))
            .await
            .map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }

    /// Lets the agent finish its message and end. Returns when it has gone.
    pub async fn stop(&self, reason: &'static str) {
        let (done, gone) = oneshot::channel();
        if self
            .port
            .control
            .send(Control::Stop { reason, done })
            .await
            .is_ok()
        {
            let _ = gone.await;
        }
    }

    /// Ends the agent now, in the middle of a message if need be: its work is delivered again.
    pub async fn abort(&self) {
        if let Some(task) = self.task.lock().await.take() {
            task.abort();
            let _ = task.await;
        }
    }

    /// Whether it has gone, by a command for instance.
    pub async fn is_gone(&self) -> bool {
        self.task
            .lock()
            .await
            .as_ref()
            .is_none_or(AbortOnDropHandle::is_finished)
    }
}

/// The receiving ends of an [`AgentPort`].
#[derive(Debug)]
pub struct Inboxes {
    mailbox: Inbox,
    control: mpsc::Receiver<Control>,
}

/// Makes both ends of an agent's port.
pub fn port(
    id: AgentId,
    plugin: crate::names::PluginName,
    cell: Arc<crate::patterns::cell::AgentCell>,
    crew: Arc<Crew>,
) -> (AgentPort, Inboxes) {
    let (mail, inbox) = mailbox();
    let (tell, control) = mpsc::channel(limits::CONTROLS);
    let port = AgentPort {
        id,
        plugin,
        mailbox: mail,
        control: tell,
        cell,
        crew,
    };
    let inboxes = Inboxes {
        mailbox: inbox,
        control,
    };
    (port, inboxes)
}
