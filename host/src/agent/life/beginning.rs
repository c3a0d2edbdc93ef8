//! The attempt at a message of a stream is recorded before the handler is called.

use crate::limits;
use crate::patterns::Answer;
use crate::runtime::Call;

use super::Life;

impl Life {
    /// Records the attempt at a message of a stream. None when it is not to be begun, and was given
    /// back.
    pub(super) async fn record(&mut self, call: &Call, waiting: Answer) -> Option<Answer> {
        let Answer::Held(mut held) = waiting else {
            return Some(waiting);
        };
        if !held.kept.is_ours() {
            tracing::debug!(agent = %self.port.id, subject = %call.subject,
                "not begun: another host may have it");
            return None;
        }
        let (settler, agent) = (&self.around.settler, &self.port.id);
        match Box::pin(settler.begin(&self.register, agent, call, &mut held)).await {
            Ok(()) => Some(Answer::Held(held)),
            Err(error) => {
                tracing::warn!(%agent, %error, subject = %call.subject,
                    "not begun: that it begins could not be stored");
                settler.put_off(held, limits::STORE_RETRY_DELAY).await;
                None
            }
        }
    }
}
