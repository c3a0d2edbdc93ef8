//! Stored payloads that no message needs any longer: of results that are as old as RESULTS keeps them, of
//! messages whose host died between the acknowledgement and the removal, of puts that did not end.
//!
//! Every host sweeps, and what one has removed another does not find. Time is that of the server: a clock of
//! ours that jumps must not take a payload from a message that waits.

use std::collections::BTreeMap;
use std::time::Duration;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::limits;
use crate::patterns::dead_letter;
use crate::transport::{CLAIM, Link, ObjectFacts, PAYLOADS, TransportError};

/// How much older than its message may be a payload is: the message is published after it.
const MARGIN: Duration = Duration::from_secs(15 * 60);
/// After so long a put has ended one way or the other.
const ENDED: i64 = 60 * 60;

/// Removes what is not needed any longer; returns how many payloads.
pub(super) async fn sweep(link: &Link) -> Result<u64, TransportError> {
    let store = link.objects(PAYLOADS)?;
    let Some(now) = server_time(link).await? else {
        return Ok(0);
    };
    let mut ages = BTreeMap::new();
    let (mut from, mut removed) = (1, 0);
    for _ in 0..limits::MAX_OBJECTS_SWEPT {
        let Some((sequence, object)) = store.next(from).await? else {
            break;
        };
        from = sequence.saturating_add(1);
        let Some((object, stream)) = object.and_then(|o| stream_of(&o).map(|s| (o, s))) else {
            continue;
        };
        if !ages.contains_key(stream) {
            ages.insert(stream, link.stream(stream)?.max_age().await?);
        }
        let Some(Some(kept)) = ages.get(stream) else {
            continue;
        };
        let least = i64::try_from((*kept + MARGIN).as_secs()).unwrap_or(i64::MAX);
        let old = now.saturating_sub(object.stored_at) > least;
        if old && !has_letter(link, &object).await? && store.delete(&object.name).await? {
            removed += 1;
        }
    }
    let pieces = store
        .sweep_pieces(now - ENDED, limits::MAX_OBJECTS_SWEPT)
        .await?;
    if removed + pieces > 0 {
        tracing::info!(payloads = removed, pieces, "stored payloads removed");
    }
    Ok(removed)
}

/// The stream of the message that a payload is for; none when it is for none of ours.
fn stream_of(object: &ObjectFacts) -> Option<&'static str> {
    match object.about.split('.').next()? {
        "work" => Some("WORK_QUEUE"),
        "pipeline" | "gather" => Some("COORDINATION"),
        "agent" => Some("RESULTS"),
        _ => None,
    }
}

/// Whether a dead letter has the payload. When there are too many to tell, one has.
async fn has_letter(link: &Link, object: &ObjectFacts) -> Result<bool, TransportError> {
    let letters = link.stream("DLQ")?;
    let subject = dead_letter::subject(&object.about);
    let mut from = 1;
    for _ in 0..limits::MAX_OBJECTS_SWEPT {
        let Some(letter) = letters.next(from, &subject).await? else {
            return Ok(false);
        };
        if letter.headers.get(CLAIM) == Some(object.name.as_str()) {
            return Ok(true);
        }
        from = letter.sequence.saturating_add(1);
    }
    Ok(true)
}

/// The time of the server, in seconds since 1970, as the newest lease of a host has it.
async fn server_time(link: &Link) -> Result<Option<i64>, TransportError> {
    let leases = link.stream("KV_AGENT_LEASES")?;
    let newest = leases.facts().await?.last;
    let newest = leases.message(newest).await?;
    let at = newest.and_then(|lease| OffsetDateTime::parse(&lease.stored_at, &Rfc3339).ok());
    Ok(at.map(OffsetDateTime::unix_timestamp))
}
