//! Messages of a subscription that wake nobody: who waits for an answer is told, and what is dropped is
//! counted.

use crate::patterns::delivery::{Answer, Delivery, plugin_reply_subject};
use crate::patterns::directory::AgentPort;
use crate::patterns::disposition::Reason;
use crate::patterns::failure::send_error;
use crate::patterns::posted::{Offer, Posted};
use crate::patterns::scatter::result_subject;
use crate::transport::{Message, RequestId, Trace};

use super::{Listener, Task, What};

impl Task {
    /// Messages that there is no room for in the mailbox of an agent.
    pub(super) async fn turn_away(
        &mut self,
        messages: impl IntoIterator<Item = &Posted>,
        port: &AgentPort,
    ) {
        let mut reason = None;
        for posted in messages {
            self.count_dropped(1);
            let reason = reason.get_or_insert_with(|| too_much(&self.listener));
            self.refuse_posted(posted, Some(port), reason).await;
        }
    }

    /// As [`Task::turn_away`], of a question.
    pub(super) async fn turn_question_away(&mut self, question: &Message, port: &AgentPort) {
        self.count_dropped(1);
        let reason = too_much(&self.listener);
        self.refuse(question, Some(port), &reason).await;
    }

    /// As [`Task::turn_away`], of what would have gone to any agent of the plugin.
    pub(super) async fn turn_back(&mut self, offers: Vec<Offer>) {
        if offers.is_empty() {
            return;
        }
        let reason = too_much(&self.listener);
        let ports = self.all_ports();
        let port = ports.first();
        for offer in offers {
            let posted = match offer {
                Offer::Ready(delivery) => {
                    self.count_dropped(1);
                    self.refuse_call(delivery, port, &reason).await;
                    continue;
                }
                Offer::Posted(posted) => vec![posted],
                Offer::Batch(batch) => batch,
            };
            for posted in &posted {
                self.count_dropped(1);
                self.refuse_posted(posted, port, &reason).await;
            }
        }
    }

    async fn refuse_posted(&self, posted: &Posted, port: Option<&AgentPort>, reason: &Reason) {
        let message = posted.message();
        self.log(&message.subject, reason);
        if let (Some((to, link)), Some(port)) = (posted.answered(), port) {
            let trace = Trace::received(&message.headers, RequestId::new);
            send_error(link, to, port, &trace, reason).await;
        }
    }

    async fn refuse_call(&self, refused: Delivery, port: Option<&AgentPort>, reason: &Reason) {
        let Delivery { call, answer, .. } = refused;
        self.log(&call.subject, reason);
        if let (Answer::Reply { to, link } | Answer::Gather { to, link }, Some(port)) =
            (answer, port)
        {
            send_error(&link, &to, port, &call.trace, reason).await;
        }
    }

    fn log(&self, subject: &str, reason: &Reason) {
        let plugin = &self.listener.plugin;
        tracing::debug!(%plugin, subject, kind = %reason.kind, "{}", reason.message);
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
        self.log(&message.subject, reason);
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
