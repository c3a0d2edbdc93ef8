//! The sweep of stored payloads that no message needs any longer: of results as old as RESULTS
//! keeps them, of messages whose host died between the acknowledgement and the removal, of puts
//! that never finished.
//!
//! Every host sweeps; a payload that one host has removed is not found by another. Ages use the
//! server's clock, because a jump of the local clock must not take a payload from a message that
//! waits.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::settle::dead_letter;
use mistersmith_core::limits;
use mistersmith_nats::{CLAIM, Connection, ObjectFacts, PAYLOADS, TransportError};

/// How much older than its message a payload may be: the message is published after it.
const MARGIN: Duration = Duration::from_secs(15 * 60);
/// The time in seconds after which a put has ended one way or the other.
const ENDED: i64 = 60 * 60;

/// Removes payloads that are not needed any longer; returns their number.
pub(super) async fn sweep(connection: &Connection) -> Result<u64, TransportError> {
    match connection.server_time().await? {
        Some(now) => sweep_at(connection, now.unix_timestamp()).await,
        None => Ok(0),
    }
}

async fn sweep_at(connection: &Connection, now: i64) -> Result<u64, TransportError> {
    let store = connection.objects(PAYLOADS)?;
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
            ages.insert(stream, connection.stream(stream)?.max_age().await?);
        }
        let Some(Some(in_progress)) = ages.get(stream) else {
            continue;
        };
        let least = i64::try_from((*in_progress + MARGIN).as_secs()).unwrap_or(i64::MAX);
        let old = now.saturating_sub(object.stored_at) > least;
        if old && !has_letter(connection, &object).await? && store.delete(&object.name).await? {
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

/// The stream of a payload's message; `None` if the payload is not for one of our streams.
fn stream_of(object: &ObjectFacts) -> Option<&'static str> {
    match object.about.split('.').next()? {
        "work" => Some("WORK_QUEUE"),
        "pipeline" | "gather" => Some("COORDINATION"),
        "agent" => Some("RESULTS"),
        _ => None,
    }
}

/// Whether a dead letter refers to the payload; true if there are too many to check.
async fn has_letter(connection: &Connection, object: &ObjectFacts) -> Result<bool, TransportError> {
    let letters = connection.stream("DLQ")?;
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
    use mistersmith_nats::{Headers, Role};
    use mistersmith_testing::TestServer;

    const HOUR: i64 = 60 * 60;

    async fn make(connection: &Connection, name: &str, subjects: &str, hours: i64) {
        let subjects: Vec<&str> = subjects.split(' ').collect();
        let config = json!({
            "name": name, "subjects": subjects, "max_age": hours * HOUR * 1_000_000_000,
            "allow_rollup_hdrs": true, "discard": "new",
        });
        let call = format!("$JS.API.STREAM.CREATE.{name}");
        let body = Bytes::from(config.to_string());
        let wait = Duration::from_secs(5);
        connection
            .request(&call, Headers::new(), body, wait)
            .await
            .unwrap();
    }

    async fn names(connection: &Connection) -> Vec<String> {
        let (store, mut from) = (connection.objects(PAYLOADS).unwrap(), 1);
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
        let transport = crate::testing::connect(&server).await;
        let connection = transport.connection(Role::Control);
        make(
            connection,
            "OBJ_PAYLOADS",
            "$O.PAYLOADS.C.> $O.PAYLOADS.M.>",
            0,
        )
        .await;
        make(connection, "KV_AGENT_LEASES", "$KV.AGENT_LEASES.>", 0).await;
        make(connection, "WORK_QUEUE", "work.>", 24).await;
        make(connection, "COORDINATION", "pipeline.>", 48).await;
        make(connection, "RESULTS", "agent.*.resp.*", 0).await;
        make(connection, "DLQ", "dlq.>", 30 * 24).await;
        let payload = Bytes::from_static(b"large");
        let mut claims = Vec::new();
        for (subject, id) in [
            ("work.a.x", "done"),
            ("work.a.x", "dead"),
            ("pipeline.w.01.x", "stage"),
            ("agent.a-001.resp.r", "kept-for-ever"),
            ("orders.x", "not-ours"),
        ] {
            claims.push(connection.claim(subject, id, &payload).await.unwrap());
        }
        let mut headers = Headers::new();
        claims.get(1).unwrap().stamp(5, &mut headers);
        connection
            .store("dlq.work.a.x", "l", headers, Bytes::new())
            .await
            .unwrap();
        // A put that was killed.
        connection
            .store("$O.PAYLOADS.C.killed", "p", Headers::new(), payload)
            .await
            .unwrap();

        // Nothing is old yet, whether the time comes from the server or from a host's lease.
        assert_eq!(sweep(connection).await.unwrap(), 0);
        let lease = "$KV.AGENT_LEASES.host.h";
        connection
            .store(lease, "h", Headers::new(), Bytes::new())
            .await
            .unwrap();
        let now = connection
            .server_time()
            .await
            .unwrap()
            .unwrap()
            .unix_timestamp();
        assert_eq!(sweep(connection).await.unwrap(), 0);
        assert_eq!(names(connection).await.len(), 5);
        // A clock slightly behind or ahead removes nothing.
        assert_eq!(sweep_at(connection, now - 100 * HOUR).await.unwrap(), 0);
        assert_eq!(sweep_at(connection, now + 24 * HOUR).await.unwrap(), 0);

        assert_eq!(sweep_at(connection, now + 25 * HOUR).await.unwrap(), 1);
        let left = [
            "work.dead",
            "pipeline.stage",
            "agent.kept-for-ever",
            "orders.not-ours",
        ];
        assert_eq!(names(connection).await, left);
        let pieces = connection.stream("OBJ_PAYLOADS").unwrap();
        assert_eq!(pieces.newest("$O.PAYLOADS.C.killed").await.unwrap(), None);
        assert_eq!(sweep_at(connection, now + 49 * HOUR).await.unwrap(), 1);
        // The dead letter is gone: nothing needs the payload now.
        connection.stream("DLQ").unwrap().delete(1).await.unwrap();
        assert_eq!(sweep_at(connection, now + 49 * HOUR).await.unwrap(), 1);
        assert_eq!(names(connection).await, left.get(2..).unwrap());
    }
}
