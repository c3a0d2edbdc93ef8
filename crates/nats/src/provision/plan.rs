//! The plan: for each asset the difference between what is wanted and what exists, and the action.
//! Pure.

use std::fmt;

use serde::Serialize;
use serde_json::{Map, Value};

use super::current::Current;
use super::diff::{compare, has_safe_part};
use super::fit::fit;
use super::shown::{bytes, shown};
use super::{Asset, Effect, FieldDiff, ServerFacts};

/// The actions for all assets.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Plan {
    /// One for each asset.
    pub changes: Vec<Change>,
    /// Remarks for the reader: replicas, reserved bytes.
    pub notes: Vec<String>,
}

/// The action for one asset.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Change {
    /// How it should be.
    pub asset: Asset,
    /// The action.
    pub action: Action,
    /// Where it differs.
    pub diffs: Vec<FieldDiff>,
    /// The whole configuration that an update starts from.
    #[serde(skip)]
    pub(super) current: Map<String, Value>,
}

/// An action for one asset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// It is as it should be.
    Same,
    /// It does not exist, and is created.
    Create,
    /// It is widened. What would narrow it is left as it is.
    Update,
    /// It is wider than it should be, and left as it is. By force it is narrowed.
    Drift,
    /// It cannot be used as it is, and cannot be changed. By force it is deleted with these
    /// messages and created again.
    Refused {
        /// Messages that are in it.
        messages: u64,
    },
    /// Other streams capture its subjects; force does not help.
    InTheWay {
        /// Those streams.
        streams: Vec<String>,
    },
}

/// Compares what is wanted with what there is, after byte limits were made to fit into the account.
pub fn plan(mut desired: Vec<Asset>, current: &Current, facts: &ServerFacts) -> Plan {
    fit(&mut desired, facts, current);
    let notes = notes(&desired, facts);
    let changes = desired
        .into_iter()
        .map(|asset| change(asset, current, facts.cluster.is_some()))
        .collect();
    Plan { changes, notes }
}

fn change(asset: Asset, current: &Current, cluster: bool) -> Change {
    let Some(stream) = current.streams.get(&asset.stream) else {
        let others = current.in_the_way.get(&asset.stream);
        let action = others.map_or(Action::Create, |streams| Action::InTheWay {
            streams: streams.clone(),
        });
        return Change {
            asset,
            action,
            diffs: Vec::new(),
            current: Map::new(),
        };
    };
    let diffs = compare(&asset, &stream.config, cluster);
    let action = if diffs.iter().any(|diff| diff.effect == Effect::Impossible) {
        Action::Refused {
            messages: stream.state.messages,
        }
    } else if has_safe_part(&diffs) {
        Action::Update
    } else if diffs.is_empty() {
        Action::Same
    } else {
        Action::Drift
    };
    Change {
        asset,
        action,
        diffs,
        current: stream.config.clone(),
    }
}

fn notes(desired: &[Asset], facts: &ServerFacts) -> Vec<String> {
    let mut notes = Vec::new();
    match &facts.cluster {
        None => notes.push(
            "one replica of everything: this is a single server, and what it stores is lost with its disk".to_owned(),
        ),
        Some(cluster) if desired.iter().all(|asset| asset.config.get("num_replicas") == Some(&Value::from(1))) => {
            notes.push(format!(
                "one replica of everything: three need a cluster of three servers, and \"{}\" shows {}",
                cluster.name,
                cluster.servers.map_or("none".to_owned(), |servers| servers.to_string()),
            ));
        }
        Some(_) => {}
    }
    let elastic: Vec<String> = desired
        .iter()
        .filter(|asset| asset.elastic)
        .filter_map(|asset| Some(format!("{} {}", asset.name, bytes(asset.max_bytes()?))))
        .collect();
    if !elastic.is_empty() {
        notes.push(format!(
            "byte limits are reservations: {}; where the server has no more, a stream is created with less",
            elastic.join(", ")
        ));
    }
    notes
}

impl Plan {
    /// Nothing is to be done and nothing is in the way.
    pub fn is_same(&self) -> bool {
        self.changes
            .iter()
            .all(|change| change.action == Action::Same)
    }
}

impl Change {
    /// The asset in words: ``stream `WORK_QUEUE` ``.
    pub fn title(&self) -> String {
        format!("{} `{}`", self.asset.kind.as_str(), self.asset.name)
    }

    fn of(&self, effect: Effect) -> String {
        let diffs = self.diffs.iter().filter(|diff| diff.effect == effect);
        diffs
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(", ")
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let title = self.title();
        match &self.action {
            Action::Same => write!(f, "same     {title}"),
            Action::Create => write!(f, "create   {title}: {}", described(&self.asset.config)),
            Action::Update => {
                write!(f, "update   {title}: {}", self.of(Effect::Safe))?;
                let kept = self.of(Effect::Narrows);
                if kept.is_empty() {
                    Ok(())
                } else {
                    write!(f, "; kept as it is without --force: {kept}")
                }
            }
            Action::Drift => write!(
                f,
                "drift    {title}: {}; left as it is, --force narrows it, which can delete messages",
                self.of(Effect::Narrows)
            ),
            Action::Refused { messages } => write!(
                f,
                "refused  {title}: {}; this cannot be changed: --force deletes it with its {messages} messages and creates it again",
                self.of(Effect::Impossible)
            ),
            Action::InTheWay { streams } => write!(
                f,
                "refused  {title}: its subjects are captured by {}; take them out of there",
                streams
                    .iter()
                    .map(|name| format!("stream `{name}`"))
                    .collect::<Vec<_>>()
                    .join(", ")
            ),
        }
    }
}

/// The output of `provision --plan`.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for change in &self.changes {
            writeln!(f, "{change}")?;
        }
        for note in &self.notes {
            writeln!(f, "note     {note}")?;
        }
        Ok(())
    }
}

/// A new asset in a few words.
fn described(config: &Map<String, Value>) -> String {
    let value = |field: &str| {
        config
            .get(field)
            .map_or_else(String::new, |value| shown(field, value))
    };
    let mut words = vec![
        value("subjects"),
        value("retention"),
        format!("kept {}", value("max_age")),
        format!("{} replica(s)", value("num_replicas")),
    ];
    for (field, text) in [
        ("max_bytes", "at most"),
        ("max_msgs_per_subject", "per subject at most"),
    ] {
        if config
            .get(field)
            .and_then(Value::as_i64)
            .is_some_and(|limit| limit > 0)
        {
            words.push(format!("{text} {}", value(field)));
        }
    }
    words.push(format!("discard {}", value("discard")));
    words.join(", ")
}
