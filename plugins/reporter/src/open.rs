//! The collection of the parts of an open report.

use std::collections::{BTreeMap, BTreeSet};

use mistersmith_sdk::serde_json::Value;
use mistersmith_sdk::{Error, Result, coordination, json, log, messaging};
use serde::Deserialize;

use crate::REPORTS;
use crate::report::Report;

/// Most parts of one report.
const MOST_PARTS: usize = 5000;

/// The request that opens a report.
#[derive(Deserialize)]
pub(crate) struct Opening {
    /// The id of this attempt.
    pub(crate) report: String,
    /// The request id that the results of its work carry.
    pub(crate) request: String,
    pub(crate) title: String,
    /// The names of the documents; their parts have their place, from 1, in the id.
    pub(crate) documents: Vec<String>,
    #[serde(default)]
    pub(crate) questions: Vec<String>,
    /// The ids of all parts.
    parts: BTreeSet<String>,
}

/// An open report.
pub(crate) struct Collection {
    pub(crate) opening: Opening,
    /// The term of the leader that opened it.
    pub(crate) term: u64,
    /// The subscription to the results of work.
    pub(crate) results: u64,
    /// The subscriptions to the messages of this report.
    own: Vec<u64>,
    /// Each part that has come: whose work it is, where that is known, and what it says. Null: it
    /// will not come.
    pub(crate) parts: BTreeMap<String, (Option<String>, Value)>,
    /// The report is in the bucket.
    pub(crate) kept: bool,
}

impl Collection {
    /// Subscribes to the messages of a report.
    pub(crate) fn begin(opening: Opening, term: u64) -> Result<Self> {
        if opening.parts.len() > MOST_PARTS {
            return Err(Error::reject(format_args!(
                "a report has at most {MOST_PARTS} parts"
            )));
        }
        let (report, request) = (&opening.report, &opening.request);
        let own =
            ["part", "close"].map(|what| messaging::subscribe(&format!("reports.{report}.{what}")));
        Ok(Self {
            results: messaging::subscribe(&format!("agent.*.resp.{request}"))?,
            own: own.into_iter().collect::<Result<_, _>>()?,
            parts: BTreeMap::new(),
            kept: false,
            opening,
            term,
        })
    }

    pub(crate) fn report(&self) -> &str {
        &self.opening.report
    }

    /// The ids of the parts that have not come, or will not.
    pub(crate) fn not_there(&self) -> Vec<String> {
        let there = |id: &&String| self.value(id).is_none();
        self.opening.parts.iter().filter(there).cloned().collect()
    }

    /// The value of a part; none when it has not come, or will not.
    pub(crate) fn value(&self, id: &str) -> Option<&Value> {
        let (_, value) = self.parts.get(id)?;
        Some(value).filter(|value| !value.is_null())
    }

    /// How many parts have neither come nor been given up.
    pub(crate) fn missing(&self) -> usize {
        self.opening.parts.len() - self.parts.len()
    }

    /// Takes a part, once. True when it was the last one.
    pub(crate) fn take(&mut self, id: &str, agent: Option<&str>, value: Value) -> bool {
        // Work is done at least once: the same part can come twice.
        if !self.opening.parts.contains(id) || self.parts.contains_key(id) {
            return false;
        }
        let agent = agent.map(str::to_owned);
        self.parts.insert(id.to_owned(), (agent, value));
        self.missing() == 0
    }

    /// Announces that the report is in the bucket.
    pub(crate) fn announce(&self, report: &Report) -> Result<()> {
        let event =
            json!({"report": self.report(), "complete": report.complete, "term": self.term});
        coordination::signal(self.report(), "reported", &event)?;
        Ok(())
    }

    /// Keeps the report where everybody with a grant can read it.
    pub(crate) fn keep(&mut self, report: &Report) -> Result<()> {
        REPORTS.put_json(&self.opening.request, report)?;
        self.kept = true;
        Ok(())
    }

    /// Ends the subscriptions.
    pub(crate) fn end(self) {
        for subscription in self.own.into_iter().chain([self.results]) {
            if let Err(error) = messaging::unsubscribe(subscription) {
                log::warn!("a subscription does not end: {error}");
            }
        }
    }
}
