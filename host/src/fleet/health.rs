//! `health.check.<id>` and the literal `health.check.*`: each targeted agent answers for itself.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use mistersmith_core::limits;
use mistersmith_nats::{Connection, Message, RequestId, Trace, TransportError};

use crate::agents::{AgentHandle, Control, Directory, Target};
use crate::delivery::reply_subject;
use crate::events::lifecycle;

use super::serve::{self, Answering};

/// The time an idle agent has for its health check before the last known answer is sent.
const ASK: Duration = Duration::from_millis(250);

/// Answers health checks until cancelled.
pub async fn serve(
    connection: Connection,
    directory: Directory,
    cancel: CancellationToken,
) -> Result<(), TransportError> {
    let checks = connection.subscribe("health.check.*", None).await?;
    let answering = Answering::new();
    let answer_check = move |check: Message| {
        let (connection, answering) = (connection.clone(), answering.clone());
        let handles = directory.find(&target(&check));
        async move {
            let each = |handle: AgentHandle, place| {
                let (connection, check) = (connection.clone(), check.clone());
                async move {
                    answer(&connection, &check, &handle).await;
                    drop(place);
                }
            };
            answering.each(handles, true, each).await;
        }
    };
    let asks_all = |check: &Message| target(check) == Target::All;
    tokio::spawn(serve::serve_both(checks, cancel, asks_all, answer_check));
    Ok(())
}

fn target(check: &Message) -> Target {
    Target::parse(check.subject.rsplit('.').next().unwrap_or_default())
}

async fn answer(connection: &Connection, message: &Message, handle: &AgentHandle) {
    let Some(reply) = reply_subject(message) else {
        return;
    };
    ask(handle).await;
    let body = lifecycle::health(&handle.snapshot()).to_string();
    let headers = Trace::received(&message.headers, RequestId::new).stamped_json(Some(&handle.id));
    if let Err(error) = connection.publish(reply, None, headers, body.into()).await {
        tracing::debug!(agent = %handle.id, %error, "health check not answered");
    }
}

/// Runs the plugin's own health check if its agent becomes idle soon enough; the answer is stored
/// in the state.
pub async fn ask(handle: &AgentHandle) {
    // A busy agent gets no further requests: those that nobody waits for any more must not take the
    // room of a shutdown.
    if handle.control.capacity() <= limits::CONTROLS / 2 {
        return;
    }
    let (sender, health) = oneshot::channel();
    if handle.control.try_send(Control::Health(sender)).is_ok()
        && let Ok(Ok(health)) = tokio::time::timeout(ASK, health).await
    {
        handle.state.set_health(health);
    }
}
