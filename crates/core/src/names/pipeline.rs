//! Workflow ids, and the subject of a stage's input.

use std::fmt;
use std::str::FromStr;

use super::{NameError, Token, name, subject};
use crate::limits::{MAX_STAGES, MAX_WORKFLOW_ID};

name! {
    /// The id of a workflow, which whoever starts it makes: `[A-Za-z0-9_-]+`, at most 96 bytes.
    WorkflowId, check_workflow
}

fn check_workflow(text: &str) -> Result<(), NameError> {
    let fail = |reason| Err(NameError::new(text, "a workflow id", reason));
    if text.len() > MAX_WORKFLOW_ID {
        return fail("it has more than 96 bytes");
    }
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    if text.is_empty() || !text.bytes().all(allowed) {
        return fail("only A-Z, a-z, 0-9, \"-\" and \"_\" are allowed, and at least one of them");
    }
    Ok(())
}

/// `pipeline.<workflow>.<NN>.<stage>`: the input of a stage.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct StageSubject {
    /// The workflow.
    pub workflow: WorkflowId,
    /// How far the workflow has come, 1 to 99: the number of this stage.
    pub number: u8,
    /// The stage.
    pub stage: Token,
}

impl StageSubject {
    /// The input of a stage that follows this one; none beyond the last number.
    pub fn next(&self, stage: &Token) -> Option<Self> {
        let number = self.number.checked_add(1).filter(|n| *n <= MAX_STAGES)?;
        Some(Self {
            workflow: self.workflow.clone(),
            number,
            stage: stage.clone(),
        })
    }

    /// The subject of the result of the workflow: `pipeline.<workflow>.complete`.
    pub fn complete(&self) -> String {
        format!("pipeline.{}.complete", self.workflow)
    }

    /// The subject of an event of the workflow: `coord.<workflow>.<event>`.
    pub fn event(&self, event: &str) -> String {
        format!("coord.{}.{event}", self.workflow)
    }
}

impl FromStr for StageSubject {
    type Err = NameError;

    /// Fails on everything else, a number of no or more than two digits, and number 0.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        subject::check_subject(text)?;
        let fail = |reason| NameError::new(text, "the subject of a stage", reason);
        let tokens: Vec<&str> = text.split('.').collect();
        let &["pipeline", workflow, number, stage] = tokens.as_slice() else {
            return Err(fail("write it like \"pipeline.<workflow>.01.<stage>\""));
        };
        let digits = number.len() <= 2 && number.bytes().all(|b| b.is_ascii_digit());
        let number = number.parse().ok().filter(|n| digits && *n > 0);
        Ok(Self {
            workflow: workflow.parse()?,
            number: number.ok_or_else(|| fail("its third token must be a number, 01 to 99"))?,
            stage: stage.parse()?,
        })
    }
}

impl fmt::Display for StageSubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (workflow, number, stage) = (&self.workflow, self.number, &self.stage);
        write!(f, "pipeline.{workflow}.{number:02}.{stage}")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn subjects_of_stages() {
        for (text, expected) in [
            ("pipeline.w1.01.extract", "pipeline.w1.01.extract"),
            ("pipeline.A_b-c.7.extract", "pipeline.A_b-c.07.extract"),
            ("pipeline.w1.99.x", "pipeline.w1.99.x"),
        ] {
            let parsed: StageSubject = text.parse().unwrap();
            assert_eq!(parsed.to_string(), expected);
        }
        for bad in [
            "pipeline.w1.complete",
            "pipeline.w1.00.x",
            "pipeline.w1.0.x",
            "pipeline.w1.100.x",
            "pipeline.w1.+1.x",
            "pipeline.w1.NN.x",
            "pipeline.w1.01.X",
            "pipeline.w1.01.x.y",
            "pipeline.w\u{e9}.01.x",
            "pipeline.w$.01.x",
            "pipeline.*.01.x",
            "work.w1.01.x",
        ] {
            assert!(bad.parse::<StageSubject>().is_err(), "{bad}");
        }
        let long = format!("pipeline.{}.01.x", "w".repeat(97));
        assert!(long.parse::<StageSubject>().is_err());
    }

    #[test]
    fn a_workflow_ends_at_ninety_nine() {
        let at = |text: &str| text.parse::<StageSubject>().unwrap();
        let next: Token = "b".parse().unwrap();
        let after = at("pipeline.w.98.a").next(&next).unwrap();
        assert_eq!(after.to_string(), "pipeline.w.99.b");
        assert_eq!(after.next(&next), None);
        assert_eq!(after.complete(), "pipeline.w.complete");
        assert_eq!(after.event("error"), "coord.w.error");
    }
}
