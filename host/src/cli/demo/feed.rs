//! Publisher of the demonstration's work.
//!
//! An item counts once it is stored; when the stream is full, the publish is retried.

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, TryStreamExt};

use super::documents::Paragraph;
use mistersmith_core::names::Priority;
use mistersmith_nats::{Connection, Headers, Trace, TransportError};

/// Most publishes that await the stream's acknowledgement at the same time.
const AT_ONCE: usize = 64;

/// How long one publish may wait for it.
const PATIENCE: Duration = Duration::from_secs(10);

/// Random characters of an id: few, because people read them.
const UNIQUE: usize = 8;

/// The content type of paragraphs.
const TEXT: &str = "text/plain";

/// The request ids of one demonstration, distinct from those of an earlier one: the stream
/// remembers message ids for two minutes.
#[derive(Debug, Clone)]
pub(super) struct Ids(String);

impl Ids {
    /// New ids with a random part.
    pub(super) fn new() -> Self {
        let unique: String = nuid::next().chars().take(UNIQUE).collect();
        Self(format!("demo-{unique}"))
    }

    /// The id of the request for a report.
    pub(super) fn report(&self) -> String {
        format!("{}-report", self.0)
    }

    fn item(&self, number: usize) -> String {
        format!("{}-{number}", self.0)
    }

    /// The id of the item that no agent can handle.
    pub(super) fn poison(&self) -> String {
        format!("{}-poison", self.0)
    }

    /// Whether a request belongs to this demonstration.
    pub(super) fn has(&self, request: &str) -> bool {
        request
            .strip_prefix(&self.0)
            .is_some_and(|rest| rest.starts_with('-'))
    }
}

/// One work item.
#[derive(Debug)]
pub(super) struct Item {
    /// The subject to publish on.
    pub(super) subject: String,
    /// Its request id, which identifies its result.
    pub(super) id: String,
    /// The input of the work.
    pub(super) payload: Bytes,
    /// The content type of the payload.
    pub(super) content_type: &'static str,
}

/// The work items of some paragraphs: each paragraph is scored and counted. Priorities alternate,
/// and one item in the middle is not text.
pub(super) fn items(paragraphs: &[Paragraph], ids: &Ids) -> Vec<Item> {
    let mut items = Vec::new();
    for (number, paragraph) in paragraphs.iter().enumerate() {
        let priority = Priority::ALL
            .get(number % Priority::ALL.len())
            .copied()
            .unwrap_or(Priority::Normal);
        for subject in [
            format!("work.nlp.{priority}.sentiment"),
            format!("work.data.{priority}.wordcount"),
        ] {
            let id = ids.item(items.len());
            items.push(Item {
                subject,
                id,
                payload: Bytes::from(paragraph.text.clone()),
                content_type: TEXT,
            });
        }
    }
    let poison = Item {
        subject: "work.nlp.normal.sentiment".to_owned(),
        id: ids.poison(),
        payload: Bytes::from_static(b"\xff\xfe this is no text \xff"),
        content_type: TEXT,
    };
    items.insert(items.len() / 2, poison);
    items
}

/// Publishes every item; calls `published` for each that is stored.
pub(super) async fn publish(
    connection: &Connection,
    items: Vec<Item>,
    published: impl Fn(),
) -> Result<(), TransportError> {
    stream::iter(items.into_iter().map(Ok))
        .try_for_each_concurrent(AT_ONCE, |item| {
            let published = &published;
            async move {
                store(connection, item).await?;
                published();
                Ok(())
            }
        })
        .await
}

/// Stores one item. A full queue is back-pressure: the publish is retried, and nothing is dropped.
pub(super) async fn store(connection: &Connection, item: Item) -> Result<(), TransportError> {
    loop {
        let mut headers = Headers::default();
        Trace::begin(&*item.id).stamp(None, &mut headers);
        headers.set("Content-Type", item.content_type);
        headers.set("Nats-Msg-Id", &item.id);
        match connection
            .publish_stored(&item.subject, headers, item.payload.clone(), PATIENCE)
            .await
        {
            Ok(_) => return Ok(()),
            Err(TransportError::Full(_)) => tokio::time::sleep(Duration::from_millis(100)).await,
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_priority_gets_work_and_one_item_is_poison() {
        let paragraph = Paragraph {
            document: "d".into(),
            text: "t".into(),
        };
        let ids = Ids::new();
        let items = items(&vec![paragraph; 8], &ids);
        assert!(items.iter().all(|item| ids.has(&item.id)));
        assert_eq!(items.len(), 17);
        for priority in Priority::ALL {
            let subject = format!("work.nlp.{priority}.sentiment");
            let count = items
                .iter()
                .filter(|i| i.subject == subject && i.id != ids.poison())
                .count();
            assert_eq!(count, 2, "{priority}");
        }
        assert_eq!(items.iter().filter(|i| i.id == ids.poison()).count(), 1);
    }
}
