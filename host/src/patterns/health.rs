//! `health.check.<id>` and the literal `health.check.*`: each agent meant answers for itself.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::limits;
use crate::transport::{Headers, Link, Message, RequestId, Trace, TransportError};

use super::delivery::reply_subject;
use super::directory::{AgentPort, Control, Directory, Target};
use super::lifecycle;

/// How long an idle agent may think about its health before the last known answer is given.
const ASK: Duration = Duration::from_millis(250);

/// Answers health checks until cancelled.
pub async fn serve(
    link: Link,
    directory: Directory,
    cancel: CancellationToken,
) -> Result<(), TransportError> {
    let mut checks = link.subscribe("health.check.*", None).await?;
    tokio::spawn(async move {
        let places = std::sync::Arc::new(tokio::sync::Semaphore::new(limits::MAX_ANSWERING));
        loop {
            let message = tokio::select! {
                message = checks.next() => message,
                () = cancel.cancelled() => None,
            };
            let Some(message) = message else { return };
            let token = message.subject.rsplit('.').next().unwrap_or_default();
            for port in directory.find(&Target::parse(token)) {
                let (link, message) = (link.clone(), message.clone());
                let Ok(place) = places.clone().acquire_owned().await else {
                    return;
                };
                tokio::spawn(async move {
                    answer(&link, &message, &port).await;
                    drop(place);
                });
            }
        }
    });
    Ok(())
}

async fn answer(link: &Link, message: &Message, port: &AgentPort) {
    let Some(reply) = reply_subject(message) else {
        return;
    };
    ask(port).await;
    let body = lifecycle::health(&port.snapshot()).to_string();
    let mut headers = Headers::default();
    headers.set("Content-Type", "application/json");
    Trace::received(&message.headers, RequestId::new).stamp(Some(&port.id), &mut headers);
    if let Err(error) = link.publish(reply, None, headers, body.into()).await {
        tracing::debug!(agent = %port.id, %error, "health check not answered");
    }
}

/// Asks the plugin itself, if its agent is idle soon enough; its answer is kept in the cell.
pub async fn ask(port: &AgentPort) {
    // A busy agent is told nothing until it is done: questions that nobody waits for any more must
    // not take the room of a shutdown.
    if port.control.capacity() <= limits::CONTROLS / 2 {
        return;
    }
    let (sender, health) = oneshot::channel();
    if port.control.try_send(Control::Health(sender)).is_ok()
        && let Ok(Ok(health)) = tokio::time::timeout(ASK, health).await
    {
        port.cell.set_health(health);
    }
}
