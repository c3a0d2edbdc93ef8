//! Payloads of held messages with a claim check.
//!
//! A payload is fetched before the plugin is woken, and removed after the message is acknowledged.
//!
//! A fetch never holds up the pulling, an unavailable server never counts as an attempt, and one
//! host never holds more bytes than [`limits::MAX_CLAIMED_BYTES`].

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use mistersmith_core::limits;
use mistersmith_nats::{CLAIM, CLAIM_SIZE, Claim, ClaimError, Connection, Headers};

use crate::delivery::{Arrival, Claimed, HeldMessage, Reason, ReasonKind};

/// Memory is reserved in units of this many bytes.
const UNIT: usize = 1024;
/// Pause after a server did not answer.
const PAUSE: Duration = Duration::from_millis(250);

/// Fetches payloads, and bounds the bytes of them that this host holds. Shared by all plugins.
#[derive(Debug, Clone)]
pub struct Payloads {
    connection: Connection,
    room: Arc<Semaphore>,
}

/// Outcome of fetching the payload of a message.
#[derive(Debug)]
pub(super) enum Found {
    /// The message has its payload, as if it had never been stored apart.
    Whole,
    /// The plugin must not be woken.
    Refused(Reason),
    /// Retry after this time.
    Later(Duration),
}

impl Payloads {
    /// Fetches over this connection.
    pub fn new(connection: Connection) -> Self {
        Self {
            connection,
            room: Arc::new(Semaphore::new(limits::MAX_CLAIMED_BYTES / UNIT)),
        }
    }

    /// Replaces the claim of a message by its payload, of at most `most` bytes; gives up when
    /// stopped.
    pub(super) async fn fetch(
        &self,
        arrival: &mut Arrival,
        most: usize,
        stop: &CancellationToken,
    ) -> Found {
        tokio::select! {
            biased;
            found = self.try_fetch(arrival, most) => found,
            () = stop.cancelled() => Found::Later(limits::GIVE_BACK_DELAY),
        }
    }

    async fn try_fetch(&self, arrival: &mut Arrival, most: usize) -> Found {
        let claim = match Claim::of(&arrival.call.headers) {
            None => return Found::Whole,
            Some(Ok(claim)) => claim,
            Some(Err(error)) => return refused(&error, most),
        };
        let start = Instant::now();
        loop {
            let error = match self.read(&claim, &arrival.call.subject, most).await {
                Ok((payload, claimed)) => {
                    fill(arrival, payload, claimed);
                    return Found::Whole;
                }
                Err(error) => error,
            };
            let HeldMessage { info, rule, .. } = &*arrival.held;
            match &error {
                // The message stays held meanwhile, so that this counts as no attempt.
                ClaimError::Later(why) if why.is_transient() => {
                    if start.elapsed() > limits::STORE_RETRY_DELAY {
                        return Found::Later(limits::STORE_RETRY_DELAY);
                    }
                    tokio::time::sleep(PAUSE).await;
                }
                // Another host may just have finished the message: then it is not delivered again.
                ClaimError::Missing(_) if info.deliveries == 1 => {
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
        let object = claim.find(&self.connection, subject, most).await?;
        let units = u32::try_from(object.size.div_ceil(UNIT)).unwrap_or(u32::MAX);
        // The semaphore is never closed, and has room for the largest possible payload.
        let room = Arc::clone(&self.room).acquire_many_owned(units).await.ok();
        let payload = claim.fetch(&self.connection, subject, object.size).await?;
        let claimed = Claimed::new(claim.clone(), payload.len(), room);
        Ok((payload, claimed))
    }
}

/// Puts the payload in place of the claim; the plugin sees no difference.
fn fill(arrival: &mut Arrival, payload: Bytes, claimed: Claimed) {
    let mut headers = Headers::clone(&arrival.call.headers);
    headers.remove(CLAIM);
    headers.remove(CLAIM_SIZE);
    arrival.call.headers = headers.into();
    arrival.call.payload = payload;
    arrival.held.claimed = Some(claimed);
}

fn refused(error: &ClaimError, most: usize) -> Found {
    Found::Refused(match error {
        ClaimError::TooLarge(size) => Reason::new(
            ReasonKind::TooLarge,
            format!("the payload has {size} bytes, [limits] payload allows {most}"),
        ),
        error => Reason::new(ReasonKind::Claim, error.to_string()),
    })
}
