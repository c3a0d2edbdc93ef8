//! Objects and claims against a real server.

use bytes::Bytes;
use serde_json::json;

use super::{SECOND, payload, stream};
use crate::testing::{Connect as _, TestServer};
use crate::{
    CLAIM, CLAIM_SIZE, Claim, ClaimError, Connection, Headers, Objects, PAYLOADS, Role,
    TransportError,
};

async fn store(connection: &Connection) -> Objects {
    let config = json!({
        "name": "OBJ_PAYLOADS",
        "subjects": ["$O.PAYLOADS.C.>", "$O.PAYLOADS.M.>"],
        "discard": "new",
        "allow_rollup_hdrs": true,
        "allow_direct": true,
    });
    stream(connection, config).await;
    connection.objects(PAYLOADS).unwrap()
}

async fn messages(connection: &Connection, stream: &str) -> u64 {
    connection
        .stream(stream)
        .unwrap()
        .facts()
        .await
        .unwrap()
        .messages
}

/// Bytes that do not repeat at the borders of the pieces.
fn large(size: usize) -> Bytes {
    (0..size).map(|n| (n % 251) as u8).collect()
}

async fn read(store: &Objects, name: &str) -> Result<Bytes, TransportError> {
    let object = store.find(name).await?.unwrap();
    store.read(&object).await
}

#[tokio::test]
async fn objects_are_put_replaced_and_deleted_without_a_trace() {
    let server = TestServer::start().await;
    let transport = server.connect().await;
    let connection = transport.connection(Role::Work);
    let missing = connection.objects("NONE").unwrap().find("a.b").await;
    assert!(
        matches!(missing, Err(TransportError::NotFound(_))),
        "{missing:?}"
    );

    let store = store(connection).await;
    assert_eq!(store.find("a.b").await.unwrap(), None);
    assert!(!store.delete("a.b").await.unwrap());
    for size in [0, 1, 128 * 1024, 128 * 1024 + 1, 3_000_000] {
        store.put("a.b", "work.x", &large(size)).await.unwrap();
        let object = store.find("a.b").await.unwrap().unwrap();
        assert_eq!((object.size, object.about.as_str()), (size, "work.x"));
        assert_eq!(store.read(&object).await.unwrap(), large(size));
    }
    // The pieces of the earlier ones are gone.
    assert_eq!(messages(connection, "OBJ_PAYLOADS").await, 1 + 23);
    store.put("c.d", "", &payload("other")).await.unwrap();
    assert!(store.delete("a.b").await.unwrap());
    assert_eq!(store.find("a.b").await.unwrap(), None);
    assert_eq!(messages(connection, "OBJ_PAYLOADS").await, 2);
    assert_eq!(read(&store, "c.d").await.unwrap(), "other");
}

#[tokio::test]
async fn what_is_not_whole_is_not_read() {
    let server = TestServer::start().await;
    let transport = server.connect().await;
    let connection = transport.connection(Role::Work);
    let store = store(connection).await;
    let view = connection.stream("OBJ_PAYLOADS").unwrap();
    store.put("a.b", "", &large(300_000)).await.unwrap();
    // One of three pieces is lost.
    assert!(view.delete(2).await.unwrap());
    let missing = read(&store, "a.b").await;
    assert!(
        matches!(missing, Err(TransportError::NotFound(_))),
        "{missing:?}"
    );
    // Others can write what they like into a store that is theirs too.
    store.put("a.b", "", &payload("text")).await.unwrap();
    let pieces = view.subjects("$O.PAYLOADS.C.>", 9).await.unwrap();
    let pieces = pieces.keys().next().unwrap();
    let sequence = view.newest(pieces).await.unwrap().unwrap().sequence;
    view.delete(sequence).await.unwrap();
    for (forged, expected) in [("TEXT", "digest"), ("longer", "description")] {
        connection
            .publish_stored(pieces, Headers::new(), payload(forged), SECOND)
            .await
            .unwrap();
        let corrupt = read(&store, "a.b").await.unwrap_err();
        assert!(corrupt.to_string().contains(expected), "{corrupt}");
        let sequence = view.newest(pieces).await.unwrap().unwrap().sequence;
        view.delete(sequence).await.unwrap();
    }
    // A description that would have everything purged is no description.
    let forged = json!({"name": "e.f", "bucket": "PAYLOADS", "nuid": ">", "size": 1});
    let place = "$O.PAYLOADS.M.ZS5m";
    let body = Bytes::from(forged.to_string());
    connection
        .publish_stored(place, Headers::new(), body, SECOND)
        .await
        .unwrap();
    assert_eq!(store.find("e.f").await.unwrap(), None);
}

#[tokio::test]
async fn pieces_of_no_object_are_swept() {
    let server = TestServer::start().await;
    let transport = server.connect().await;
    let connection = transport.connection(Role::Work);
    let store = store(connection).await;
    store.put("a.b", "", &large(200_000)).await.unwrap();
    // A put that was killed before its end.
    for _ in 0..3 {
        let piece = "$O.PAYLOADS.C.killed";
        connection
            .publish_stored(piece, Headers::new(), large(1000), SECOND)
            .await
            .unwrap();
    }
    let now = time::OffsetDateTime::now_utc().unix_timestamp();
    assert_eq!(store.sweep_pieces(now - 60, 100).await.unwrap(), 0);
    assert_eq!(store.sweep_pieces(now + 60, 100).await.unwrap(), 3);
    assert_eq!(read(&store, "a.b").await.unwrap().len(), 200_000);
}

#[tokio::test]
async fn a_large_payload_becomes_a_claim() {
    let server = TestServer::start().await;
    let transport = server.connect().await;
    let connection = transport.connection(Role::Work);
    stream(connection, json!({ "name": "W", "subjects": ["work.>"] })).await;
    let whole = large(1_100_000);
    // Without the store it is refused, not cut.
    let refused = connection
        .store_any("work.x", "id", Headers::new(), whole.clone())
        .await;
    assert!(
        matches!(refused, Err(TransportError::NotFound(_))),
        "{refused:?}"
    );
    let store = store(connection).await;
    for _ in 0..2 {
        let stored = connection
            .store_any("work.x", "W:1:2:result", Headers::new(), whole.clone())
            .await;
        assert_eq!(stored.unwrap().sequence, 1);
    }
    let view = connection.stream("W").unwrap();
    let message = view.message(1).await.unwrap().unwrap();
    assert!(message.payload.is_empty());
    assert_eq!(message.headers.get(CLAIM), Some("work.W.1.2.result"));
    assert_eq!(message.headers.get(CLAIM_SIZE), Some("1100000"));
    let claim = Claim::of(&message.headers).unwrap().unwrap();
    assert_eq!(
        claim
            .fetch(connection, "work.x", whole.len())
            .await
            .unwrap(),
        whole
    );
    let large_one = claim.fetch(connection, "work.x", 1_099_999).await;
    assert_eq!(large_one, Err(ClaimError::TooLarge(1_100_000)));
    // Neither read nor removed by whoever speaks on another subject.
    let other = claim.fetch(connection, "work.y", whole.len()).await;
    assert!(matches!(other, Err(ClaimError::Bad(_))), "{other:?}");
    claim.discard(connection, "work.y").await.unwrap();
    assert_eq!(read(&store, claim.name()).await.unwrap(), whole);
    claim.discard(connection, "work.x").await.unwrap();
    let missing = claim.fetch(connection, "work.x", whole.len()).await;
    assert!(
        matches!(missing, Err(ClaimError::Missing(_))),
        "{missing:?}"
    );
    assert_eq!(messages(connection, "OBJ_PAYLOADS").await, 0);

    // Small ones stay what they are, unless the host is told otherwise.
    connection
        .store_any("work.x", "small", Headers::new(), payload("x"))
        .await
        .unwrap();
    assert_eq!(messages(connection, "OBJ_PAYLOADS").await, 0);
    connection.set_claim_over(0);
    let stored = connection
        .publish_stored_any("work.x", Headers::new(), payload("y"), SECOND)
        .await;
    let message = view
        .message(stored.unwrap().sequence)
        .await
        .unwrap()
        .unwrap();
    let claim = Claim::of(&message.headers).unwrap().unwrap();
    assert_eq!(claim.fetch(connection, "work.x", 1).await.unwrap(), "y");
    // What no stream takes leaves nothing behind.
    let lost = connection
        .publish_stored_any("free.x", Headers::new(), payload("z"), SECOND)
        .await;
    assert!(matches!(lost, Err(TransportError::NotFound(_))), "{lost:?}");
    assert_eq!(messages(connection, "OBJ_PAYLOADS").await, 2);
}
