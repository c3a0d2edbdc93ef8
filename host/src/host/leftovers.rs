//! The sweep of work items that were acknowledged and are in the queue again.
//!
//! A killed server can forget that it removed items (seen with 2.9.10): they lie below the ack
//! floors of their consumers, so they are never delivered, and count against the limit of their
//! subject. Removing an unfinished item would lose work. So an item is removed only if two sweeps
//! found it below the floors of all consumers that take its subject, and its own result or dead
//! letter is stored, as shown by a message id that names the item.

use std::collections::BTreeMap;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::settle::dead_letter;
use mistersmith_core::limits;
use mistersmith_core::names::subject;
use mistersmith_nats::{
    Connection, ConsumerFacts, DeliveryInfo, MESSAGE_ID, StoredMessage, StreamView, Trace,
    TransportError,
};

const QUEUE: &str = "WORK_QUEUE";
const RESULTS: &str = "RESULTS";
const LETTERS: &str = "DLQ";

/// Items found below all floors, by sequence, with the times at which they were stored.
#[derive(Debug, Default)]
pub(super) struct Leftovers {
    seen: BTreeMap<u64, String>,
}

impl Leftovers {
    /// Sweeps once; returns the number of items removed.
    pub(super) async fn look(&mut self, connection: &Connection) -> Result<u64, TransportError> {
        let queue = connection.stream(QUEUE)?;
        let facts = queue.facts().await?;
        let mut found = BTreeMap::new();
        let mut removed = 0;
        if facts.messages > 0 {
            let consumers = queue.consumers(limits::MAX_CONSUMERS).await?;
            for item in below(&queue, &consumers, facts.first).await? {
                let again = self.seen.get(&item.sequence) == Some(&item.stored_at);
                if again && is_done(connection, &item).await? && queue.delete(item.sequence).await?
                {
                    removed += 1;
                } else {
                    found.insert(item.sequence, item.stored_at);
                }
            }
        }
        self.seen = found;
        Ok(removed)
    }
}

/// The oldest items that no consumer will deliver again.
async fn below(
    queue: &StreamView,
    consumers: &[ConsumerFacts],
    first: u64,
) -> Result<Vec<StoredMessage>, TransportError> {
    let mut found = Vec::new();
    for consumer in consumers.iter().filter(|c| c.floor >= first) {
        for filter in &consumer.filters {
            let mut from = first;
            while found.len() < limits::MAX_LEFTOVERS {
                let Some(item) = queue.next(from, filter).await? else {
                    break;
                };
                if item.sequence > consumer.floor {
                    break;
                }
                from = item.sequence.saturating_add(1);
                if is_below_all(&item, consumers) {
                    found.push(item);
                }
            }
        }
    }
    Ok(found)
}

/// Whether every consumer that takes an item counts it as acknowledged.
fn is_below_all(item: &StoredMessage, consumers: &[ConsumerFacts]) -> bool {
    let takes = |consumer: &ConsumerFacts| {
        let filters = &consumer.filters;
        let matches = |filter: &String| subject::matches(filter, &item.subject);
        filters.is_empty() || filters.iter().any(matches)
    };
    let mut taking = consumers
        .iter()
        .filter(|consumer| takes(consumer))
        .peekable();
    taking.peek().is_some() && taking.all(|consumer| consumer.floor >= item.sequence)
}

/// Whether the result or the dead letter of exactly this item is stored.
async fn is_done(connection: &Connection, item: &StoredMessage) -> Result<bool, TransportError> {
    let Ok(stored_at) = OffsetDateTime::parse(&item.stored_at, &Rfc3339) else {
        return Ok(false);
    };
    let Ok(stored_at_ns) = u64::try_from(stored_at.unix_timestamp_nanos()) else {
        return Ok(false);
    };
    let info = DeliveryInfo {
        stream: QUEUE.to_owned(),
        consumer: String::new(),
        stream_sequence: item.sequence,
        deliveries: 0,
        stored_at_ns,
        pending: 0,
    };
    let trace = Trace::received(&item.headers, || format!("wq-{}", item.sequence));
    let result = format!("agent.*.resp.{}", trace.request_id());
    let letter = dead_letter::subject(&item.subject);
    Ok(
        holds(connection, RESULTS, &result, &info.output_id("result")).await?
            || holds(connection, LETTERS, &letter, &info.output_id("dlq")).await?,
    )
}

/// Whether a stream holds a message with this id on a subject, among the oldest of the subject.
async fn holds(
    connection: &Connection,
    stream: &str,
    subject: &str,
    id: &str,
) -> Result<bool, TransportError> {
    let view = connection.stream(stream)?;
    let mut from = 1;
    for _ in 0..limits::MAX_LEFTOVERS {
        let Some(message) = view.next(from, subject).await? else {
            return Ok(false);
        };
        if message.headers.get(MESSAGE_ID) == Some(id) {
            return Ok(true);
        }
        from = message.sequence.saturating_add(1);
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use bytes::Bytes;
    use serde_json::json;

    use super::*;
    use crate::testing::api;
    use mistersmith_nats::{Headers, Role};
    use mistersmith_testing::TestServer;

    const WAIT: Duration = Duration::from_secs(5);

    async fn make(connection: &Connection, stream: &str, subjects: &str) {
        let config = json!({"name": stream, "subjects": [subjects]});
        let call = format!("STREAM.CREATE.{stream}");
        api(connection, &call, &config).await;
    }

    async fn consumer(connection: &Connection, name: &str, filter: &str) {
        let config = json!({"stream_name": QUEUE, "config": {
            "durable_name": name, "ack_policy": "explicit", "filter_subject": filter,
        }});
        let call = format!("CONSUMER.DURABLE.CREATE.{QUEUE}.{name}");
        api(connection, &call, &config).await;
    }

    #[tokio::test]
    async fn items_that_are_done_are_removed_and_no_others() {
        let server = TestServer::start().await;
        let transport = crate::testing::connect(&server).await;
        let connection = transport.connection(Role::Work);
        // This stream keeps acknowledged items, as a killed server may.
        make(connection, QUEUE, "work.>").await;
        make(connection, RESULTS, "agent.*.resp.*").await;
        make(connection, LETTERS, "dlq.>").await;
        consumer(connection, "a", "work.lab.a").await;
        consumer(connection, "b", "work.lab.b").await;
        let store = async |subject: &str, headers: Headers| {
            let stored = connection.publish_stored(subject, headers, Bytes::new(), WAIT);
            stored.await.unwrap().sequence
        };
        for _ in 0..5 {
            store("work.lab.a", Headers::new()).await;
        }
        store("work.lab.b", Headers::new()).await;
        let mut ids = Vec::new();
        let mut pull = connection.puller(QUEUE, "a").pull(5, WAIT).await.unwrap();
        for _ in 0..5 {
            let delivered = pull.next().await.unwrap().unwrap();
            ids.push(delivered.info.clone());
            // The last item is still being worked on.
            if delivered.info.stream_sequence < 5 {
                delivered.acker.ack_confirmed().await.unwrap();
            }
        }
        // The first has a result, the second a dead letter, the third the result of another item of
        // the same request, the fourth nothing.
        let output = async |info: &DeliveryInfo, subject: &str, output: &str| {
            let mut headers = Headers::new();
            headers.insert(MESSAGE_ID, &info.output_id(output)).unwrap();
            store(subject, headers).await;
        };
        let [first, second, third, _, last] = ids.try_into().unwrap();
        output(&first, "agent.x-001.resp.wq-1", "result").await;
        output(&second, "dlq.work.lab.a", "dlq").await;
        let other = DeliveryInfo {
            stored_at_ns: third.stored_at_ns + 1,
            ..third
        };
        output(&other, "agent.x-001.resp.wq-3", "result").await;
        output(&last, "agent.x-001.resp.wq-5", "result").await;

        let mut leftovers = Leftovers::default();
        assert_eq!(leftovers.look(connection).await.unwrap(), 0, "seen once");
        assert_eq!(leftovers.look(connection).await.unwrap(), 2);
        assert_eq!(leftovers.look(connection).await.unwrap(), 0);
        let queue = connection.stream(QUEUE).unwrap();
        let mut left = Vec::new();
        for sequence in 1..7 {
            if queue.message(sequence).await.unwrap().is_some() {
                left.push(sequence);
            }
        }
        assert_eq!(left, [3, 4, 5, 6]);
    }

    #[test]
    fn an_item_is_below_all_floors_or_it_is_not() {
        let consumer = |filter: &str, floor| ConsumerFacts {
            name: String::new(),
            filters: vec![filter.to_owned()],
            waiting: 0,
            in_flight: 0,
            floor,
        };
        let item = StoredMessage {
            subject: "work.lab.a".to_owned(),
            sequence: 7,
            stored_at: String::new(),
            headers: Headers::new(),
            payload: Bytes::new(),
        };
        for (consumers, below) in [
            (vec![], false),
            (vec![consumer("work.lab.b", 9)], false),
            (vec![consumer("work.lab.a", 7)], true),
            (vec![consumer("work.lab.a", 6)], false),
            (
                vec![consumer("work.lab.a", 9), consumer("work.lab.b", 0)],
                true,
            ),
            (
                vec![consumer("work.lab.a", 9), consumer("work.>", 6)],
                false,
            ),
        ] {
            assert_eq!(is_below_all(&item, &consumers), below, "{consumers:?}");
        }
    }
}
