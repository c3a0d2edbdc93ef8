//! Configurations as text, shared by all agents with equal ones.
//!
//! Parsed JSON takes up to forty times the memory of its text, and one command may give the same
//! values to thousands of agents.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, HashMap};
use std::hash::{Hash, Hasher};
use std::sync::{Arc, LazyLock, Weak};

use parking_lot::Mutex;
use serde_json::{Map, Value};

/// What is at the top of a configuration: names, and their values as compact JSON. Each content is
/// in memory once, however many agents have it.
#[derive(Debug, Default, PartialEq, Eq, Hash)]
pub struct ConfigValues(BTreeMap<Arc<str>, Arc<str>>);

impl ConfigValues {
    /// Of a JSON object.
    pub fn of(values: &Map<String, Value>) -> Arc<Self> {
        let texts = values
            .iter()
            .map(|(name, value)| (name.as_str().into(), value.to_string().into()));
        shared(Self(texts.collect()))
    }

    /// These, and others over them.
    pub fn under(&self, over: &Self) -> Arc<Self> {
        let mut merged = self.0.clone();
        let over = over.0.iter();
        merged.extend(over.map(|(name, value)| (Arc::clone(name), Arc::clone(value))));
        shared(Self(merged))
    }

    /// One value, as JSON.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|value| &**value)
    }

    /// All of them.
    pub fn values(&self) -> Map<String, Value> {
        let value = |text: &str| serde_json::from_str(text).unwrap_or(Value::Null);
        let each = self.0.iter();
        each.map(|(name, text)| (name.to_string(), value(text)))
            .collect()
    }

    /// All of them, as a JSON object.
    pub fn text(&self) -> String {
        let mut text = String::from("{");
        for (name, value) in &self.0 {
            if text.len() > 1 {
                text.push(',');
            }
            text.push_str(&Value::from(&**name).to_string());
            text.push(':');
            text.push_str(value);
        }
        text.push('}');
        text
    }
}

/// Every content that an agent has, by its hash.
#[derive(Default)]
struct Known {
    all: HashMap<u64, Weak<ConfigValues>>,
    /// At this size those that nobody has any more are removed.
    sweep_at: usize,
}

impl Known {
    /// The one that is known with this content, or this.
    fn share(&mut self, values: ConfigValues) -> Arc<ConfigValues> {
        let mut hasher = DefaultHasher::new();
        values.hash(&mut hasher);
        let hash = hasher.finish();
        if let Some(known) = self.all.get(&hash).and_then(Weak::upgrade)
            && *known == values
        {
            return known;
        }
        if self.all.len() >= self.sweep_at {
            self.all.retain(|_, known| known.strong_count() > 0);
            self.sweep_at = self.all.len() * 2 + 16;
        }
        let values = Arc::new(values);
        self.all.insert(hash, Arc::downgrade(&values));
        values
    }
}

fn shared(values: ConfigValues) -> Arc<ConfigValues> {
    static KNOWN: LazyLock<Mutex<Known>> = LazyLock::new(Mutex::default);
    let mut known = KNOWN.lock();
    known.share(values)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn values(text: &str) -> Arc<ConfigValues> {
        ConfigValues::of(&serde_json::from_str(text).unwrap())
    }

    #[test]
    fn text_is_that_of_the_object() {
        for text in [
            "{}",
            r#"{"a":1}"#,
            r#"{"":null,"a":[1,{"b":"c\"d"}],"q\"\n":1.5,"ä":"ö"}"#,
        ] {
            assert_eq!(values(text).text(), text);
        }
        let spaced = values("{ \"b\" : [ 1 , 2 ],\n\"a\" : {} }");
        assert_eq!(spaced.text(), r#"{"a":{},"b":[1,2]}"#);
        assert_eq!(spaced.get("b"), Some("[1,2]"));
        assert_eq!(spaced.get("c"), None);
    }

    #[test]
    fn values_at_the_top_are_replaced_and_the_rest_stays() {
        let merged = values(r#"{"a":{"x":1},"b":2}"#).under(&values(r#"{"a":{"y":2},"c":3}"#));
        assert_eq!(merged.text(), r#"{"a":{"y":2},"b":2,"c":3}"#);
    }

    #[test]
    fn equal_content_is_in_memory_once() {
        let (base, over) = (r#"{"once":"base"}"#, r#"{"top":[1,2,3]}"#);
        let one = values(base).under(&values(over));
        let other = values(base).under(&values(over));
        assert!(Arc::ptr_eq(&one, &other));
        assert!(!Arc::ptr_eq(&one, &values(base)));
    }

    #[test]
    fn what_nobody_has_any_more_is_forgotten() {
        let mut known = Known::default();
        let kept = known.share(ConfigValues::default());
        for n in 0..1000 {
            let name = Arc::from(n.to_string());
            known.share(ConfigValues(BTreeMap::from([(name, "1".into())])));
        }
        assert!(known.all.len() <= 20, "{}", known.all.len());
        assert!(Arc::ptr_eq(&kept, &known.share(ConfigValues::default())));
    }
}
