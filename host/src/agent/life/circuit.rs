//! A message that the circuit does not let through.

use crate::patterns::failure::send_error;
use crate::patterns::{Answer, Delivery};
use crate::runtime::Call;

use super::Life;

impl Life {
    /// Another message was faster. One of a stream waits for its turn, held, with the others of the
    /// plugin; who waits for an answer is told; an event waits too, where any agent may take it.
    pub(super) async fn hold(&mut self, call: Box<Call>, waiting: Answer) {
        if let (Answer::Reply { to, link }, Some(reason)) = (&waiting, self.crew.circuit.refusal())
        {
            return send_error(link, to, &self.port, &call.trace, &reason).await;
        }
        self.crew.offer(Delivery {
            call,
            answer: waiting,
            weight: None,
            rest: None,
        });
    }
}
