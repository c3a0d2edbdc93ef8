//! JSON schemas of inbound payloads, compiled when the manifest is loaded.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jsonschema::{PatternOptions, Validator};
use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::names::disturbs;

/// A compiled schema. Shared between the agents of a plugin.
#[derive(Clone)]
pub struct Schema {
    /// The file it came from.
    pub path: PathBuf,
    /// The compiled form.
    pub validator: Arc<Validator>,
}

impl Schema {
    /// Compiles the text of a schema. Fails with a sentence when it is not JSON, not a valid
    /// schema, or refers to something outside of itself: nothing is ever fetched, from the net or
    /// from disk.
    ///
    /// Patterns run in time linear in the payload, because payloads come from strangers;
    /// look-around and back-references are therefore refused.
    pub fn compile(path: &Path, text: &[u8]) -> Result<Self, String> {
        let json: Value = serde_json::from_slice(text).map_err(|e| format!("not JSON: {e}"))?;
        let validator = jsonschema::options()
            .offline()
            .with_pattern_options(PatternOptions::regex())
            .build(&json)
            .map_err(|e| e.to_string())?;
        Ok(Self {
            path: path.to_owned(),
            validator: Arc::new(validator),
        })
    }

    /// Is this payload JSON that the schema allows? The sentence says what is wrong first, in at
    /// most 300 characters and without values: a payload may be large, and may be a secret.
    pub fn check(&self, payload: &[u8]) -> Result<(), String> {
        let json: Value =
            serde_json::from_slice(payload).map_err(|e| format!("the payload is not JSON: {e}"))?;
        self.validator.validate(&json).map_err(|e| {
            let at = e.instance_path().to_string();
            let place = if at.is_empty() { "the payload" } else { &at };
            short(&format!("{place}: {}", e.masked_with("the value")))
        })
    }
}

/// Names of properties come from the payload too: cut, and rid of what could disturb a log.
fn short(sentence: &str) -> String {
    const SHOWN: usize = 300;
    let mut visible = sentence.chars().filter(|c| !disturbs(*c));
    let mut short: String = visible.by_ref().take(SHOWN - 1).collect();
    if visible.next().is_some() {
        short.push('…');
    }
    short
}

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Schema").field(&self.path).finish()
    }
}

/// The path of the file.
impl Serialize for Schema {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.path.serialize(serializer)
    }
}
