//! What is a name and what is none.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use super::*;

fn refused<T: FromStr<Err = NameError> + std::fmt::Debug>(text: &str) -> String {
    text.parse::<T>().expect_err(text).to_string()
}

#[test]
fn plugin_names() {
    for good in ["a", "sentiment", "word-count", "gpt-4", "a-01", "x9"] {
        assert_eq!(good.parse::<PluginName>().unwrap().as_str(), good);
    }
    let long = "a".repeat(64);
    let bad = [
        "", "9a", "-a", "a-", "A", "a_b", "a.b", "a b", "all", "a-001", "a-1000", "ä", "a\n", "*",
        ">", &long,
    ];
    for name in bad {
        refused::<PluginName>(name);
    }
    assert_eq!(
        refused::<PluginName>("a-001"),
        r#""a-001" is not a plugin name: it ends like an agent id, with "-" and three or more digits"#
    );
}

#[test]
fn agent_ids() {
    let plugin: PluginName = "word-count".parse().unwrap();
    for (number, text) in [
        (1, "word-count-001"),
        (999, "word-count-999"),
        (12345, "word-count-12345"),
    ] {
        let id = AgentId::new(&plugin, number);
        assert_eq!(
            (id.as_str(), id.plugin(), id.number()),
            (text, "word-count", number)
        );
        assert_eq!(text.parse::<AgentId>().unwrap(), id);
    }
    let bad = [
        "",
        "a",
        "a-1",
        "a-01",
        "a-000",
        "a-0001",
        "a-99999999999",
        "-001",
        "A-001",
        "a-001-001",
        "a-00١",
        "all-001",
    ];
    for id in bad {
        refused::<AgentId>(id);
    }
}

#[test]
fn no_agent_id_is_a_plugin_name() {
    for number in [1, 20, 1000, u32::MAX] {
        let id = AgentId::new(&"gpt-4".parse().unwrap(), number);
        refused::<PluginName>(id.as_str());
    }
}

#[test]
fn tokens_buckets_and_keys() {
    for good in ["nlp", "v2", "-", "9"] {
        good.parse::<Token>().unwrap();
        good.parse::<HostId>().unwrap();
    }
    for bad in ["", "Nlp", "a.b", "*", "a_b", "a b"] {
        refused::<Token>(bad);
        refused::<HostId>(bad);
    }
    for good in ["NLP_CACHE", "a-b", "9"] {
        good.parse::<Bucket>().unwrap();
    }
    for bad in ["", "a.b", "a b", "a/b", "ä", "*"] {
        refused::<Bucket>(bad);
    }
    for good in ["a", "a.b", "A/b_c=d-e.9"] {
        good.parse::<Key>().unwrap();
        good.parse::<KeyPattern>().unwrap();
    }
    for bad in [
        "",
        ".a",
        "a.",
        "a..b",
        "a b",
        "a\0",
        "ä",
        "a:b",
        &"k".repeat(201),
    ] {
        refused::<Key>(bad);
        refused::<KeyPattern>(bad);
    }
    for pattern in [">", "*", "a.*", "a.>", "*.b.>"] {
        pattern.parse::<KeyPattern>().unwrap();
        refused::<Key>(pattern);
    }
    for bad in ["a.>.b", ">.a", "a*", "a.>b"] {
        refused::<KeyPattern>(bad);
    }
}

#[test]
fn names_are_checked_when_read_from_json() {
    let id: AgentId = serde_json::from_str(r#""a-001""#).unwrap();
    assert_eq!(serde_json::to_string(&id).unwrap(), r#""a-001""#);
    serde_json::from_str::<PluginName>(r#""a b""#).unwrap_err();
    assert_eq!(serde_json::to_string(&Priority::High).unwrap(), r#""high""#);
}

#[test]
fn priorities() {
    assert_eq!(Priority::ALL.map(Priority::weight), [8, 4, 2, 1]);
    for priority in Priority::ALL {
        assert_eq!(priority.as_str().parse::<Priority>().unwrap(), priority);
    }
    refused::<Priority>("urgent");
    refused::<Priority>("High");
}

#[test]
fn a_hostile_name_is_quoted_and_cut() {
    assert_eq!(quoted("a\r\n\0"), r#""a\r\n\0""#);
    assert!(quoted(&"x".repeat(1 << 20)).len() < 80);
}
