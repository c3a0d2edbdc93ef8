//! `plugin.toml`: one file into one [`PluginSpec`].

use std::path::Path;

use serde_json::{Map, Value};
use toml::de::DeValue;

use super::document::Document;
use super::head::{self, Head};
use super::item::Item;
use super::scan::Candidate;
use super::section::Section;
use super::{
    Finding, Findings, PluginSpec, PolicySpec, circuit, election, excess, grants, idempotence,
    limits, patterns, pipeline, scatter,
};
use crate::digest::Digest;
use crate::names::PluginName;
use crate::permissions::PermissionSpec;

/// Reads the manifest of a candidate, and finds the files that it names.
///
/// Fails with every mistake at once, or, when there is none, with everything that goes beyond the
/// `policy` of the host. A candidate without a manifest, or whose component is not
/// built, fails with the one finding that says what to do.
pub fn load_plugin(candidate: &Candidate, policy: &PolicySpec) -> Result<PluginSpec, Findings> {
    let Some(manifest) = &candidate.manifest else {
        return Err(Findings::from_iter([without_manifest(candidate)]));
    };
    let document = Document::read(manifest, Some(&candidate.dir))?;
    document.walk(|root| {
        let mut spec = plugin(&root, candidate, manifest, document.digest())?;
        excess::check(&root, &mut spec, policy);
        Some(spec)
    })
}

fn without_manifest(candidate: &Candidate) -> Finding {
    Finding {
        file: candidate
            .components
            .first()
            .unwrap_or(&candidate.dir)
            .clone(),
        line: 0,
        key: String::new(),
        problem: "it has no manifest, and so no grants; it is not run".to_owned(),
        fix: format!("write {}", candidate.manifest_path().display()),
    }
}

fn plugin(
    root: &Section<'_>,
    candidate: &Candidate,
    manifest: &Path,
    digest: Digest,
) -> Option<PluginSpec> {
    let dir = candidate.dir.as_path();
    // Patterns are tried with the name that the plugin should have; where that is none, with any.
    let name = if PluginName::check(&candidate.name).is_ok() {
        &candidate.name
    } else {
        "plugin"
    };
    let head = root.need_section("plugin", &format!("[plugin] with name = {name:?}"));
    let head = head.and_then(|section| head::read(&section, candidate));
    let config = root
        .section("config")
        .map(|section| config(&section))
        .unwrap_or_default();
    let permissions = permissions(root, name, manifest);
    let work = patterns::work(root, dir, &permissions, name);
    let pipeline = pipeline::stages(root, dir, &permissions, name);
    let subscribe = patterns::subscribe(root, dir, name, &permissions);
    let scatter = scatter::read(root, dir, &permissions, name);
    let election = election::read(root);
    let circuit = circuit::read(root);
    let idempotence = idempotence::read(root);
    let execute_schema = patterns::execute(root, dir);
    let limits = root
        .section("limits")
        .map(|section| limits::read(&section))
        .unwrap_or_default();
    root.close();
    let Head {
        name,
        version,
        description,
        component,
        instances,
        instance,
        capabilities,
        credentials,
    } = head?;
    Some(PluginSpec {
        name,
        version,
        description,
        dir: dir.to_owned(),
        manifest: manifest.to_owned(),
        digest,
        component,
        instances,
        instance,
        capabilities,
        credentials,
        config,
        work,
        pipeline,
        subscribe,
        scatter,
        election,
        circuit,
        idempotence,
        execute_schema,
        permissions,
        limits,
    })
}

/// The grants; a manifest without the section grants nothing.
fn permissions(root: &Section<'_>, name: &str, manifest: &Path) -> PermissionSpec {
    match root.section("permissions") {
        Some(section) => grants::read(&section, name, manifest),
        None => PermissionSpec {
            manifest: manifest.to_owned(),
            ..PermissionSpec::default()
        },
    }
}

/// `[config]` as JSON. Times become text; numbers that JSON does not have are mistakes.
fn config(section: &Section<'_>) -> Map<String, Value> {
    let entries = section.entries().into_iter();
    entries
        .map(|(key, item)| (key.to_owned(), json(&item)))
        .collect()
}

fn json(item: &Item<'_>) -> Value {
    match item.value {
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Boolean(value) => Value::Bool(*value),
        DeValue::Datetime(time) => Value::String(time.to_string()),
        DeValue::Integer(number) => {
            let read = i64::from_str_radix(number.as_str(), number.radix());
            number_or_note(item, read.ok().map(Value::from))
        }
        DeValue::Float(number) => {
            let read: Option<f64> = number.as_str().parse().ok();
            number_or_note(item, read.filter(|f| f.is_finite()).map(Value::from))
        }
        DeValue::Array(_) => item.items("[]", usize::MAX).iter().map(json).collect(),
        DeValue::Table(_) => Section::of(item, "[]")
            .map(|s| config(&s))
            .unwrap_or_default()
            .into(),
    }
}

fn number_or_note(item: &Item<'_>, number: Option<Value>) -> Value {
    number.unwrap_or_else(|| {
        item.note(
            format!("{} is not a number in JSON", item.shown()),
            "write it as a text",
        );
        Value::Null
    })
}
