//! The settings in which a stream differs from what is wanted, and the effect of changing each.
//! Pure.

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::Asset;
use super::shown::shown;
use mistersmith_core::names::subject::covers;

/// The effect of changing a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Effect {
    /// Takes nothing from anybody.
    Safe,
    /// May delete messages, or stop storing some: only by force.
    Narrows,
    /// Cannot be changed: the stream would have to be deleted and created again.
    Impossible,
}

/// One setting that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldDiff {
    /// The setting, as the JetStream API calls it.
    pub field: String,
    /// The current value.
    pub current: Value,
    /// The wanted value.
    pub desired: Value,
    /// The effect of changing it.
    pub effect: Effect,
}

impl fmt::Display for FieldDiff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            field,
            current,
            desired,
            ..
        } = self;
        write!(
            f,
            "{field} {} → {}",
            shown(field, current),
            shown(field, desired)
        )
    }
}

/// All managed settings that differ.
pub(super) fn compare(
    asset: &Asset,
    current: &Map<String, Value>,
    cluster: bool,
) -> Vec<FieldDiff> {
    let managed = |field: &str| match &asset.compare_only {
        Some(fields) => fields.contains(&field),
        None => field != "name",
    };
    let mut diffs = Vec::new();
    for (field, desired) in asset.config.iter().filter(|(field, _)| managed(field)) {
        // On a single server an update of the replicas is accepted, and the stream is gone after a
        // restart.
        if field == "num_replicas" && !cluster {
            continue;
        }
        let now = current
            .get(field)
            .cloned()
            .unwrap_or_else(|| absent(desired));
        if let Some(effect) = effect(asset, field, &now, desired) {
            diffs.push(FieldDiff {
                field: field.clone(),
                current: now,
                desired: desired.clone(),
                effect,
            });
        }
    }
    for field in ["sealed", "mirror", "sources"] {
        let now = current.get(field).unwrap_or(&Value::Null);
        if !matches!(now, Value::Null | Value::Bool(false)) {
            diffs.push(FieldDiff {
                field: field.to_owned(),
                current: now.clone(),
                desired: Value::Null,
                effect: Effect::Impossible,
            });
        }
    }
    diffs
}

/// The value of a setting that the server leaves out.
fn absent(desired: &Value) -> Value {
    match desired {
        Value::Bool(_) => json!(false),
        Value::String(_) => json!(""),
        Value::Array(_) => json!([]),
        _ => json!(0),
    }
}

/// The effect of changing a setting; none when it has the wanted value.
fn effect(asset: &Asset, field: &str, now: &Value, desired: &Value) -> Option<Effect> {
    match field {
        "retention" | "storage" => (now != desired).then_some(Effect::Impossible),
        "subjects" => {
            let (now, desired) = (texts(now), texts(desired));
            (now != desired).then_some(match uncovered(&now, &desired).is_empty() {
                true => Effect::Safe,
                false => Effect::Narrows,
            })
        }
        "max_age" => by_size(limit(now), limit(desired)).map(|effect| match effect {
            Effect::Narrows if asset.ephemeral => Effect::Safe,
            other => other,
        }),
        "max_bytes" => {
            let (now, desired) = (limit(now), limit(desired));
            if asset.elastic && now <= desired {
                None
            } else {
                by_size(now, desired)
            }
        }
        "max_msgs_per_subject" => by_size(limit(now), limit(desired)),
        "num_replicas" => by_size(now.as_u64().unwrap_or(1), desired.as_u64().unwrap_or(1)),
        _ => (now != desired).then_some(Effect::Safe),
    }
}

fn by_size(now: u64, desired: u64) -> Option<Effect> {
    match now.cmp(&desired) {
        std::cmp::Ordering::Equal => None,
        std::cmp::Ordering::Less => Some(Effect::Safe),
        std::cmp::Ordering::Greater => Some(Effect::Narrows),
    }
}

/// A limit of the API, where zero and less stand for none.
pub(super) fn limit(value: &Value) -> u64 {
    value
        .as_u64()
        .filter(|limit| *limit > 0)
        .unwrap_or(u64::MAX)
}

fn texts(value: &Value) -> BTreeSet<&str> {
    value
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect()
}

/// The subjects that none of the others covers.
fn uncovered<'a>(subjects: &BTreeSet<&'a str>, others: &BTreeSet<&str>) -> BTreeSet<&'a str> {
    let covered = |subject: &str| others.iter().any(|other| covers(other, subject));
    subjects
        .iter()
        .copied()
        .filter(|subject| !covered(subject))
        .collect()
}

/// The configuration to update to: the current one with the safe changes, or with all that are
/// possible.
pub(super) fn updated(
    current: &Map<String, Value>,
    diffs: &[FieldDiff],
    force: bool,
) -> Map<String, Value> {
    let mut config = current.clone();
    for diff in diffs {
        let value = match diff.effect {
            Effect::Safe => diff.desired.clone(),
            Effect::Narrows if force => diff.desired.clone(),
            // Subjects are added in any case, and those that are too many stay. The server refuses
            // one that another covers.
            Effect::Narrows if diff.field == "subjects" => {
                let (now, desired) = (texts(&diff.current), texts(&diff.desired));
                let kept = uncovered(&now, &desired);
                json!(&kept | &uncovered(&desired, &kept))
            }
            Effect::Narrows | Effect::Impossible => continue,
        };
        config.insert(diff.field.clone(), value);
    }
    config
}

/// Whether the safe part of the differences changes anything.
pub(super) fn has_safe_part(diffs: &[FieldDiff]) -> bool {
    diffs.iter().any(|diff| match diff.effect {
        Effect::Safe => true,
        Effect::Narrows => {
            diff.field == "subjects"
                && !uncovered(&texts(&diff.desired), &texts(&diff.current)).is_empty()
        }
        Effect::Impossible => false,
    })
}
