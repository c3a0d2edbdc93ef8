//! Collects the results of a report, and composes it as JSON and Markdown.
//!
//! Among all reporters one leads (`[election]`); it alone takes new reports.
//!
//! | message | effect |
//! |---|---|
//! | `reports.open`, `{report, request, title, documents, questions, parts}` | opens a collection |
//! | `agent.*.resp.<request>`, the results of work | takes each whose `id` is that of a part |
//! | `reports.<report>.part`, `{id, value}` | takes a part that was brought; null: it will not come |
//! | `reports.<report>.close` | replies the report, with what is missing |
//!
//! When the last part has come, the report is kept in the bucket REPORTS under its request id, and
//! `coord.<report>.reported` is signalled. A collection is in memory only: when the reporter ends,
//! no reporter has the report, and the coordinator opens a new one.

mod compose;
mod markdown;
mod open;
mod report;

use mistersmith_sdk::kv::Bucket;
use mistersmith_sdk::serde_json::Value;
use mistersmith_sdk::{
    Agent, Error, Leadership, Message, Reply, Result, coordination, export_agent, json, log,
    messaging,
};
use open::{Collection, Opening};
use serde::Deserialize;

const REPORTS: Bucket = Bucket::new("REPORTS");

/// Reports that one reporter has open; the oldest is given up for one more.
const MOST_OPEN: usize = 32;

#[derive(Default)]
struct Reporter {
    /// The subscription to `reports.open` and the term, while it leads.
    leads: Option<(u64, u64)>,
    /// In the order of their opening.
    open: Vec<Collection>,
}

#[derive(Deserialize)]
struct Part {
    id: String,
    value: Value,
}

impl Agent for Reporter {
    fn start() -> Result<Self> {
        let mut reporter = Self::default();
        if let Some(now) = coordination::leadership() {
            reporter.leadership(&now)?;
        }
        Ok(reporter)
    }

    fn leadership(&mut self, now: &Leadership) -> Result<()> {
        match (now.leading, self.leads) {
            (true, None) => {
                log::info!("leads the reporters in term {}", now.term);
                self.leads = Some((messaging::subscribe("reports.open")?, now.term));
            }
            (true, Some((subscription, _))) => self.leads = Some((subscription, now.term)),
            (false, Some((subscription, _))) => {
                self.leads = None;
                messaging::unsubscribe(subscription)?;
            }
            (false, None) => {}
        }
        Ok(())
    }

    fn message(&mut self, message: &Message) -> Result<Reply> {
        let tokens: Vec<&str> = message.subject().split('.').collect();
        match tokens.as_slice() {
            ["reports", "open"] => self.begin(message.json()?),
            ["agent", agent, "resp", _] => self.result(agent, message),
            ["reports", report, "part"] => self.part(report, message.json()?),
            ["reports", report, "close"] => self.close(report),
            _ => Err(Error::reject(format_args!(
                "`{}` is nothing to collect",
                message.subject()
            ))),
        }
    }
}

impl Reporter {
    fn begin(&mut self, opening: Opening) -> Result<Reply> {
        let Some((_, term)) = self.leads else {
            return Err(Error::reject("this reporter does not lead any more"));
        };
        if let Some(again) = self.place(&opening.report) {
            self.open.remove(again).end();
        } else if self.open.len() >= MOST_OPEN {
            let oldest = self.open.remove(0);
            log::warn!("report {} is given up for a newer one", oldest.report());
            oldest.end();
        }
        self.open.push(Collection::begin(opening, term)?);
        Reply::json(&json!({"term": term}))
    }

    /// The result of a work item: it counts when it names a part of a report of this request.
    fn result(&mut self, agent: &str, message: &Message) -> Result<Reply> {
        let Ok(value) = message.json::<Value>() else {
            return Ok(Reply::none());
        };
        let Some(id) = value.get("id").and_then(Value::as_str).map(str::to_owned) else {
            return Ok(Reply::none());
        };
        for collection in &mut self.open {
            if message.subscription() == Some(collection.results) {
                take(collection, &id, Some(agent), value.clone())?;
            }
        }
        Ok(Reply::none())
    }

    fn part(&mut self, report: &str, part: Part) -> Result<Reply> {
        let collection = self.known(report)?;
        take(collection, &part.id, None, part.value)?;
        Reply::json(&json!({"missing": collection.missing()}))
    }

    fn close(&mut self, report: &str) -> Result<Reply> {
        let collection = self.known(report)?;
        let made = compose::report(collection);
        if !collection.kept {
            collection.keep(&made)?;
        }
        if let Some(place) = self.place(report) {
            self.open.remove(place).end();
        }
        Reply::json(&made)
    }

    fn known(&mut self, report: &str) -> Result<&mut Collection> {
        let place = self
            .place(report)
            .and_then(|place| self.open.get_mut(place));
        place.ok_or_else(|| Error::reject(format_args!("there is no open report {report:?}")))
    }

    fn place(&self, report: &str) -> Option<usize> {
        self.open.iter().position(|open| open.report() == report)
    }
}

/// Takes a part; with the last one the report is made, kept and announced.
fn take(collection: &mut Collection, id: &str, agent: Option<&str>, value: Value) -> Result<()> {
    if collection.take(id, agent, value) {
        let made = compose::report(collection);
        collection.keep(&made)?;
        collection.announce(&made)?;
    }
    Ok(())
}

export_agent!(Reporter);

#[cfg(test)]
mod tests;
