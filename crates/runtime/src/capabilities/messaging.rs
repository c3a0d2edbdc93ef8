//! `messaging`: publish, publish that is stored, request, subscribe.
//!
//! Each message carries the agent's id and continues the trace of the message being handled. The
//! guest never chooses a reply subject, and receives nothing that its permissions forbid.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::task::AbortOnDropHandle;

use super::context::owned;
use super::{AgentContext, Guest, RuntimeMessage, Source};
use crate::bindings::mistersmith::agent::messaging::{self, Error, Header, Message, Stored};
use mistersmith_core::permissions::headers::guest_headers;
use mistersmith_core::permissions::{Permissions, Refusal};
use mistersmith_nats::trace::header;
use mistersmith_nats::{Claim, Headers, Subscription, by, within};

impl messaging::Host for Guest {
    async fn publish(
        &mut self,
        subject: String,
        payload: Vec<u8>,
        headers: Vec<Header>,
    ) -> Result<(), Error> {
        let admitted = self.admit(
            "publish",
            &subject,
            &payload,
            &headers,
            Permissions::publish,
        );
        let headers = admitted.await?;
        let connection = self.own_connection()?;
        // It was admitted: the subject is good, and the connection up. Where it is made: a guest
        // that publishes would pay for each time it is moved.
        let sent = pin!(connection.send_now(subject, headers, Bytes::from(payload)));
        match by(|| self.patience(), sent).await {
            Some(sent) => sent?,
            None => return Err(busy()),
        }
        self.context.counters.sent.add_one();
        Ok(())
    }

    async fn publish_stored(
        &mut self,
        subject: String,
        payload: Vec<u8>,
        headers: Vec<Header>,
    ) -> Result<Stored, Error> {
        let admitted = self.admit(
            "publish-stored",
            &subject,
            &payload,
            &headers,
            Permissions::publish,
        );
        let headers = admitted.await?;
        let wait = left(self.patience());
        let connection = self.connection()?;
        self.context.counters.sent.add_one();
        let payload = Bytes::from(payload);
        let stored = async {
            // Elsewhere nobody would look for the payload, or remove it.
            if Claim::is_for(&subject) {
                let stored = connection.publish_stored_any(&subject, headers, payload, wait);
                return stored.await;
            }
            connection
                .publish_stored(&subject, headers, payload, wait)
                .await
        };
        // Beyond its own wait it may ask whether there is such a stream at all.
        let stored = within(self.patience(), stored)
            .await
            .ok_or(Error::Timeout)??;
        Ok(Stored {
            stream: stored.stream,
            sequence: stored.sequence,
            duplicate: stored.duplicate,
        })
    }

    async fn request(
        &mut self,
        subject: String,
        payload: Vec<u8>,
        headers: Vec<Header>,
        timeout_ms: Option<u32>,
    ) -> Result<Message, Error> {
        let admitted = self.admit(
            "request",
            &subject,
            &payload,
            &headers,
            Permissions::request,
        );
        let mut headers = admitted.await?;
        let _waiting = self.wait_slot()?;
        let mut wait = left(self.request_patience());
        if let Some(wish) = timeout_ms {
            wait = wait.min(Duration::from_millis(wish.into()));
        }
        let shown = wait.as_millis();
        if shown == 0 {
            return Err(Error::Timeout);
        }
        headers.set(header::TIMEOUT, &shown.to_string());
        let connection = self.connection()?;
        self.context.counters.sent.add_one();
        let answer = connection
            .request(&subject, headers, Bytes::from(payload), wait)
            .await?;
        self.context.check_size("answer", answer.payload.len())?;
        Ok(Message {
            subject: answer.subject,
            headers: owned(&answer.headers),
            payload: answer.payload.into(),
        })
    }

    async fn subscribe(&mut self, subject: String, queue: Option<String>) -> Result<u64, Error> {
        let context = &self.context;
        let allowed = context.permissions.subscribe(&subject, queue.as_deref());
        allowed.map_err(|refusal| context.refuse("subscribe", refusal))?;
        self.room_for_subscription()?;
        let connection = self.connection()?;
        context.take_publish().await?;
        let subscribed = within(
            self.patience(),
            connection.subscribe_within(&subject, queue.as_deref(), context.rates.inbound()),
        )
        .await;
        let subscription = subscribed.ok_or_else(busy)??;
        let id = context.rates.next_subscription();
        let task = tokio::spawn(forward(
            Source::Subscription(id),
            subscription,
            Arc::clone(context),
        ));
        self.subscriptions.insert(id, AbortOnDropHandle::new(task));
        Ok(id)
    }

    fn unsubscribe(&mut self, subscription: u64) -> Result<(), Error> {
        match self.subscriptions.remove(&subscription) {
            Some(_ended_when_dropped) => Ok(()),
            None => Err(Error::NotFound(format!(
                "the agent has no subscription {subscription}"
            ))),
        }
    }
}

impl Guest {
    /// Checks a message, and returns the headers to send it with.
    pub(super) async fn admit(
        &mut self,
        action: &'static str,
        subject: &str,
        payload: &[u8],
        headers: &[Header],
        permitted: impl Fn(&Permissions, &str) -> Result<(), Refusal>,
    ) -> Result<Headers, Error> {
        let context = &self.context;
        let pairs = headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()));
        permitted(&context.permissions, subject)
            .and_then(|()| guest_headers(pairs))
            .map_err(|refusal| context.refuse(action, refusal))?;
        context.check_size("payload", payload.len())?;
        self.connection()?;
        context.take_publish().await?;
        self.take_bytes(payload.len()).await?;
        self.stamp(headers)
    }

    /// Whether the agent may have one more subscription; what it watches counts as one.
    pub(super) fn room_for_subscription(&self) -> Result<(), Error> {
        let most = self.context.limits.subscriptions;
        if self.subscriptions.len() + self.watches.len() < most as usize {
            return Ok(());
        }
        Err(self.context.limit(Error::Exhausted(format!(
            "the agent has {most} subscriptions, and [limits] subscriptions allows no more"
        ))))
    }

    /// One of the plugin's slots for requests that wait for an answer.
    pub(super) fn wait_slot(&self) -> Result<OwnedSemaphorePermit, Error> {
        let requests = Arc::clone(&self.context.requests);
        requests.try_acquire_owned().map_err(|_| {
            let most = self.context.limits.requests;
            self.context.limit(Error::Exhausted(format!(
                "{most} requests of this plugin wait for an answer, and [limits] requests allows \
                 no more"
            )))
        })
    }

    /// The guest's headers, and over them those of the host.
    fn stamp(&mut self, headers: &[Header]) -> Result<Headers, Error> {
        // The guest's were checked: none of them has the name of one of the host's.
        let (trace, context) = self.speaks();
        let mut stamped = trace.stamped(Some(&context.agent));
        for (name, value) in headers {
            stamped.append(name, value)?;
        }
        Ok(stamped)
    }
}

/// Moves the messages of a subscription into the agent's inbox until either ends.
pub(super) async fn forward(
    source: Source,
    mut subscription: Subscription,
    context: Arc<AgentContext>,
) {
    let mut dropped = 0;
    while let Some((message, charge)) = subscription.next_charged().await {
        let lost = subscription.dropped();
        context.counters.lost.add(lost.saturating_sub(dropped));
        dropped = lost;
        if !context.permissions.may_receive(&message.subject) {
            continue;
        }
        if message.payload.len() > context.limits.payload {
            context.counters.lost.add_one();
            continue;
        }
        context.counters.received.add_one();
        let heard = Box::new(RuntimeMessage {
            source: source.clone(),
            message,
            charge,
        });
        if context.inbox.send(heard).is_err() {
            return;
        }
    }
}

fn left(until: Instant) -> Duration {
    until.saturating_duration_since(Instant::now())
}

pub(super) fn busy() -> Error {
    Error::Unavailable("the send queue to the NATS server is full".to_owned())
}
