//! What manifests say, what is said about them, and what plugins say about each other.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::*;
use crate::names::AgentId;
use crate::permissions::Permissions;
use mistersmith_testing::golden;

mod folders;
mod hosts;
mod permissions;
mod policy;
mod properties;

/// A folder with these files in it.
fn folder(files: &[(&str, &str)]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    dir
}

/// The only candidate of `plugins` in this folder.
fn only(dir: &TempDir) -> Candidate {
    let scan = scan(&dir.path().join("plugins"));
    assert!(scan.findings.is_empty(), "{}", scan.findings);
    assert_eq!(scan.plugins.len(), 1, "{:?}", scan.plugins);
    scan.plugins.into_iter().next().unwrap()
}

/// Findings as people see them, with paths as if the folder were the current one.
fn said(findings: &Findings, dir: &TempDir) -> String {
    let base = format!("{}/", dir.path().display());
    format!("{}\n", findings.to_string().replace(&base, ""))
}

/// The plugin `sentiment` with this manifest, and files that it may name.
fn sentiment(manifest: &str) -> TempDir {
    folder(&[
        ("plugins/sentiment/plugin.toml", manifest),
        ("plugins/sentiment/sentiment.wasm", "not looked at"),
        ("plugins/sentiment/sentiment.creds", "not looked at"),
        (
            "plugins/sentiment/task.schema.json",
            r#"{"type": "object", "required": ["text"]}"#,
        ),
        ("plugins/sentiment/text.schema.json", "text"),
        (
            "plugins/sentiment/broken.schema.json",
            r#"{"type": "thing"}"#,
        ),
        (
            "plugins/sentiment/lookaround.schema.json",
            r#"{"pattern": "(?=a)b"}"#,
        ),
        (
            "plugins/sentiment/remote.schema.json",
            r#"{"$ref": "https://example.org/task.json"}"#,
        ),
        ("plugins/other/other.wasm", ""),
    ])
}

fn load_sentiment(dir: &TempDir) -> Result<PluginSpec, Findings> {
    load_below(dir, &PolicySpec::default())
}

fn load_below(dir: &TempDir, policy: &PolicySpec) -> Result<PluginSpec, Findings> {
    load_plugin(
        &Candidate::in_folder(&dir.path().join("plugins/sentiment"))
            .unwrap()
            .unwrap(),
        policy,
    )
}

/// Every manifest in `golden`, with what is said about it.
#[test]
fn what_is_said_about_manifests() {
    for name in ["good", "values", "combinations", "syntax", "empty", "types"] {
        let manifest = include_golden(&format!("plugin-{name}.toml"));
        let dir = sentiment(&manifest);
        let text = match load_sentiment(&dir) {
            Ok(plugin) => described(&plugin, &dir),
            Err(findings) => said(&findings, &dir),
        };
        golden(&format!("config/golden/plugin-{name}.txt"), &text);
    }
}

fn include_golden(name: &str) -> String {
    fs::read_to_string(mistersmith_testing::package("src/config/golden").join(name)).unwrap()
}

fn described(plugin: &PluginSpec, dir: &TempDir) -> String {
    let base = format!("{}/", dir.path().display());
    let config = serde_json::to_string(&plugin.config).unwrap();
    let lines = describe(plugin).lines().join("\n");
    format!("{lines}\nconfig {config}\n").replace(&base, "")
}

#[test]
fn a_manifest_says_what_the_contract_says() {
    let dir = sentiment(&include_golden("plugin-good.toml"));
    let plugin = load_sentiment(&dir).unwrap();
    assert_eq!(plugin.name.as_str(), "sentiment");
    assert_eq!(plugin.instances, 4);
    assert_eq!(plugin.limits.publish_rate, 50);
    assert_eq!(plugin.work[1].version.as_ref().unwrap().as_str(), "v2");
    assert_eq!(plugin.work[1].task, TaskFilter::All);
    assert_eq!(plugin.work[1].max_deliver, 5);
    assert_eq!(plugin.subscribe[1].subject.as_str(), "tools.sentiment");
    let agent: AgentId = "sentiment-001".parse().unwrap();
    let permissions = Permissions::compile(&plugin.permissions, &plugin.name, &agent);
    permissions.publish("results.nlp.x").unwrap();
    permissions.publish("results.nlp.secret").unwrap_err();
    permissions
        .publish("metrics.agent.sentiment-001.score")
        .unwrap();
    permissions
        .kv("NLP_CACHE", "sentiment.x", Access::Write)
        .unwrap();
    let json = serde_json::to_value(&plugin).unwrap();
    assert_eq!(json["work"][0]["domain"], "nlp");
}

#[test]
fn the_smallest_manifest_has_every_default() {
    let plugin = load_sentiment(&sentiment("[plugin]\nname = \"sentiment\"\n")).unwrap();
    assert_eq!(plugin.instances, 1);
    assert_eq!(plugin.instance, InstanceMode::Agent);
    assert_eq!(plugin.limits, crate::limits::PluginLimits::default());
    assert!(plugin.component.ends_with("sentiment.wasm"));
    assert!(plugin.permissions.publish.is_empty() && plugin.work.is_empty());
}

#[test]
fn a_short_timeout_shortens_the_default_cpu_budget() {
    let manifest = "[plugin]\nname = \"sentiment\"\n[limits]\ntimeout = \"200ms\"\n";
    let limits = load_sentiment(&sentiment(manifest)).unwrap().limits;
    assert_eq!(limits.cpu.as_millis(), 200);
}

#[test]
fn schemas_check_payloads() {
    let dir = sentiment("");
    let path = dir.path().join("plugins/sentiment/task.schema.json");
    let schema = Schema::compile(&path, &fs::read(&path).unwrap()).unwrap();
    schema.check(br#"{"text": "a"}"#).unwrap();
    let long = format!("\"{}\"", "x".repeat(1 << 20));
    let said = [
        schema.check(b"text").unwrap_err(),
        schema.check(b"\xff").unwrap_err(),
        schema.check(b"{}").unwrap_err(),
        schema.check(long.as_bytes()).unwrap_err(),
    ];
    let closed = Schema::compile(&path, br#"{"additionalProperties": false}"#).unwrap();
    let hostile = format!("{{\"\\u001b[2J{}\": 1}}", "k".repeat(1 << 20));
    let said = [
        said.as_slice(),
        &[closed.check(hostile.as_bytes()).unwrap_err()],
    ]
    .concat();
    golden("config/golden/schema.txt", &(said.join("\n") + "\n"));
}

#[test]
fn a_schema_that_refers_to_itself_ends() {
    let path = Path::new("loop.schema.json");
    for text in [
        r##"{"$ref": "#"}"##,
        r##"{"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}"##,
    ] {
        if let Ok(schema) = Schema::compile(path, text.as_bytes()) {
            let _ = schema.check(b"{}");
        }
    }
    let tree = Schema::compile(path, br##"{"items": {"$ref": "#"}}"##).unwrap();
    let deep = "[".repeat(100_000);
    tree.check(deep.as_bytes()).unwrap_err();
}

#[test]
fn two_plugins_are_checked_against_each_other() {
    let manifest = |name: &str, work: &str| format!("[plugin]\nname = {name:?}\n{work}");
    let work = |task: &str| format!("[[work]]\ndomain = \"nlp\"\ntask = {task:?}\n");
    let stage = |stage: &str| format!("[[pipeline]]\nstage = {stage:?}\n");
    let dir = folder(&[
        (
            "plugins/a/plugin.toml",
            &manifest("a", &format!("{}{}", work("*"), stage("extract"))),
        ),
        ("plugins/a/a.wasm", ""),
        (
            "plugins/b/plugin.toml",
            &manifest(
                "b",
                &[work("x"), work("y"), stage("analyze"), stage("extract")].concat(),
            ),
        ),
        ("plugins/b/b.wasm", ""),
        (
            "plugins/c/plugin.toml",
            &manifest("c", &work("*").replace("nlp", "data")),
        ),
        ("plugins/c/c.wasm", ""),
        ("plugins/c.toml", &manifest("c", "")),
        ("plugins/c.wasm", ""),
    ]);
    let scan = scan(&dir.path().join("plugins"));
    let plugins: Vec<PluginSpec> = scan
        .plugins
        .iter()
        .map(|c| load_plugin(c, &PolicySpec::default()).unwrap())
        .collect();
    let all: Vec<&PluginSpec> = plugins.iter().collect();
    golden(
        "config/golden/cross-check.txt",
        &said(&cross_check(&all), &dir),
    );
    assert!(cross_check(&all[..1]).is_empty());
}

#[test]
fn a_suggested_manifest_is_valid_as_it_is_and_with_everything_granted() {
    let imports = [
        "mistersmith:agent/messaging@0.1.0",
        "mistersmith:agent/coordination@0.1.0",
        "mistersmith:agent/kv@0.1.0",
        "wasi:io/poll@0.2.6",
    ];
    let imports = imports.map(str::to_owned);
    let text = suggest_manifest("word_count", &imports);
    golden("config/golden/suggested.txt", &text);
    let granted = text
        .replace("\n# ", "\n")
        .replace("What should", "# What")
        .replace("It imports", "# It");
    for manifest in [text, granted.replace("\n#\n", "\n")] {
        let dir = folder(&[
            ("plugins/word-count.toml", &manifest),
            ("plugins/word_count.wasm", ""),
        ]);
        let plugin = load_plugin(&only(&dir), &PolicySpec::default())
            .unwrap_or_else(|e| panic!("{e}\n{manifest}"));
        assert_eq!(plugin.name.as_str(), "word-count");
    }
    assert!(!suggest_manifest("a", &[]).contains("permissions"));
}

fn plugins(dir: &TempDir) -> PathBuf {
    dir.path().join("plugins")
}
