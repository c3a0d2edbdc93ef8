//! Messages of a subscription that wake nobody: who waits for an answer is told, and what is dropped is
//! counted.

use crate::patterns::delivery::{Answer, Delivery, plugin_reply_subject};
use crate::patterns::directory::AgentPort;
use crate::patterns::disposition::Reason;
use crate::patterns::failure::send_error;
use crate::patterns::scatter::result_subject;
use crate::transport::{Message, RequestId, Trace};

use super::{Listener, Task, What};

impl Task {
    pub(super) async fn turn_away(&mut self, messages: &[Message], port: Option<&AgentPort>) {
        if messages.is_empty() {
            return;
        }
        self.count_dropped(messages.len() as u64);
        let reason = too_much(&self.listener);
        for message in messages {
            self.refuse(message, port, &reason).await;
        }
    }

    /// As [`Task::turn_away`], of what would have gone to any agent of the plugin.
    pub(super) async fn turn_back(&mut self, deliveries: Vec<Delivery>) {
        let all = deliveries.into_iter().flat_map(Delivery::each);
        let all: Vec<Delivery> = all.collect();
        if all.is_empty() {
            return;
        }
        self.count_dropped(all.len() as u64);
        let reason = too_much(&self.listener);
        let ports = self.all_ports();
        for Delivery { call, answer, .. } in all {
            let plugin = &self.listener.plugin;
            tracing::debug!(%plugin, subject = %call.subject, kind = %reason.kind, "{}", reason.message);
            if let (Answer::Reply { to, link } | Answer::Gather { to, link }, Some(port)) =
                (answer, ports.first())
            {
                send_error(&link, &to, port, &call.trace, &reason).await;
            }
        }
    }

    /// A message that must wake nobody. Whoever asks many waits for each of them; any other sender
    /// for one.
    pub(super) async fn refuse_all(&mut self, message: &Message, reason: &Reason) {
        let ports = self.ports(message);
        let one = self.listener.what == What::Messages || self.queue.is_some();
        for port in ports.iter().take(if one { 1 } else { usize::MAX }) {
            self.refuse(message, Some(port), reason).await;
        }
    }

    /// The group chose a host where nobody but the asking agent could answer.
    pub(super) async fn refuse_own(&mut self, message: &Message) {
        let text = "the group chose a host that has no agent of it but the one that asks";
        let reason = Reason::new("unavailable", text.to_owned());
        let ports = self.all_ports();
        self.refuse(message, ports.first(), &reason).await;
    }

    async fn refuse(&self, message: &Message, port: Option<&AgentPort>, reason: &Reason) {
        let plugin = &self.listener.plugin;
        tracing::debug!(%plugin, subject = %message.subject, kind = %reason.kind, "{}", reason.message);
        let to = match self.listener.what {
            What::Messages => plugin_reply_subject(message).map(str::to_owned),
            What::Questions => result_subject(message),
        };
        if let (Some(to), Some(port)) = (to, port) {
            let trace = Trace::received(&message.headers, RequestId::new);
            send_error(&self.listener.link, &to, port, &trace, reason).await;
        }
    }

    pub(super) fn count_dropped(&mut self, more: u64) {
        if more == 0 {
            return;
        }
        let before = self.dropped;
        self.dropped += more;
        // Said when the number passes a power of two: seen soon, and never a flood.
        if before == 0 || before.ilog2() < self.dropped.ilog2() {
            tracing::warn!(plugin = %self.listener.plugin, dropped = self.dropped,
                "messages dropped: the agents do not keep up with their subscriptions");
        }
    }
}

/// Why a message must not wake the plugin.
fn too_much(listener: &Listener) -> Reason {
    Reason::new(
        "busy",
        format!("plugin `{}` has too many messages waiting", listener.plugin),
    )
}
