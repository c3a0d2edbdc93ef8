//! Work that waits on subjects which no consumer takes: it would wait until it is too old.

use serde::Serialize;

use crate::cli::output;
use crate::names::subject::matches;
use crate::transport::{ConsumerFacts, Link, TransportError};

/// The stream of the work, and what it captures.
const STREAM: &str = "WORK_QUEUE";
const SUBJECTS: &str = "work.>";
/// Subjects that are looked at.
const MOST_SUBJECTS: usize = 100_000;
/// Consumers that are looked at: five for each domain of each version.
const MOST_CONSUMERS: usize = 10_000;

/// A subject with messages that nobody takes.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Unclaimed {
    /// The subject.
    subject: String,
    /// How many messages wait on it.
    messages: u64,
}

/// Looks at the work queue of this NATS system.
pub(super) async fn read(link: &Link) -> Result<Vec<Unclaimed>, TransportError> {
    let view = link.stream(STREAM)?;
    let subjects = match view.subjects(SUBJECTS, MOST_SUBJECTS).await {
        // No host was ever here.
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
