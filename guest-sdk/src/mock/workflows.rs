//! The state of the interface `coordination` on a mock bus.

use std::collections::BTreeMap;

use super::record::{Responder, Sent};
use crate::agent::Leadership;
use crate::coordination::Circuit;

/// The answers, workflows, events, leadership and circuits of a bus.
#[derive(Default)]
pub(super) struct Workflows {
    /// The agents that answer questions, in the order in which the test named them.
    pub(super) workers: Vec<(String, Responder)>,
    /// The results of pipelines, by their first stage.
    pub(super) pipelines: BTreeMap<String, Responder>,
    /// Each workflow that was started: by whom, and its input.
    pub(super) started: BTreeMap<String, (String, Sent)>,
    /// The newest event of each subject.
    pub(super) events: BTreeMap<String, Vec<u8>>,
    /// The agents that watch, each with its workflow.
    pub(super) watched: Vec<(String, String)>,
    pub(super) leadership: Option<Leadership>,
    pub(super) circuits: BTreeMap<String, Circuit>,
    made: u64,
}

impl Workflows {
    /// An id that the host makes.
    pub(super) fn next_id(&mut self) -> String {
        self.made += 1;
        format!("mock{}", self.made)
    }
}
