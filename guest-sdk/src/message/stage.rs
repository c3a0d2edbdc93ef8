//! The input of a pipeline stage, with the parts of its subject.

use std::ops::Deref;

use super::Message;
use crate::error::{Error, Result};

/// The input of a pipeline stage. It is a [`Message`] as well.
///
/// It is delivered at least once, like work.
#[derive(Debug)]
pub struct Stage {
    message: Message,
    workflow: String,
    name: String,
    number: u32,
    retries: u32,
}

impl Stage {
    pub(crate) fn new(message: Message, number: u32, retries: u32) -> Result<Self> {
        let Some((workflow, _, name)) = stage_name(message.subject()) else {
            return Err(Error::reject(format_args!(
                "`{}` is not the subject of a pipeline stage",
                message.subject()
            )));
        };
        Ok(Self {
            workflow: workflow.to_owned(),
            name: name.to_owned(),
            message,
            number,
            retries,
        })
    }

    /// The id of the workflow, `w1` in `pipeline.w1.02.analyze`.
    #[must_use]
    pub fn workflow(&self) -> &str {
        &self.workflow
    }

    /// The name of the stage, `analyze` in `pipeline.w1.02.analyze`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The number of the stage, from 1.
    #[must_use]
    pub fn number(&self) -> u32 {
        self.number
    }

    /// How many times it was tried before: 0 at first.
    #[must_use]
    pub fn retries(&self) -> u32 {
        self.retries
    }
}

impl Deref for Stage {
    type Target = Message;

    fn deref(&self) -> &Message {
        &self.message
    }
}

/// Workflow, number and name of `pipeline.<workflow>.<NN>.<stage>`; none for any other subject.
pub(crate) fn stage_name(subject: &str) -> Option<(&str, u32, &str)> {
    let mut tokens = subject.strip_prefix("pipeline.")?.splitn(3, '.');
    let (workflow, number, stage) = (tokens.next()?, tokens.next()?, tokens.next()?);
    let number = number.parse().ok()?;
    let valid = !workflow.is_empty() && !stage.is_empty() && !stage.contains('.');
    valid.then_some((workflow, number, stage))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn subjects_of_stages() {
        for (subject, expected) in [
            ("pipeline.w1.02.analyze", Some(("w1", 2, "analyze"))),
            ("pipeline.w1.complete", None),
            ("pipeline.w1.xx.analyze", None),
            ("pipeline.w1.02.analyze.more", None),
            ("pipeline..02.analyze", None),
            ("coord.w1.02.analyze", None),
        ] {
            assert_eq!(stage_name(subject), expected, "{subject}");
        }
    }

    #[test]
    fn other_subjects_are_rejected() {
        let message = Message::new("a.b".into(), Vec::new(), 0);
        let error = Stage::new(message, 1, 0).unwrap_err();
        let expected = "`a.b` is not the subject of a pipeline stage";
        assert_eq!(error, Error::reject(expected));
    }
}
