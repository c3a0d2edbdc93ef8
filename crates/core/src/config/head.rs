//! `[plugin]` of a manifest: what the plugin is, and where its files are.

use std::path::PathBuf;

use super::item::Item;
use super::scan::Candidate;
use super::section::Section;
use super::{InstanceMode, files, show_size};
use crate::files::leads_within;
use crate::limits::{INSTANCES, MAX_COMPONENT, MAX_DESCRIPTION, MAX_ENTRIES, MAX_LABEL};
use crate::names::PluginName;

/// The values of `[plugin]`.
pub(super) struct Head {
    pub(super) name: PluginName,
    pub(super) version: String,
    pub(super) description: String,
    pub(super) component: PathBuf,
    pub(super) instances: u32,
    pub(super) instance: InstanceMode,
    pub(super) capabilities: Vec<String>,
    pub(super) credentials: Option<PathBuf>,
}

/// Reads the section; every value is looked at before the first mistake counts.
pub(super) fn read(section: &Section<'_>, candidate: &Candidate) -> Option<Head> {
    let dir = candidate.dir.as_path();
    let example = format!("name = {:?}", candidate.name);
    let name = section
        .need("name", &example)
        .and_then(|item| name(&item, &candidate.name));
    let version = section
        .get("version")
        .map(|item| item.line(MAX_LABEL, "\"0.1.0\""));
    let description = section.get("description");
    let description = description.map(|item| item.line(MAX_DESCRIPTION, "\"what it does\""));
    let component = component(section, candidate);
    let instances = section.get("instances").map(|item| item.integer(INSTANCES));
    let modes = [
        ("agent", InstanceMode::Agent),
        ("message", InstanceMode::Message),
    ];
    let instance = section.get("instance").map(|item| item.choice(&modes));
    let capabilities = section.get("capabilities").map(|item| capabilities(&item));
    let credentials = section.get("credentials");
    let credentials = match credentials {
        None => Some(None),
        Some(item) => files::within(&item, dir, "\"sentiment.creds\"", files::ABSENT).map(Some),
    };
    section.close();
    Some(Head {
        name: name?,
        version: version.unwrap_or_else(|| Some("0.0.0".to_owned()))?,
        description: description.unwrap_or_else(|| Some(String::new()))?,
        component: component?,
        instances: instances.unwrap_or(Some(INSTANCES.default))?,
        instance: instance.unwrap_or_else(|| Some(InstanceMode::default()))?,
        capabilities: capabilities.unwrap_or_default(),
        credentials: credentials?,
    })
}

fn name(item: &Item<'_>, folder: &str) -> Option<PluginName> {
    let name: PluginName = item.name("\"word-count\"")?;
    if name.as_str() != folder {
        let problem = format!(
            "{} is not the name of its folder or file, {folder:?}",
            item.shown()
        );
        item.note(
            problem,
            format!("write name = {folder:?}, or rename the folder or file"),
        );
        return None;
    }
    Some(name)
}

fn capabilities(list: &Item<'_>) -> Vec<String> {
    let mut read: Vec<String> = Vec::new();
    for item in list.items("[\"sentiment\"]", MAX_ENTRIES) {
        let Some(capability) = item.line(MAX_LABEL, "\"sentiment\"") else {
            continue;
        };
        if capability.trim().is_empty() || read.contains(&capability) {
            item.note(
                format!("{} is empty or there twice", item.shown()),
                "delete it",
            );
            continue;
        }
        read.push(capability);
    }
    read
}

/// The component: the file that the manifest names, or the one that is there.
fn component(section: &Section<'_>, candidate: &Candidate) -> Option<PathBuf> {
    let example = format!("\"{}.wasm\"", candidate.name);
    let path = match section.get("component") {
        Some(item) => {
            let absent = if candidate.source {
                build(candidate)
            } else {
                files::ABSENT.to_owned()
            };
            files::within(&item, &candidate.dir, &example, &absent)?
        }
        None => default_component(section, candidate)?,
    };
    let size = path
        .metadata()
        .map(|metadata| metadata.len())
        .unwrap_or_default();
    if size > MAX_COMPONENT {
        let problem = format!(
            "{} has more than {}",
            path.display(),
            show_size(MAX_COMPONENT)
        );
        note(
            section,
            problem,
            "build it optimised and stripped".to_owned(),
        );
        return None;
    }
    Some(path)
}

fn default_component(section: &Section<'_>, candidate: &Candidate) -> Option<PathBuf> {
    let (problem, fix) = match candidate.components.as_slice() {
        [path] if leads_within(path, &candidate.dir) => return Some(path.clone()),
        [path] => {
            let problem = format!("{} is a link out of the plugin's folder", path.display());
            (problem, "put the file itself there".to_owned())
        }
        [] => {
            let problem = format!(
                "there is no {}.wasm in {}",
                candidate.name,
                candidate.dir.display()
            );
            let fix = "put the component there, or name it with component = \"….wasm\"".to_owned();
            (
                problem,
                if candidate.source {
                    build(candidate)
                } else {
                    fix
                },
            )
        }
        [first, ..] => {
            let other = candidate.name.replace('-', "_");
            let problem = format!("both {} and {other}.wasm are there", first.display());
            (
                problem,
                "delete the older one, or name one with component = \"….wasm\"".to_owned(),
            )
        }
    };
    note(section, problem, fix);
    None
}

fn build(candidate: &Candidate) -> String {
    format!("run: mistersmith build {}", candidate.name)
}

fn note(section: &Section<'_>, problem: String, fix: String) {
    section
        .notes
        .note(section.span.clone(), "plugin.component", problem, fix);
}
