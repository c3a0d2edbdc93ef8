//! One work item, from its message to the call of the handler.

use std::time::Instant;

use crate::config::Schema;
use crate::names::Priority;
use crate::patterns::attempts::Admission;
use crate::patterns::claims::Arrival;
use crate::patterns::delivery::{Held, call};
use crate::patterns::disposition::Settler;
use crate::runtime::{Call, Kind};
use crate::transport::{Message, Trace};

/// Takes in an item that was delivered before, once it is known how often it was begun; what is to
/// be handled is returned.
pub(super) async fn admit(
    (priority, schema): (Priority, Option<Schema>),
    message: Message,
    mut held: Box<Held>,
    settler: Settler,
) -> Option<Arrival> {
    let admission = settler.attempts().admit(&mut held, Instant::now()).await;
    let call = call_of(priority, message, &held);
    match admission {
        Admission::Granted => return Some(Arrival { call, held, schema }),
        Admission::Refused(reason) => settler.refuse(call, held, reason).await,
        Admission::Later(delay) => settler.put_off(held, delay).await,
    }
    None
}

/// What an agent is called with for a work item.
pub(super) fn call_of(priority: Priority, mut message: Message, held: &Held) -> Box<Call> {
    let (retries, sequence) = (held.retries(), held.meta.stream_sequence);
    let trace = Trace::received(&message.headers, || format!("wq-{sequence}"));
    message.headers.set("X-Retry-Count", &retries.to_string());
    message.headers.set("X-Priority", priority.as_str());
    let kind = Kind::Work { priority, retries };
    call(kind, message, trace.at(priority))
}
