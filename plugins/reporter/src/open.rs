//! A report while its parts are coming.

use std::collections::{BTreeMap, BTreeSet};

use mistersmith_sdk::serde_json::Value;
use mistersmith_sdk::{Error, Result, coordination, json, log, messaging};
use serde::Deserialize;

use crate::REPORTS;
use crate::report::Report;

/// Most parts of one report.
const MOST_PARTS: usize = 5000;

/// What a report is to be of.
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
    /// The subscription that hears the results of work.
    pub(crate) results: u64,
    /// The subscriptions that hear what belongs to this report.
    own: Vec<u64>,
    /// Each part that has come: whose work it is, where that is known, and what it says. Null: it
    /// will not come.
    pub(crate) parts: BTreeMap<String, (Option<String>, Value)>,
    /// The report is in the bucket.
    pub(crate) kept: bool,
}

impl Collection {
    /// Hears what belongs to a report, from now on.
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

    /// The ids of all parts.
    pub(crate) fn wanted(&self) -> &BTreeSet<String> {
        &self.opening.parts
    }

    /// How many parts have neither come nor been given up.
    pub(crate) fn missing(&self) -> usize {
        self.opening.parts.len() - self.parts.len()
    }

    /// Takes a part, once; with the last one the report is made, kept and announced.
    pub(crate) fn take(&mut self, id: &str, agent: Option<&str>, value: Value) -> Result<()> {
        // Work is done at least once: the same part can come twice.
        if !self.opening.parts.contains(id) || self.parts.contains_key(id) {
            return Ok(());
        }
        let agent = agent.map(str::to_owned);
        self.parts.insert(id.to_owned(), (agent, value));
        if self.missing() == 0 {
            let report = Report::of(self);
            self.keep(&report)?;
            let event =
                json!({"report": self.report(), "complete": report.complete, "term": self.term});
            coordination::signal(self.report(), "reported", &event)?;
        }
        Ok(())
    }

    /// Keeps the report where everybody with a grant can read it.
    pub(crate) fn keep(&mut self, report: &Report) -> Result<()> {
        REPORTS.put_json(&self.opening.request, report)?;
        self.kept = true;
        Ok(())
    }

    /// Hears no more.
    pub(crate) fn end(self) {
        for subscription in self.own.into_iter().chain([self.results]) {
            if let Err(error) = messaging::unsubscribe(subscription) {
                log::warn!("a subscription does not end: {error}");
            }
        }
    }
}
