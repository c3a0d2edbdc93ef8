//! Publishing the work: stored before it counts, and patient when the stream is full.

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, TryStreamExt};

use super::documents::Paragraph;
use crate::names::Priority;
use crate::transport::{Headers, Link, Trace, TransportError};

/// Publishes that wait for the word of the stream at the same time.
const AT_ONCE: usize = 64;

/// How long one publish may wait for it.
const PATIENCE: Duration = Duration::from_secs(10);

/// Random characters of an id: few, because people read them.
const UNIQUE: usize = 8;

/// What paragraphs are.
const TEXT: &str = "text/plain";

/// The request ids of one demonstration, told apart from those of an earlier one: the stream
/// remembers message ids for two minutes.
#[derive(Debug, Clone)]
pub(super) struct Ids(String);

impl Ids {
    /// Ids that nobody had before.
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

    /// Whether a request is of this demonstration.
    pub(super) fn has(&self, request: &str) -> bool {
        request
            .strip_prefix(&self.0)
            .is_some_and(|rest| rest.starts_with('-'))
    }
}

/// One work item.
#[derive(Debug)]
pub(super) struct Item {
    /// Where it is published.
    pub(super) subject: String,
    /// Its request id, by which its result is recognised.
    pub(super) id: String,
    /// What it is worked on.
    pub(super) payload: Bytes,
    /// What that is.
    pub(super) content_type: &'static str,
}

/// The work that some paragraphs make: each is scored and counted. Priorities alternate, and one
/// item in the middle is no text at all.
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

/// Publishes every item; `published` is called for each that is stored.
pub(super) async fn publish(
    link: &Link,
    items: Vec<Item>,
    published: impl Fn(),
) -> Result<(), TransportError> {
    stream::iter(items.into_iter().map(Ok))
        .try_for_each_concurrent(AT_ONCE, |item| {
            let published = &published;
            async move {
                store(link, item).await?;
                published();
                Ok(())
            }
        })
        .await
}

/// A full queue is the stream's way to say: slower. Nothing is dropped.
pub(super) async fn store(link: &Link, item: Item) -> Result<(), TransportError> {
    loop {
        let mut headers = Headers::default();
        Trace::begin(&*item.id).stamp(None, &mut headers);
        headers.set("Content-Type", item.content_type);
        headers.set("Nats-Msg-Id", &item.id);
        match link
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
