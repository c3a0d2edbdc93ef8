//! Manifests and configurations in the documents go through the real reader, and the references
//! list every key that it knows.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use mistersmith_core::config::{Candidate, Findings, HostEnv, PolicySpec, load_host, load_plugin};
use tempfile::TempDir;

use crate::check;
use crate::markdown::{names, page, pages};

/// Files that a manifest or a configuration may name.
const FILES: [&str; 9] = [
    "task.schema.json",
    "order.schema.json",
    "input.schema.json",
    "sentiment.creds",
    "host.creds",
    "host.nk",
    "ca.pem",
    "host.pem",
    "host-key.pem",
];

fn folder(name: &str) -> (TempDir, std::path::PathBuf) {
    let temp = tempfile::tempdir().unwrap();
    let folder = temp.path().join(name);
    fs::create_dir(&folder).unwrap();
    for file in FILES {
        fs::write(folder.join(file), "{}").unwrap();
    }
    (temp, folder)
}

/// Reads a manifest that lies in a folder of the plugin's name, with its component beside it.
fn read_plugin(manifest: &str) -> Result<(), Findings> {
    // An excerpt needs no head.
    let whole = if manifest.contains("[plugin]") {
        manifest.to_owned()
    } else {
        format!("[plugin]\nname = \"excerpt\"\n{manifest}")
    };
    let name = whole
        .split("name = \"")
        .nth(1)
        .and_then(|rest| rest.split('"').next())
        .unwrap();
    let (_temp, folder) = folder(name);
    fs::write(folder.join("plugin.toml"), &whole).unwrap();
    fs::write(folder.join(format!("{name}.wasm")), "").unwrap();
    let candidate = Candidate::in_folder(&folder).unwrap().unwrap();
    load_plugin(&candidate, &PolicySpec::default()).map(|_| ())
}

fn read_host(config: &str) -> Result<(), Findings> {
    let (_temp, folder) = folder("host");
    let file = folder.join("mistersmith.toml");
    fs::write(&file, config).unwrap();
    load_host(Some(Path::new(&file)), &HostEnv::default()).map(|_| ())
}

#[test]
fn every_toml_block_is_free_of_mistakes() {
    let mut found = Vec::new();
    let mut read = 0;
    for page in pages() {
        for block in page.blocks() {
            let mut words = block.info.split_whitespace();
            let result = match (words.next(), words.next()) {
                (Some("toml"), Some("plugin")) => read_plugin(&block.text),
                (Some("toml"), Some("host")) => read_host(&block.text),
                (Some("toml"), _) => {
                    found.push(format!(
                        "{}:{}: say `toml plugin` or `toml host`",
                        page.name, block.line
                    ));
                    continue;
                }
                _ => continue,
            };
            read += 1;
            if let Err(findings) = result {
                found.push(format!("{}:{}: {findings}", page.name, block.line));
            }
        }
    }
    check(found);
    assert!(read >= 8, "only {read} blocks were read");
}

#[test]
fn a_mistake_in_a_block_is_seen() {
    assert!(read_plugin("[[work]]\ndomain = \"nlp\"\n").is_err());
    assert!(read_host("[host]\nnam = \"x\"\n").is_err());
}

/// The keys that the reader knows in a section: it lists them when it meets one that is like none.
fn known(findings: &Findings) -> BTreeSet<String> {
    let fix = findings
        .iter()
        .find_map(|finding| finding.fix.strip_prefix("known here: ").map(str::to_owned));
    let fix = fix.unwrap_or_else(|| panic!("no list of known keys in {findings:?}"));
    fix.split(", ").map(str::to_owned).collect()
}

fn said(page_name: &str, heading: &str) -> BTreeSet<String> {
    let rows = page(page_name).rows(heading);
    rows.iter().flat_map(|row| names(&row[0])).collect()
}

/// The table that follows a paragraph with these words; for sections with several tables.
fn said_after(page_name: &str, heading: &str, words: &str) -> BTreeSet<String> {
    let section = page(page_name).section(heading);
    let found = section
        .find(words)
        .unwrap_or_else(|| panic!("{page_name}: no {words:?}"));
    let after = &section[found..];
    let table = after
        .lines()
        .skip_while(|line| !line.starts_with('|'))
        .take_while(|line| line.starts_with('|'));
    table
        .skip(2)
        .flat_map(|row| names(row.trim_matches('|').split('|').next().unwrap()))
        .collect()
}

#[test]
fn the_manifest_reference_lists_every_key() {
    const PAGE: &str = "docs/reference/manifest.md";
    let head = "[plugin]\nname = \"excerpt\"\n";
    let odd = "qqqqqqqq = 1\n";
    let cases = [
        (format!("{head}{odd}"), said(PAGE, "`[plugin]`")),
        (
            format!("{head}[[work]]\ndomain = \"a\"\ntask = \"b\"\n{odd}"),
            said(PAGE, "`[[work]]`"),
        ),
        (
            format!("{head}[[pipeline]]\nstage = \"a\"\n{odd}"),
            said(PAGE, "`[[pipeline]]`"),
        ),
        (
            format!("{head}[[subscribe]]\nsubject = \"a\"\n{odd}"),
            said(PAGE, "`[[subscribe]]`"),
        ),
        (
            format!("{head}[execute]\nschema = \"task.schema.json\"\n{odd}"),
            said(PAGE, "`[execute]`"),
        ),
        (
            format!("{head}[permissions]\n{odd}"),
            said_after(PAGE, "`[permissions]`", "stand for the ids"),
        ),
        (
            format!(
                "{head}[permissions]\nkv = [{{ bucket = \"A\", keys = [\"a\"], qqqqqqqq = 1 }}]\n"
            ),
            said_after(PAGE, "`[permissions]`", "An entry of `kv`"),
        ),
        (format!("{head}[limits]\n{odd}"), said(PAGE, "`[limits]`")),
    ];
    for (manifest, said) in cases {
        assert_eq!(
            said,
            known(&read_plugin(&manifest).unwrap_err()),
            "{manifest}"
        );
    }
    let sections = page(PAGE).headings();
    let sections: BTreeSet<String> = sections
        .iter()
        .filter_map(|(_, text)| text.strip_prefix("`[")?.strip_suffix("]`"))
        .map(|name| name.trim_matches(['[', ']']).to_owned())
        .collect();
    assert_eq!(
        sections,
        known(&read_plugin(&format!("qqqqqqqq = 1\n{head}")).unwrap_err())
    );
}

#[test]
fn the_configuration_reference_lists_every_key() {
    const PAGE: &str = "docs/reference/config.md";
    let odd = "qqqqqqqq = 1\n";
    let nats: BTreeSet<String> = said_after(PAGE, "`[nats]`", "");
    let jetstream = said_after(PAGE, "`[jetstream]`", "");
    let first = |names: BTreeSet<String>| -> BTreeSet<String> {
        names
            .iter()
            .map(|name| name.split('.').next().unwrap().to_owned())
            .collect()
    };
    let cases = [
        (format!("[host]\n{odd}"), said(PAGE, "`[host]`")),
        (format!("[nats]\n{odd}"), nats),
        (
            format!("[nats.tls]\n{odd}"),
            said_after(PAGE, "`[nats]`", "all PEM files"),
        ),
        (format!("[jetstream]\n{odd}"), first(jetstream)),
        (
            format!("[jetstream.streams.DLQ]\n{odd}"),
            said_after(PAGE, "`[jetstream]`", "`[jetstream.streams.<NAME>]`"),
        ),
        (
            format!("[jetstream.buckets.X]\n{odd}"),
            said_after(PAGE, "`[jetstream]`", "`[jetstream.buckets.<NAME>]`"),
        ),
        (
            format!("[policy]\n{odd}"),
            said_after(PAGE, "`[policy]`", ""),
        ),
        (
            format!("[policy.limits]\n{odd}"),
            said_after(PAGE, "`[policy]`", "has the keys of"),
        ),
    ];
    for (config, said) in cases {
        assert_eq!(said, known(&read_host(&config).unwrap_err()), "{config}");
    }
}
