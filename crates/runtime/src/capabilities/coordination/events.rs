//! Waits for a message of the stream COORDINATION, stored already or yet to come.

use std::time::{Duration, Instant};

use crate::bindings::mistersmith::agent::types::Error;
use mistersmith_core::byte_budget::ByteBudget;
use mistersmith_nats::within;
use mistersmith_nats::{Connection, Headers, StreamView};

const STREAM: &str = "COORDINATION";

/// The first pause before the stream is asked again; it doubles up to [`LAST_PAUSE`]. The
/// subscription brings the message sooner: asking again is for what it missed, such as one that was
/// published on another server of a cluster before that knew the subscription.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LAST_PAUSE: Duration = Duration::from_secs(4);

/// How long waiting may take.
#[derive(Clone, Copy)]
pub(super) struct Until {
    /// The end that the guest wishes.
    pub(super) wish: Instant,
    /// The end of the call.
    pub(super) patience: Instant,
}

/// A message that was waited for.
pub(super) struct Found {
    pub(super) subject: String,
    pub(super) headers: Headers,
    pub(super) payload: bytes::Bytes,
}

/// The newest message on this subject, or the next one; none when there is none by then. The stream
/// is asked at least once, whatever the wish.
pub(super) async fn stored(
    connection: &Connection,
    subject: &str,
    until: Until,
    budget: &ByteBudget,
) -> Result<Option<Found>, Error> {
    // Before the stream is asked: a message between the two would be missed otherwise.
    let subscribed = connection.subscribe_within(subject, None, budget);
    let mut subscription = within(until.patience, subscribed)
        .await
        .ok_or_else(super::busy)??;
    let stream = connection.stream(STREAM)?;
    let mut asked = false;
    let mut pause = FIRST_PAUSE;
    loop {
        match newest(&stream, subject, until).await {
            Ok(Some(found)) => return Ok(Some(found)),
            Ok(None) => asked = true,
            Err(Error::Timeout | Error::Unavailable(_)) if Instant::now() < until.wish => {}
            Err(error) if !asked => return Err(error),
            Err(_) => return Ok(None),
        }
        let next = (Instant::now() + pause).min(until.wish);
        match within(next, subscription.next()).await {
            Some(Some(message)) => {
                return Ok(Some(Found {
                    subject: message.subject,
                    headers: message.headers,
                    payload: message.payload,
                }));
            }
            Some(None) => {
                return Err(Error::Unavailable(
                    "the connection to NATS was closed".to_owned(),
                ));
            }
            None if Instant::now() < until.wish => pause = (pause * 2).min(LAST_PAUSE),
            None if asked => return Ok(None),
            None => return Err(Error::Timeout),
        }
    }
}

async fn newest(stream: &StreamView, subject: &str, until: Until) -> Result<Option<Found>, Error> {
    let newest = within(until.patience, stream.newest(subject)).await;
    Ok(newest.ok_or(Error::Timeout)??.map(|message| Found {
        subject: message.subject,
        headers: message.headers,
        payload: message.payload,
    }))
}
