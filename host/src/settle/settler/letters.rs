//! Dead-lettering: `bury` for items that failed for good, `refuse` for items that must not begin,
//! and `quarantine` for items that cannot be parsed.
//!
//! The dead letter is stored before the original is removed. In the other order, a crash between
//! the two would lose the message.

use std::time::Duration;

use crate::delivery::{FinalFailure, HeldMessage};
use crate::settle::dead_letter;
use mistersmith_core::limits;
use mistersmith_core::names::AgentId;
use mistersmith_nats::{Stored, TransportError, Unreadable};
use mistersmith_runtime::Call;

use super::super::settler::{End, Settler};
use super::retries::{Consequence, ServerCall};
use crate::delivery::Reason;

impl Settler {
    /// Dead-letters a message without calling the handler.
    pub async fn dead_letter(&self, call: Box<Call>, held: Box<HeldMessage>, reason: Reason) {
        let this = self.clone();
        let work = async move { this.bury(None, &call, held, reason).await };
        self.spawn(Box::pin(work)).await;
    }

    /// Stores a dead letter, and only then removes the message. A message that was rejected before
    /// its last attempt is sealed first, so that no host begins it after a crash. If the letter
    /// cannot be stored, the message is sealed and stays in its stream.
    pub(super) async fn bury(
        &self,
        agent: Option<&AgentId>,
        call: &Call,
        mut held: Box<HeldMessage>,
        reason: Reason,
    ) {
        if agent.is_some() && held.tries.begun() < held.rule.max_deliver {
            // It has attempts left: after a crash it would begin again beside its letter.
            self.seal(&mut held, &reason, Some(limits::LETTER_PATIENCE))
                .await;
        }
        let store = ServerCall::StoreLetter;
        let retries = &self.0.retries;
        let mut trying = retries.trying(store, Some(limits::LETTER_PATIENCE));
        loop {
            let failure = FinalFailure {
                agent,
                call,
                held: &held,
                reason: &reason,
            };
            let error = match self.store_letter(failure).await {
                Ok(letter) => return self.buried(agent, call, held, (reason, letter)).await,
                Err(error) => error,
            };
            if !trying.again(&held.info, &error).await {
                retries.log(store, &held.info, &error, Consequence::GivenBack);
                break;
            }
        }
        self.seal(&mut held, &reason, None).await;
        self.hand_back(held, limits::STORE_RETRY_DELAY).await;
    }

    /// Records that the message has failed for good: the next host that gets it dead-letters it and
    /// does not begin it.
    async fn seal(&self, held: &mut HeldMessage, reason: &Reason, patience: Option<Duration>) {
        let retries = &self.0.retries;
        let mut trying = retries.trying(ServerCall::Seal, patience);
        while let Err(error) = self.0.attempts.seal(held.counted(), reason).await {
            if !trying.again(&held.info, &error).await {
                retries.log(ServerCall::Seal, &held.info, &error, Consequence::GivenBack);
                break;
            }
        }
    }

    /// Removes the original of a stored letter. If the removal is not confirmed, the message may be
    /// delivered again; it is sealed, since without its record it would begin as if for the first
    /// time.
    async fn buried(
        &self,
        agent: Option<&AgentId>,
        call: &Call,
        mut held: Box<HeldMessage>,
        (reason, letter): (Reason, Stored),
    ) {
        let removed = self.confirm(&held, End::Term).await;
        tracing::warn!(subject = %call.subject, kind = %reason.kind, error = %reason.message,
            "dead letter");
        let failure = FinalFailure {
            agent,
            call,
            held: &held,
            reason: &reason,
        };
        let entry = dead_letter::audit(failure, &letter);
        self.0.storage.audit("dead-letter", entry);
        match removed {
            true => self.0.attempts.done(held.counted()).await,
            false => self.seal(&mut held, &reason, None).await,
        }
    }

    /// Stores the dead letter, and reports the failure to the pattern.
    async fn store_letter(&self, failure: FinalFailure<'_>) -> Result<Stored, TransportError> {
        let letter = self.0.storage.store_letter(failure).await?;
        let completion = failure.held.completion.as_ref();
        if let Some(report) = completion.and_then(|c| c.failed(failure, &letter)) {
            report.await?;
        }
        Ok(letter)
    }

    /// Dead-letters a message that breaks the connection at each delivery. The letter is stored
    /// before the original is removed; if the removal fails, the message is found again.
    pub async fn quarantine(&self, found: &Unreadable) {
        self.0.storage.bury_unreadable(found).await;
    }
}
