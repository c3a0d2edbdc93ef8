//! What was handled before is not handled again, where the manifest says so.

use crate::limits;
use crate::patterns::Answer;
use crate::patterns::idempotence;
use crate::runtime::{Call, Outcome};

use super::Life;

impl Life {
    /// Returns the message if it is to be handled. What was handled within the window is settled
    /// with what was answered then; what cannot be known is handed back.
    pub(super) async fn unless_done(
        &mut self,
        call: Call,
        waiting: Answer,
    ) -> Option<(Call, Answer)> {
        let (window, mut held) = match (self.version.spec.idempotence, waiting) {
            (Some(window), Answer::Held(held)) => (window, held),
            (_, waiting) => return Some((call, waiting)),
        };
        let settler = &self.around.settler;
        let key = idempotence::key(&self.port.plugin, &call, &held);
        match settler.guard().find(&key, window).await {
            Ok(None) => {
                held.record = Some(key);
                Some((call, Answer::Held(held)))
            }
            Ok(Some(recorded)) => {
                tracing::debug!(agent = %self.port.id, key, "handled before: its result is stored again");
                let outcome = Outcome::Done(Some(recorded.reply));
                settler.settle(&recorded.agent, call, held, outcome).await;
                None
            }
            Err(error) => {
                tracing::warn!(agent = %self.port.id, key, %error, "not known whether it was handled before");
                settler.put_off(held, limits::STORE_RETRY_DELAY).await;
                None
            }
        }
    }
}
