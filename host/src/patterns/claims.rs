//! Claim checks of held messages: the payload is fetched before the plugin is woken, and removed after the
//! message is acknowledged.
//!
//! Never holds up the pulling, never counts a server that is away as a try, and never holds more bytes than
//! [`limits::MAX_CLAIMED_BYTES`] on one host.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::config::Schema;
use crate::limits;
use crate::runtime::Call;
use crate::transport::{CLAIM, CLAIM_SIZE, Claim, ClaimError, Headers, Link};

use super::delivery::{Answer, Delivery, Held, admit};
use super::disposition::Reason;
use super::work_queue::Feed;

/// Room is counted in this many bytes.
const UNIT: usize = 1024;
/// The pause after a server did not answer.
const PAUSE: Duration = Duration::from_millis(250);

/// Hands a message with its payload to the agents, unless it must not wake the plugin.
pub async fn take_in(arrival: Arrival, found: Found, feed: &Feed) {
    let Arrival { call, held, schema } = arrival;
    let refused = match found {
        Found::Whole => admit(&call.payload, feed.payload, schema.as_ref()).err(),
        Found::Refused(reason) => Some(reason),
        Found::Later(delay) => return feed.settler.put_off(held, delay).await,
    };
    match refused {
        Some(reason) => feed.settler.refuse(call, held, reason).await,
        None => feed.crew.offer(Delivery {
            call,
            answer: Answer::Held(held),
            weight: None,
            rest: None,
        }),
    }
}

/// Where payloads are fetched, and how many bytes of them this host may hold. Shared by all plugins.
#[derive(Debug, Clone)]
pub struct Claims {
    link: Link,
    room: Arc<Semaphore>,
}

/// A payload that was fetched for a held message: it is removed when that is acknowledged.
#[derive(Debug)]
pub struct Claimed {
    claim: Claim,
    size: usize,
    /// The room that it takes here.
    _room: Option<OwnedSemaphorePermit>,
}

/// A held message that is not yet in the crew.
#[derive(Debug)]
pub struct Arrival {
    /// What the component will be called with.
    pub call: Box<Call>,
    /// How it is settled.
    pub held: Box<Held>,
    /// What its payload must look like.
    pub schema: Option<Schema>,
}

/// What came of fetching the payload of a message.
#[derive(Debug)]
pub enum Found {
    /// It is as if the payload had been in the message.
    Whole,
    /// The plugin must not be woken.
    Refused(Reason),
    /// Later again, after this time.
    Later(Duration),
}

/// The messages of one plugin whose payloads are being fetched.
#[derive(Default)]
pub struct Fetching {
    tasks: FuturesUnordered<BoxFuture<'static, (Arrival, Found)>>,
    stop: CancellationToken,
}

impl Claims {
    /// Fetches over this connection.
    pub fn new(link: Link) -> Self {
        Self {
            link,
            room: Arc::new(Semaphore::new(limits::MAX_CLAIMED_BYTES / UNIT)),
        }
    }

    /// Puts the payload, of at most `most` bytes, into a message that has a claim.
    async fn fetch(&self, arrival: &mut Arrival, most: usize) -> Found {
        let claim = match Claim::of(&arrival.call.headers) {
            None => return Found::Whole,
            Some(Ok(claim)) => claim,
            Some(Err(error)) => return refused(&error, most),
        };
        let start = Instant::now();
        loop {
            let error = match self.read(&claim, &arrival.call.subject, most).await {
                Ok((payload, claimed)) => {
                    arrival.fill(payload, claimed);
                    return Found::Whole;
                }
                Err(error) => error,
            };
            let Held { meta, rule, .. } = &*arrival.held;
            match &error {
                // The message stays held meanwhile, so that this is no try.
                ClaimError::Later(why) if why.is_transient() => {
                    if start.elapsed() > limits::STORE_RETRY_DELAY {
                        return Found::Later(limits::STORE_RETRY_DELAY);
                    }
                    tokio::time::sleep(PAUSE).await;
                }
                // Another host may just have finished the message: then it does not come again.
                ClaimError::Missing(_) if meta.deliveries == 1 => {
                    return Found::Later(rule.delay(1));
                }
                _ => return refused(&error, most),
            }
        }
    }

    async fn read(
        &self,
        claim: &Claim,
        subject: &str,
        most: usize,
    ) -> Result<(Bytes, Claimed), ClaimError> {
        let object = claim.find(&self.link, subject, most).await?;
        let units = u32::try_from(object.size.div_ceil(UNIT)).unwrap_or(u32::MAX);
        // The semaphore is never closed, and has room for the largest payload of all.
        let room = Arc::clone(&self.room).acquire_many_owned(units).await.ok();
        let payload = claim.fetch(&self.link, subject, object.size).await?;
        let (claim, size) = (claim.clone(), payload.len());
        let _room = room;
        Ok((payload, Claimed { claim, size, _room }))
    }
}

impl Arrival {
    /// The payload takes the place of the claim; the plugin sees no difference.
    fn fill(&mut self, payload: Bytes, claimed: Claimed) {
        let mut headers = Headers::clone(&self.call.headers);
        headers.remove(CLAIM);
        headers.remove(CLAIM_SIZE);
        self.call.headers = headers.into();
        self.call.payload = payload;
        self.held.claimed = Some(claimed);
    }
}

fn refused(error: &ClaimError, most: usize) -> Found {
    Found::Refused(match error {
        ClaimError::TooLarge(size) => Reason::new(
            "too-large",
            format!("the payload has {size} bytes, [limits] payload allows {most}"),
        ),
        error => Reason::new("claim", error.to_string()),
    })
}

impl Claimed {
    /// Says in the headers of a dead letter where the payload is.
    pub fn stamp(&self, headers: &mut Headers) {
        self.claim.stamp(self.size, headers);
    }

    /// Removes the payload; the message on `subject` that it belonged to is acknowledged. What stays here
    /// because the process dies, or the server does not answer, is swept.
    pub async fn discard(&self, link: &Link, subject: &str) {
        if let Err(error) = self.claim.discard(link, subject).await {
            tracing::debug!(%error, claim = self.claim.name(), "payload not removed; it will be swept");
        }
    }
}

impl Fetching {
    /// Begins to fetch the payload of a message; returns the message where it has its payload itself.
    pub fn start(&mut self, arrival: Arrival, feed: &Feed) -> Option<Arrival> {
        if arrival.call.headers.get(CLAIM).is_none() {
            return Some(arrival);
        }
        let (claims, most) = (feed.settler.claims().clone(), feed.payload);
        let stop = self.stop.clone();
        self.tasks.push(Box::pin(async move {
            let mut arrival = arrival;
            let found = tokio::select! {
                biased;
                found = claims.fetch(&mut arrival, most) => found,
                () = stop.cancelled() => Found::Later(limits::GIVE_BACK_DELAY),
            };
            (arrival, found)
        }));
        None
    }

    /// How many are on the way.
    pub fn len(&self) -> usize {
        self.tasks.len()
    }

    /// None is on the way.
    pub fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    /// The next message whose payload was fetched, or not; none when none is on the way. Cancel safe.
    pub async fn next(&mut self) -> Option<(Arrival, Found)> {
        self.tasks.next().await
    }

    /// Has those end that are on the way; each still comes out of [`Fetching::next`].
    pub fn stop(&self) {
        self.stop.cancel();
    }
}
