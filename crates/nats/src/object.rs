//! Object stores: large values in chunks, in the form of ADR-20, so that any NATS client reads what
//! a host has stored, and the other way round.
//!
//! An object exists when its description does, which is written last: a put that is interrupted
//! leaves chunks that nobody sees. A read returns the size and the digest of the description, or an
//! error.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use bytes::{Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::api::code;
use super::raw::parse_time;
use super::{Connection, Headers, StoredMessage, StreamView, TransportError, check};
use mistersmith_core::limits;

/// Most bytes of a piece: what other clients use too.
const PIECE: usize = 128 * 1024;
/// Bytes of the headers of a piece.
const PIECE_HEADERS: usize = 1024;
/// How often a put begins again because the server takes smaller messages than before.
const PUTS: usize = 3;

/// One object store. Cheap to make and to clone.
#[derive(Debug, Clone)]
pub struct Objects {
    connection: Connection,
    store: String,
    view: StreamView,
}

/// An object, by its description.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectFacts {
    /// Its name.
    pub name: String,
    /// Its purpose; of a claimed payload the subject of the message.
    pub about: String,
    /// Its bytes.
    pub size: usize,
    /// When it was described, in seconds since 1970.
    pub stored_at: i64,
    /// The number of its description in the store's stream.
    pub sequence: u64,
    /// Under which its pieces stand; a token of a subject.
    pieces: String,
    chunks: usize,
    digest: String,
}

/// The description of an object, as every NATS client writes it ("info").
#[derive(Serialize, Deserialize)]
struct Description {
    name: String,
    #[serde(default)]
    description: Option<String>,
    bucket: String,
    #[serde(default)]
    nuid: String,
    #[serde(default)]
    size: usize,
    #[serde(default)]
    chunks: usize,
    #[serde(default)]
    digest: Option<String>,
    #[serde(default)]
    mtime: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    options: Option<Value>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    deleted: bool,
}

impl Connection {
    /// An object store by its name. The first use fails with `NotFound` when it does not exist.
    pub fn objects(&self, store: &str) -> Result<Objects, TransportError> {
        Ok(Objects {
            connection: self.clone(),
            store: store.to_owned(),
            view: self.stream(&format!("OBJ_{store}"))?,
        })
    }
}

impl Objects {
    /// Stores an object, in place of one of the same name. Goes on for some seconds where the
    /// server does not answer, as [`Connection::store`]; the same again is always safe.
    pub async fn put(
        &self,
        name: &str,
        about: &str,
        payload: &Bytes,
    ) -> Result<(), TransportError> {
        let mut tried = 1;
        loop {
            // Another server, or the same with another configuration, may take less from now on.
            let piece = piece_size(self.connection.max_payload());
            match self.put_in_pieces(name, about, payload, piece).await {
                Err(TransportError::TooLarge(_))
                    if tried < PUTS && piece_size(self.connection.max_payload()) < piece =>
                {
                    tried += 1;
                }
                done => return done,
            }
        }
    }

    async fn put_in_pieces(
        &self,
        name: &str,
        about: &str,
        payload: &Bytes,
        size: usize,
    ) -> Result<(), TransportError> {
        let before = self.find(name).await?;
        let pieces = nuid::next().to_string();
        let subject = self.pieces(&pieces);
        let (mut count, mut digest) = (0, Sha256::new());
        while count * size < payload.len() {
            let end = ((count + 1) * size).min(payload.len());
            let piece = payload.slice(count * size..end);
            // With an id of its own a piece that is sent again is no further piece.
            let id = format!("{pieces}:{count}");
            digest.update(&piece);
            self.connection
                .store(&subject, &id, Headers::new(), piece)
                .await?;
            count += 1;
        }
        let described = Description {
            name: name.to_owned(),
            description: Some(about.to_owned()),
            bucket: self.store.clone(),
            nuid: pieces.clone(),
            size: payload.len(),
            chunks: count,
            digest: Some(format!("SHA-256={}", URL_SAFE.encode(digest.finalize()))),
            mtime: OffsetDateTime::now_utc().format(&Rfc3339).ok(),
            options: Some(json!({ "max_chunk_size": size })),
            deleted: false,
        };
        self.describe(&described, &pieces).await?;
        match before {
            Some(before) => self.purge(&self.pieces(&before.pieces)).await.map(drop),
            None => Ok(()),
        }
    }

    /// Writes the description again, so that the object is as young as one that was just put.
    pub async fn renew(&self, object: &ObjectFacts) -> Result<(), TransportError> {
        let described = Description {
            name: object.name.clone(),
            description: Some(object.about.clone()),
            bucket: self.store.clone(),
            nuid: object.pieces.clone(),
            size: object.size,
            chunks: object.chunks,
            digest: Some(object.digest.clone()),
            mtime: OffsetDateTime::now_utc().format(&Rfc3339).ok(),
            options: None,
            deleted: false,
        };
        self.describe(&described, &nuid::next()).await
    }

    async fn describe(&self, described: &Description, id: &str) -> Result<(), TransportError> {
        let mut headers = Headers::new();
        headers.insert("Nats-Rollup", "sub")?;
        let subject = self.described(&described.name);
        let body = json!(described).to_string();
        self.connection
            .store(&subject, id, headers, body.into())
            .await
            .map(drop)
    }

    /// The description of an object; none when there is no such object.
    pub async fn find(&self, name: &str) -> Result<Option<ObjectFacts>, TransportError> {
        let found = self.view.newest(&self.described(name)).await?;
        // An object that calls itself otherwise was not put by this name.
        Ok(found
            .and_then(|message| facts(&message))
            .filter(|facts| facts.name == name))
    }

    /// Reads the whole object: as many bytes as its description says.
    ///
    /// The caller decides before whether the size is bearable. Errors: `NotFound` when pieces are
    /// missing; `Invalid` when they are not what the description says.
    pub async fn read(&self, object: &ObjectFacts) -> Result<Bytes, TransportError> {
        let corrupt =
            |what: &str| TransportError::Invalid(format!("the object {:?} {what}", object.name));
        let subject = self.pieces(&object.pieces);
        let (mut whole, mut digest) = (BytesMut::new(), Sha256::new());
        let mut from = 1;
        while whole.len() < object.size {
            let Some(piece) = self.view.next(from, &subject).await? else {
                return Err(TransportError::NotFound(format!(
                    "the object {:?} is incomplete: {} of its {} bytes exist",
                    object.name,
                    whole.len(),
                    object.size
                )));
            };
            from = piece.sequence.saturating_add(1);
            if piece.payload.is_empty() || whole.len() + piece.payload.len() > object.size {
                return Err(corrupt("does not match its description"));
            }
            digest.update(&piece.payload);
            whole.extend_from_slice(&piece.payload);
        }
        let digest = format!("SHA-256={}", URL_SAFE.encode(digest.finalize()));
        if digest.trim_end_matches('=') != object.digest.trim_end_matches('=') {
            return Err(corrupt("does not have the digest of its description"));
        }
        Ok(whole.freeze())
    }

    /// Removes an object and every trace of it; returns whether there was one.
    pub async fn delete(&self, name: &str) -> Result<bool, TransportError> {
        let Some(object) = self.find(name).await? else {
            return Ok(false);
        };
        // First what makes it an object: pieces alone are nothing, and swept.
        self.purge(&self.described(name)).await?;
        self.purge(&self.pieces(&object.pieces)).await?;
        Ok(true)
    }

    /// The oldest description from a number on, and its number; none behind the newest. What is no
    /// description of an object has a number and no facts.
    pub async fn next(
        &self,
        from: u64,
    ) -> Result<Option<(u64, Option<ObjectFacts>)>, TransportError> {
        let pattern = format!("$O.{}.M.>", self.store);
        let found = self.view.next(from, &pattern).await?;
        Ok(found.map(|message| (message.sequence, facts(&message))))
    }

    /// Removes the pieces of no object that were stored before a time (seconds since 1970): what a
    /// put left behind that did not come to its end. Looks at `most` of them; returns how many it
    /// removed.
    pub async fn sweep_pieces(&self, before: i64, most: usize) -> Result<u64, TransportError> {
        let all = format!("$O.{}.C.>", self.store);
        let subjects = self.view.subjects(&all, most).await?;
        if subjects.is_empty() {
            return Ok(0);
        }
        let mut known = std::collections::BTreeSet::new();
        let mut from = 1;
        while let Some((sequence, object)) = self.next(from).await? {
            if known.len() >= limits::MAX_OBJECTS_SWEPT {
                // Too many objects to decide of each piece to which it belongs.
                return Ok(0);
            }
            known.extend(object.map(|object| self.pieces(&object.pieces)));
            from = sequence.saturating_add(1);
        }
        let mut removed = 0;
        for subject in subjects.keys().filter(|subject| !known.contains(*subject)) {
            let newest = self.view.newest(subject).await?;
            if newest.is_some_and(|piece| seconds(&piece) < before) {
                removed += self.purge(subject).await?;
            }
        }
        Ok(removed)
    }

    fn pieces(&self, pieces: &str) -> String {
        format!("$O.{}.C.{pieces}", self.store)
    }

    fn described(&self, name: &str) -> String {
        format!("$O.{}.M.{}", self.store, URL_SAFE.encode(name))
    }

    async fn purge(&self, subject: &str) -> Result<u64, TransportError> {
        // Exactly this one, never a pattern: what comes out of a description decides it.
        check::subject(subject)?;
        let stream = format!("OBJ_{}", self.store);
        match self
            .connection
            .purge(&stream, &json!({ "filter": subject }))
            .await
        {
            Err(error) if error.is(code::STREAM_NOT_FOUND) => Ok(0),
            purged => Ok(purged?),
        }
    }
}

/// Bytes of a piece, for a server that takes messages of at most so many.
fn piece_size(max_payload: usize) -> usize {
    PIECE.min(max_payload.saturating_sub(PIECE_HEADERS)).max(1)
}

/// Parses a description; none for any other message, and for the description of a deleted object.
fn facts(message: &StoredMessage) -> Option<ObjectFacts> {
    let described: Description = serde_json::from_slice(&message.payload).ok()?;
    let token = |text: &str| {
        let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        (1..=limits::MAX_TOKEN).contains(&text.len()) && text.bytes().all(good)
    };
    (!described.deleted && token(&described.nuid)).then(|| ObjectFacts {
        name: described.name,
        about: described.description.unwrap_or_default(),
        size: described.size,
        stored_at: seconds(message),
        sequence: message.sequence,
        pieces: described.nuid,
        chunks: described.chunks,
        digest: described.digest.unwrap_or_default(),
    })
}

fn seconds(message: &StoredMessage) -> i64 {
    parse_time(&message.stored_at).map_or(i64::MAX, OffsetDateTime::unix_timestamp)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_fits_into_what_the_server_takes() {
        for (max_payload, piece) in [
            (1024 * 1024, 128 * 1024),
            (128 * 1024, 127 * 1024),
            (16 * 1024, 15 * 1024),
            (0, 1),
        ] {
            assert_eq!(piece_size(max_payload), piece);
        }
    }
}
