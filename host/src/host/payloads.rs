//! Stored payloads that no message needs any longer: of results that are as old as RESULTS keeps them, of
//! messages whose host died between the acknowledgement and the removal, of puts that did not end.
//!
//! Every host sweeps, and what one has removed another does not find. Time is that of the server: a clock of
//! ours that jumps must not take a payload from a message that waits.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::limits;
use crate::patterns::dead_letter;
use crate::transport::{CLAIM, Link, ObjectFacts, PAYLOADS, TransportError};

/// How much older than its message may be a payload is: the message is published after it.
const MARGIN: Duration = Duration::from_secs(15 * 60);
/// After so long a put has ended one way or the other.
const ENDED: i64 = 60 * 60;

/// Removes what is not needed any longer; returns how many payloads.
pub(super) async fn sweep(link: &Link) -> Result<u64, TransportError> {
    match link.server_time().await? {
        Some(now) => sweep_at(link, now.unix_timestamp()).await,
        None => Ok(0),
    }
}

async fn sweep_at(link: &Link, now: i64) -> Result<u64, TransportError> {
    let store = link.objects(PAYLOADS)?;
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use bytes::Bytes;
    use serde_json::json;

    use super::*;
    use crate::transport::testing::TestServer;
    use crate::transport::{Headers, Role};

    const HOUR: i64 = 60 * 60;

    async fn make(link: &Link, name: &str, subjects: &str, hours: i64) {
        let subjects: Vec<&str> = subjects.split(' ').collect();
        let config = json!({
            "name": name, "subjects": subjects, "max_age": hours * HOUR * 1_000_000_000,
            "allow_rollup_hdrs": true, "discard": "new",
        });
        let call = format!("$JS.API.STREAM.CREATE.{name}");
        let body = Bytes::from(config.to_string());
        let wait = Duration::from_secs(5);
        link.request(&call, Headers::new(), body, wait)
            .await
            .unwrap();
    }

    async fn names(link: &Link) -> Vec<String> {
        let (store, mut from) = (link.objects(PAYLOADS).unwrap(), 1);
        let mut names = Vec::new();
        while let Some((sequence, object)) = store.next(from).await.unwrap() {
            names.extend(object.map(|object| object.name));
            from = sequence + 1;
        }
        names
    }

    #[tokio::test]
    async fn only_what_no_message_needs_is_removed() {
        let server = TestServer::start().await;
        let transport = server.connect().await;
        let link = transport.link(Role::Control);
        make(link, "OBJ_PAYLOADS", "$O.PAYLOADS.C.> $O.PAYLOADS.M.>", 0).await;
        make(link, "KV_AGENT_LEASES", "$KV.AGENT_LEASES.>", 0).await;
        make(link, "WORK_QUEUE", "work.>", 24).await;
        make(link, "COORDINATION", "pipeline.>", 48).await;
        make(link, "RESULTS", "agent.*.resp.*", 0).await;
        make(link, "DLQ", "dlq.>", 30 * 24).await;
        let payload = Bytes::from_static(b"large");
        let mut claims = Vec::new();
        for (subject, id) in [
            ("work.a.x", "done"),
            ("work.a.x", "dead"),
            ("pipeline.w.01.x", "stage"),
            ("agent.a-001.resp.r", "kept-for-ever"),
            ("orders.x", "not-ours"),
        ] {
            claims.push(link.claim(subject, id, &payload).await.unwrap());
        }
        let mut headers = Headers::new();
        claims.get(1).unwrap().stamp(5, &mut headers);
        link.store("dlq.work.a.x", "l", headers, Bytes::new())
            .await
            .unwrap();
        // A put that was killed.
        link.store("$O.PAYLOADS.C.killed", "p", Headers::new(), payload)
            .await
            .unwrap();

        // Nothing is old yet, whether the server tells its time or the lease of a host does.
        assert_eq!(sweep(link).await.unwrap(), 0);
        let lease = "$KV.AGENT_LEASES.host.h";
        link.store(lease, "h", Headers::new(), Bytes::new())
            .await
            .unwrap();
        let now = link.server_time().await.unwrap().unwrap().unix_timestamp();
        assert_eq!(sweep(link).await.unwrap(), 0);
        assert_eq!(names(link).await.len(), 5);
        // A clock that is a little behind or ahead takes nothing.
        assert_eq!(sweep_at(link, now - 100 * HOUR).await.unwrap(), 0);
        assert_eq!(sweep_at(link, now + 24 * HOUR).await.unwrap(), 0);

        assert_eq!(sweep_at(link, now + 25 * HOUR).await.unwrap(), 1);
        let left = [
            "work.dead",
            "pipeline.stage",
            "agent.kept-for-ever",
            "orders.not-ours",
        ];
        assert_eq!(names(link).await, left);
        let pieces = link.stream("OBJ_PAYLOADS").unwrap();
        assert_eq!(pieces.newest("$O.PAYLOADS.C.killed").await.unwrap(), None);
        assert_eq!(sweep_at(link, now + 49 * HOUR).await.unwrap(), 1);
        // The letter is gone: now nothing needs it.
        link.stream("DLQ").unwrap().delete(1).await.unwrap();
        assert_eq!(sweep_at(link, now + 49 * HOUR).await.unwrap(), 1);
        assert_eq!(names(link).await, left.get(2..).unwrap());
    }
}
