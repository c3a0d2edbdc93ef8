//! `mistersmith lock`: pins the plugins of the folder by the digests of their files, or compares
//! them with the pins that are there.
//!
//! Files are read as a host reads them; what cannot be loaded cannot be pinned.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context;
use serde::Serialize;

use crate::cli::draft;
use crate::cli::exit::{Exit, Shown};
use crate::cli::global::{Global, complain};
use crate::cli::output;
use crate::cli::usage::usage;
use mistersmith_core::config::{
    self, Candidate, CandidateKind, Findings, HostSpec, LOCK_FILE, Lock, Pin, Pinned,
};
use mistersmith_core::digest::Digest;
use mistersmith_core::files;
use mistersmith_core::limits::{MAX_COMPONENT, MAX_MANIFEST};

/// Arguments of `lock`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Plugins to pin, or to compare; all when none is named
    #[arg(value_name = "PLUGIN")]
    names: Vec<String>,
    /// Write nothing; fail when a plugin is not what is pinned
    #[arg(long)]
    check: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// A plugin, compared with the lock as it was.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Row {
    name: String,
    #[serde(flatten)]
    pinned: Pinned,
}

pub(crate) fn run(global: &Global, args: &Args) -> anyhow::Result<()> {
    let host = global.host_spec()?;
    let found = pins(&host, &args.names)?;
    let old = read(&host.lock);
    if args.check {
        return check(&host.lock, old, &found, args);
    }
    // With names, the other pins stay; without, the file is written whole whatever was in it.
    let old = match old {
        Ok(old) => old.unwrap_or_default(),
        Err(_) if args.names.is_empty() => Lock::default(),
        Err(findings) => return Err(complain(&findings)),
    };
    let rows = compare(&old, &found, args.names.is_empty());
    let mut plugins = match args.names.is_empty() {
        true => BTreeMap::new(),
        false => old.plugins,
    };
    plugins.extend(found);
    let lock = Lock { plugins };
    draft::write(&host.lock, lock.text().as_bytes())
        .with_context(|| format!("cannot write {}", host.lock.display()))?;
    show(&rows, args.json, done)
}

/// The lock; none when there is no file.
fn read(path: &Path) -> Result<Option<Lock>, Findings> {
    match files::read(path, MAX_MANIFEST) {
        Ok(bytes) => Lock::parse(path, bytes).map(Some),
        Err(error) if error.is_absent() => Ok(None),
        Err(error) => Err(Findings::from_iter([config::Finding {
            file: path.to_owned(),
            line: 0,
            key: String::new(),
            problem: format!("it cannot be read: {error}"),
            fix: "delete it, then run: mistersmith lock".to_owned(),
        }])),
    }
}

/// The digests of the plugins in the folder: of those that are named, or of all that can be loaded.
fn pins(host: &HostSpec, names: &[String]) -> anyhow::Result<BTreeMap<String, Pin>> {
    let scan = config::scan(&host.plugins);
    if !scan.findings.is_empty() {
        return Err(complain(&scan.findings));
    }
    let known = |name: &&String| scan.plugins.iter().any(|found| found.name == **name);
    if let Some(unknown) = names.iter().find(|name| !known(name)) {
        let folder = host.plugins.display();
        return Err(usage(format!("no plugin `{unknown}` in {folder}")));
    }
    let wanted = |one: &&Candidate| names.is_empty() || names.contains(&one.name);
    let mut pins = BTreeMap::new();
    let mut mistakes = Findings::default();
    for candidate in scan.plugins.iter().filter(wanted) {
        // A plugin that does not run needs no pin. One that was named must exist.
        if names.is_empty() && candidate.kind() != CandidateKind::Ready {
            output::remark(&format!(
                "without `{}`, which cannot run yet",
                candidate.name
            ));
            continue;
        }
        match pin(host, candidate) {
            Ok(pin) => {
                pins.insert(candidate.name.clone(), pin);
            }
            Err(findings) => mistakes.extend(findings),
        }
    }
    if mistakes.is_empty() {
        return Ok(pins);
    }
    Err(complain(&mistakes))
}

fn pin(host: &HostSpec, candidate: &Candidate) -> Result<Pin, Findings> {
    let spec = config::load_plugin(candidate, &host.policy)?;
    let component = files::read_within(&spec.component, &spec.dir, MAX_COMPONENT);
    let component = component.map_err(|error| {
        Findings::from_iter([config::Finding {
            file: spec.component.clone(),
            line: 0,
            key: String::new(),
            problem: format!("it cannot be read: {error}"),
            fix: "make it a readable file".to_owned(),
        }])
    })?;
    Ok(Pin {
        component: Digest::of(&component),
        manifest: spec.digest,
    })
}

/// The lock's verdict on each plugin; with `every` also on those that are only pinned.
fn compare(lock: &Lock, found: &BTreeMap<String, Pin>, every: bool) -> Vec<Row> {
    let rows = found.iter().map(|(name, pin)| Row {
        name: name.clone(),
        pinned: lock.state(name, pin),
    });
    let gone = lock
        .plugins
        .keys()
        .filter(|name| every && !found.contains_key(*name));
    let gone = gone.map(|name| Row {
        name: name.clone(),
        pinned: Pinned::Gone,
    });
    let mut rows: Vec<Row> = rows.chain(gone).collect();
    rows.sort_by(|a, b| a.name.cmp(&b.name));
    rows
}

fn check(
    path: &Path,
    lock: Result<Option<Lock>, Findings>,
    found: &BTreeMap<String, Pin>,
    args: &Args,
) -> anyhow::Result<()> {
    let Some(lock) = lock.map_err(|findings| complain(&findings))? else {
        anyhow::bail!("there is no {}; run: mistersmith lock", path.display());
    };
    let rows = compare(&lock, found, args.names.is_empty());
    show(&rows, args.json, state)?;
    if rows.iter().all(|row| row.pinned == Pinned::Same) {
        return Ok(());
    }
    output::complain(&format!(
        "plugins differ from {LOCK_FILE}; if they are wanted, run: mistersmith lock"
    ));
    Err(Shown(Exit::FAILED).into())
}

fn show(rows: &[Row], json: bool, words: impl Fn(&Pinned) -> String) -> anyhow::Result<()> {
    if json {
        return output::json(&rows);
    }
    let cells = |row: &Row| vec![output::one_line(&row.name, 63), words(&row.pinned)];
    let rows: Vec<Vec<String>> = rows.iter().map(cells).collect();
    output::line(&output::table(&["plugin", "state"], &rows))
}

/// The action taken.
fn done(pinned: &Pinned) -> String {
    match pinned {
        Pinned::Same => "pinned as before".to_owned(),
        Pinned::NotPinned => "pinned".to_owned(),
        Pinned::Differs { files } => format!("pinned with another {}", files.join(" and ")),
        Pinned::Gone => "not pinned any more: it is not in the folder".to_owned(),
    }
}

/// How it is.
fn state(pinned: &Pinned) -> String {
    match pinned {
        Pinned::Same => "as pinned".to_owned(),
        Pinned::NotPinned => "not pinned".to_owned(),
        Pinned::Differs { files } => format!("has another {}", files.join(" and ")),
        Pinned::Gone => "pinned, and not in the folder".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plugins_are_compared_by_name() {
        let pin = |text: &[u8]| Pin {
            component: Digest::of(text),
            manifest: Digest::of(b"manifest"),
        };
        let named = |name: &str, text: &[u8]| (name.to_owned(), pin(text));
        let lock = Lock {
            plugins: [named("a", b"1"), named("c", b"1"), named("d", b"1")].into(),
        };
        let found = [named("a", b"1"), named("b", b"1"), named("c", b"2")].into();
        let states = |every| -> Vec<String> {
            let rows = compare(&lock, &found, every);
            let line = |row: &Row| {
                format!(
                    "{} {} / {}",
                    row.name,
                    done(&row.pinned),
                    state(&row.pinned)
                )
            };
            rows.iter().map(line).collect()
        };
        let all = [
            "a pinned as before / as pinned",
            "b pinned / not pinned",
            "c pinned with another component / has another component",
            "d not pinned any more: it is not in the folder / pinned, and not in the folder",
        ];
        assert_eq!(states(true), all);
        assert_eq!(
            states(false).join("\n"),
            all.split_last()
                .map_or_else(String::new, |(_, rest)| rest.join("\n"))
        );
        let row = compare(&lock, &found, true).swap_remove(2);
        let json = serde_json::to_string(&row).unwrap_or_default();
        assert_eq!(
            json,
            r#"{"name":"c","state":"differs","files":["component"]}"#
        );
    }
}
