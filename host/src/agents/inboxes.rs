//! The channels into an agent's event loop: mailbox, control, and revision replacement.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use mistersmith_core::limits;
use mistersmith_core::names::{AgentId, PluginName};

use super::directory::{AgentHandle, Control};
use super::mailbox::{Inbox, mailbox};
use super::plugin_queue::PluginQueue;
use super::state::AgentState;
use crate::delivery::Reason;

/// A request to replace the agent's revision.
pub(super) struct Reload<R> {
    pub(super) revision: R,
    pub(super) done: oneshot::Sender<Result<(), Reason>>,
}

/// The receiving ends of an [`AgentHandle`].
#[derive(Debug)]
pub struct Inboxes {
    pub(super) mailbox: Inbox,
    pub(super) control: mpsc::Receiver<Control>,
}

/// Creates the handle of an agent and its receiving ends.
pub fn handle(
    id: AgentId,
    plugin: PluginName,
    state: Arc<AgentState>,
    plugin_queue: Arc<PluginQueue>,
) -> (AgentHandle, Inboxes) {
    let (mail, inbox) = mailbox();
    let (tell, control) = mpsc::channel(limits::CONTROLS);
    let handle = AgentHandle {
        id,
        plugin,
        mailbox: mail,
        control: tell,
        state,
        plugin_queue,
    };
    let inboxes = Inboxes {
        mailbox: inbox,
        control,
    };
    (handle, inboxes)
}
