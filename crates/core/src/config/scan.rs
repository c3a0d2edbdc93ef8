//! Scans the plugins folder for candidates.
//!
//! It decides by names and opens no file, except to search a stray `.toml` for `[plugin]`: a scan
//! runs twice a second and must stay cheap.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::{Finding, Findings};
use crate::files;
use crate::limits::{MAX_MANIFEST, MAX_PLUGINS};

/// The content of a plugins folder.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Scan {
    /// The candidates, by name.
    pub plugins: Vec<Candidate>,
    /// The parts of the folder that could not be read, and why.
    pub findings: Findings,
}

/// Something in the plugins folder that is, or could become, a plugin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Candidate {
    /// The name of its folder, or of its file without the ending; not yet checked.
    pub name: String,
    /// The folder that its files may lie in: its own, or the plugins folder for a bare file.
    pub dir: PathBuf,
    /// Its manifest, if it has one.
    pub manifest: Option<PathBuf>,
    /// Components under the names that need not be written: `<name>.wasm`, `<na_me>.wasm`; in a
    /// folder without a manifest any `.wasm`.
    pub components: Vec<PathBuf>,
    /// Its source lies in the same folder.
    pub source: bool,
    /// It has no folder of its own.
    pub bare: bool,
}

/// The kind of a candidate, decided by names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CandidateKind {
    /// It can be loaded.
    Ready,
    /// It has source and a manifest, and no component under a usual name yet.
    NotBuilt,
    /// It is listed and not run, because it has no grants.
    NoManifest,
}

impl Candidate {
    /// Its kind.
    pub fn kind(&self) -> CandidateKind {
        match (&self.manifest, self.components.as_slice()) {
            (None, _) => CandidateKind::NoManifest,
            (Some(_), []) if self.source => CandidateKind::NotBuilt,
            _ => CandidateKind::Ready,
        }
    }

    /// Where its manifest is, or should be written.
    pub fn manifest_path(&self) -> PathBuf {
        let file = if self.bare {
            format!("{}.toml", self.name)
        } else {
            "plugin.toml".to_owned()
        };
        self.manifest.clone().unwrap_or_else(|| self.dir.join(file))
    }

    /// The candidate in this folder; none when there is neither a manifest nor a component in it.
    pub fn in_folder(dir: &Path) -> io::Result<Option<Self>> {
        let Some(name) = dir.file_name().and_then(|name| name.to_str()) else {
            return Ok(None);
        };
        let manifest = Some(dir.join("plugin.toml")).filter(|path| path.is_file());
        let components = if manifest.is_some() {
            usual(dir, name)
        } else {
            any_component(dir)?
        };
        let found = manifest.is_some() || !components.is_empty();
        Ok(found.then(|| Self {
            name: name.to_owned(),
            dir: dir.to_owned(),
            manifest,
            components,
            source: dir.join("Cargo.toml").is_file(),
            bare: false,
        }))
    }
}

/// The components that need not be named: the plugin's name, and what cargo makes of it.
fn usual(dir: &Path, name: &str) -> Vec<PathBuf> {
    let mut names = vec![name.to_owned(), name.replace('-', "_")];
    names.dedup();
    let paths = names.iter().map(|name| dir.join(format!("{name}.wasm")));
    paths.filter(|path| path.is_file()).collect()
}

fn any_component(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if found.len() < MAX_PLUGINS && is_kind(&path, "wasm") && path.is_file() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Lists what is in the plugins folder. A folder that is not there is a finding.
///
/// Hidden entries, `target`, and folders with neither a manifest nor a component are passed over.
pub fn scan(plugins: &Path) -> Scan {
    let mut scan = Scan::default();
    let mut bare: BTreeMap<String, Candidate> = BTreeMap::new();
    let paths = match entries(plugins) {
        Ok(paths) => paths,
        Err(error) => {
            let fix = "make the folder, or name another with [host] plugins in mistersmith.toml";
            scan.findings.push(unreadable(plugins, &error, fix));
            return scan;
        }
    };
    for path in paths {
        if path.is_dir() {
            match Candidate::in_folder(&path) {
                Ok(found) => scan.plugins.extend(found),
                Err(error) => scan
                    .findings
                    .push(unreadable(&path, &error, "make it readable")),
            }
        } else if is_kind(&path, "wasm") {
            let candidate = bare_entry(&mut bare, plugins, &path);
            candidate.components.push(path);
        } else if is_kind(&path, "toml") && (has_component(&path) || is_manifest(&path)) {
            let candidate = bare_entry(&mut bare, plugins, &path);
            match &candidate.manifest {
                None => candidate.manifest = Some(path),
                Some(first) => {
                    let problem = format!("{} is the manifest of the same plugin", first.display());
                    scan.findings
                        .push(whole(&path, problem, "delete one of them"));
                }
            }
        }
    }
    scan.plugins.extend(bare.into_values());
    scan.plugins.sort_by(|a, b| a.name.cmp(&b.name));
    if scan.plugins.len() > MAX_PLUGINS {
        let problem = format!("it holds {} plugins", scan.plugins.len());
        let fix = format!("keep at most {MAX_PLUGINS}; the rest is not looked at");
        scan.findings.push(whole(plugins, problem, &fix));
        scan.plugins.truncate(MAX_PLUGINS);
    }
    scan
}

/// The entries that are looked at, in the order of their names.
fn entries(plugins: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(plugins)? {
        let path = entry?.path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or(".");
        if !name.starts_with('.') && name != "target" {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// The candidate of a bare file; `na_me.wasm` belongs to `na-me.toml`.
fn bare_entry<'b>(
    bare: &'b mut BTreeMap<String, Candidate>,
    plugins: &Path,
    path: &Path,
) -> &'b mut Candidate {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let name = stem.replace('_', "-");
    bare.entry(name.clone()).or_insert_with(|| Candidate {
        name,
        dir: plugins.to_owned(),
        manifest: None,
        components: Vec::new(),
        source: false,
        bare: true,
    })
}

/// Does a component lie beside this file under its name?
fn has_component(manifest: &Path) -> bool {
    let stem = manifest.file_stem().unwrap_or_default().to_string_lossy();
    !usual(manifest.parent().unwrap_or(Path::new(".")), &stem).is_empty()
}

/// Is this stray file meant as a manifest, and not the Cargo.toml of a workspace?
fn is_manifest(path: &Path) -> bool {
    let folder = path.parent().unwrap_or(Path::new("."));
    let text = files::read_within(path, folder, MAX_MANIFEST).unwrap_or_default();
    text.split(|b| *b == b'\n')
        .any(|line| line.trim_ascii() == b"[plugin]")
}

fn is_kind(path: &Path, ending: &str) -> bool {
    path.extension().is_some_and(|found| found == ending)
}

fn unreadable(path: &Path, error: &io::Error, fix: &str) -> Finding {
    whole(path, format!("it cannot be read: {error}"), fix)
}

fn whole(path: &Path, problem: String, fix: &str) -> Finding {
    Finding {
        file: path.to_owned(),
        line: 0,
        key: String::new(),
        problem,
        fix: fix.to_owned(),
    }
}
