//! Payloads that are larger than a message: they go through the object store, the plugin sees no
//! difference, and nothing of them stays.

mod crashes;
mod forged;
mod letters;
mod small_servers;
mod through;
mod workflows;

use serde_json::{Value, json};

use harness::{Headers, Nats, Plugin, Stored, headers, until};

/// More than the server takes in one message, by which it is 1 MiB.
const LARGE: usize = 2_500_000;

/// A probe that takes work of eight megabytes.
fn roomy(plugin: Plugin) -> Plugin {
    plugin
        .limit("payload = \"8MiB\"")
        .limit("memory = \"256MiB\"")
        .limit("timeout = \"60s\"")
        .limit("cpu = \"30s\"")
}

/// A command of the probe with so many spaces behind it that it has that many bytes.
fn padded(command: &Value, bytes: usize) -> Vec<u8> {
    let mut text = command.to_string().into_bytes();
    text.resize(bytes, b' ');
    text
}

/// What the descriptions in the object store say, deleted ones left out.
async fn objects(nats: &Nats) -> Vec<Value> {
    let all = nats.stored("OBJ_PAYLOADS", "$O.PAYLOADS.M.>").await;
    let all = all.iter().map(Stored::json);
    all.filter(|object| object["deleted"] != true).collect()
}

/// The names of the objects that hold the payloads of messages on this subject.
pub async fn objects_for(nats: &Nats, subject: &str) -> Vec<String> {
    let all = objects(nats).await;
    let names = all.iter().filter(|object| object["description"] == subject);
    names
        .map(|object| object["name"].as_str().unwrap().to_owned())
        .collect()
}

/// Waits until nothing is stored for messages on this subject.
async fn is_removed(nats: &Nats, subject: &str) {
    until(
        &format!("the payloads for {subject} are removed"),
        async || objects_for(nats, subject).await.is_empty().then_some(()),
    )
    .await;
}

/// The payload that a message claims, as any client reads it.
pub async fn claimed(nats: &Nats, message: &Stored) -> Vec<u8> {
    assert!(message.payload.is_empty(), "{message:?}");
    let name = message.header("X-Claim");
    let all = objects(nats).await;
    let object = all.iter().find(|object| object["name"] == name.as_str());
    let object = object.unwrap_or_else(|| panic!("no object {name:?}"));
    let pieces = format!("$O.PAYLOADS.C.{}", object["nuid"].as_str().unwrap());
    let pieces = nats.stored("OBJ_PAYLOADS", &pieces).await;
    assert_eq!(object["chunks"], pieces.len());
    let whole: Vec<u8> = pieces
        .iter()
        .flat_map(|piece| piece.payload.to_vec())
        .collect();
    assert_eq!(object["size"], whole.len());
    assert_eq!(message.header("X-Claim-Size"), whole.len().to_string());
    whole
}

/// Stores an object in one piece, as another client would.
async fn put(nats: &Nats, name: &str, about: &str, payload: &[u8]) {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE;
    use sha2::Digest as _;
    let pieces = format!("{:x}", sha2::Sha256::digest(name)).split_off(40);
    for (count, piece) in payload.chunks(500_000).enumerate() {
        let id = format!("{pieces}-{count}");
        let named = headers(&[("Nats-Msg-Id", id.as_str())]);
        let subject = format!("$O.PAYLOADS.C.{pieces}");
        nats.work_with(&subject, named, piece.to_vec()).await;
    }
    let digest = URL_SAFE.encode(sha2::Sha256::digest(payload));
    let object = json!({
        "name": name, "description": about, "bucket": "PAYLOADS", "nuid": pieces,
        "size": payload.len(), "chunks": payload.len().div_ceil(500_000),
        "digest": format!("SHA-256={digest}"),
    });
    let subject = format!("$O.PAYLOADS.M.{}", URL_SAFE.encode(name));
    let rollup = headers(&[("Nats-Rollup", "sub")]);
    nats.work_with(&subject, rollup, object.to_string()).await;
}

/// The headers of a message with a claim.
fn claim(request: &str, name: &str) -> Headers {
    headers(&[("X-Request-ID", request), ("X-Claim", name)])
}
