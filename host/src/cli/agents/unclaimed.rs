//! Unclaimed work: messages on subjects without a consumer, which would wait until they expire.

use serde::Serialize;

use crate::cli::output;
use mistersmith_core::names::subject::matches;
use mistersmith_nats::{Connection, ConsumerFacts, TransportError};

/// The work stream, and the subjects it captures.
const STREAM: &str = "WORK_QUEUE";
const SUBJECTS: &str = "work.>";
/// Most subjects examined.
const MOST_SUBJECTS: usize = 100_000;
/// Most consumers examined: five for each domain of each version.
const MOST_CONSUMERS: usize = 10_000;

/// A subject with messages and without a consumer.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Unclaimed {
    /// The subject.
    subject: String,
    /// How many messages wait on it.
    messages: u64,
}

/// Examines the work queue of this NATS system.
pub(super) async fn read(connection: &Connection) -> Result<Vec<Unclaimed>, TransportError> {
    let view = connection.stream(STREAM)?;
    let subjects = match view.subjects(SUBJECTS, MOST_SUBJECTS).await {
        // No host has run on this system yet.
        Err(TransportError::NotFound(_)) => return Ok(Vec::new()),
        subjects => subjects?,
    };
    let consumers = view.consumers(MOST_CONSUMERS).await?;
    Ok(unclaimed(subjects, &consumers))
}

fn unclaimed(
    subjects: impl IntoIterator<Item = (String, u64)>,
    consumers: &[ConsumerFacts],
) -> Vec<Unclaimed> {
    let taken = |subject: &str| {
        consumers.iter().any(|consumer| {
            consumer.filters.is_empty()
                || consumer
                    .filters
                    .iter()
                    .any(|filter| matches(filter, subject))
        })
    };
    subjects
        .into_iter()
        .filter(|(subject, _)| !taken(subject))
        .map(|(subject, messages)| Unclaimed { subject, messages })
        .collect()
}

impl Unclaimed {
    pub(super) fn row(&self) -> Vec<String> {
        vec![
            output::one_line(&self.subject, 255),
            self.messages.to_string(),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_taken_when_a_filter_matches_it() {
        let consumer = |filters: &[&str]| ConsumerFacts {
            name: "c".to_owned(),
            filters: filters.iter().map(ToString::to_string).collect(),
            waiting: 0,
            in_flight: 0,
            floor: 0,
        };
        let waiting = || {
            [
                ("work.nlp.high.a".to_owned(), 3),
                ("work.art.x".to_owned(), 1),
            ]
        };
        let nlp = consumer(&["work.data.*", "work.nlp.high.*"]);
        let left = unclaimed(waiting(), &[nlp]);
        assert_eq!(
            left,
            [Unclaimed {
                subject: "work.art.x".to_owned(),
                messages: 1
            }]
        );
        assert_eq!(unclaimed(waiting(), &[consumer(&[])]), []);
        assert_eq!(unclaimed(waiting(), &[]).len(), 2);
    }
}
