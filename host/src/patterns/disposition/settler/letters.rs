//! The end of messages that failed for good: a dead letter, and only then the removal of the
//! original.

use crate::limits;
use crate::names::AgentId;
use crate::patterns::dead_letter;
use crate::patterns::delivery::{Held, Output};
use crate::runtime::Call;
use crate::transport::{Stored, TransportError, Unreadable};

use super::super::Reason;
use super::Settler;

impl Settler {
    /// Takes over a message that must not wake the plugin.
    pub async fn refuse(&self, call: Box<Call>, held: Box<Held>, reason: Reason) {
        let this = self.clone();
        let work = async move { this.bury(None, &call, held, reason).await };
        self.spawn(Box::pin(work)).await;
    }

    /// Stores a dead letter, and only then removes the message. One whose letter cannot be stored
    /// is sealed, so that nobody begins it again, and stays in its stream.
    pub(super) async fn bury(
        &self,
        agent: Option<&AgentId>,
        call: &Call,
        mut held: Box<Held>,
        reason: Reason,
    ) {
        let what = "dead letter not stored; the message stays in its stream";
        let insistence = &self.0.insistence;
        let mut trying = insistence.trying(what, Some(limits::LETTER_PATIENCE));
        loop {
            let error = match self.store_letter(agent, call, &held, &reason).await {
                Ok(letter) => return self.buried(agent, call, held, reason, letter).await,
                Err(error) => error,
            };
            if !trying.again(&error).await {
                insistence.say(what, &error);
                break;
            }
        }
        let mut trying = insistence.trying("an item that failed is not sealed", None);
        while let Err(error) = self.0.attempts.seal(&mut held, &reason).await {
            if !trying.again(&error).await {
                break;
            }
        }
        self.hand_back(held, limits::STORE_RETRY_DELAY).await;
    }

    /// The letter is stored: the original may go.
    async fn buried(
        &self,
        agent: Option<&AgentId>,
        call: &Call,
        mut held: Box<Held>,
        reason: Reason,
        letter: Stored,
    ) {
        self.confirm(&held, false).await;
        tracing::warn!(subject = %call.subject, kind = %reason.kind, error = %reason.message,
            "dead letter");
        let entry = dead_letter::audit(agent, call, &held, &reason, &letter);
        self.0.outbox.audit("dead-letter", entry);
        self.0.attempts.done(&mut held).await;
    }

    /// Stores the dead letter, and says where the pattern does that it was given up.
    async fn store_letter(
        &self,
        agent: Option<&AgentId>,
        call: &Call,
        held: &Held,
        reason: &Reason,
    ) -> Result<Stored, TransportError> {
        let letter = dead_letter::store(&self.0.link, agent, call, held, reason).await?;
        if let Output::Stage(run) = &held.output {
            run.failed(&self.0.link, agent, call, held, reason, &letter)
                .await?;
        }
        Ok(letter)
    }

    /// Takes a message out of the way that breaks the connection whenever it is delivered. The
    /// letter is stored before the original is removed; if that fails, it is found again.
    pub async fn quarantine(&self, found: &Unreadable) {
        let letter = match dead_letter::store_unreadable(&self.0.link, found).await {
            Ok(letter) => letter,
            Err(error) => {
                tracing::error!(%error, subject = found.subject,
                    "dead letter of an unreadable message not stored");
                return;
            }
        };
        let removed = match self.0.link.stream(&found.meta.stream) {
            Ok(stream) => stream.delete(found.meta.stream_sequence).await,
            Err(error) => Err(error),
        };
        if let Err(error) = removed {
            tracing::error!(%error, subject = found.subject, "unreadable message not removed");
            return;
        }
        tracing::warn!(
            subject = found.subject,
            error = found.problem,
            "dead letter: an unreadable message"
        );
        self.0
            .outbox
            .audit("dead-letter", dead_letter::audit_unreadable(found, &letter));
    }
}
