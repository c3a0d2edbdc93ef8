//! What was handled before is not handled again, where the manifest says so.

use std::time::Duration;

use crate::limits;
use crate::patterns::delivery::Held;
use crate::patterns::idempotence;
use crate::runtime::{Call, Outcome};

use super::Life;

impl Life {
    /// Returns the message if it is to be handled. What was handled within the window is settled
    /// with what was answered then; what cannot be known is handed back.
    pub(super) async fn unless_done(
        &mut self,
        window: Duration,
        call: Box<Call>,
        mut held: Box<Held>,
    ) -> Option<(Box<Call>, Box<Held>)> {
        let settler = &self.around.settler;
        let key = idempotence::key(&self.port.plugin, &call, &held);
        match settler.guard().find(&key, window).await {
            Ok(None) => {
                held.record = Some(key);
                Some((call, held))
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
