//! `mistersmith.lock`: the plugins that a host may run, by the digests of their files.
//!
//! It pins a component and its manifest together: a component is trusted with these grants, and
//! grants are given to this component.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use serde::Serialize;

use super::Findings;
use super::document::Document;
use super::item::Item;
use super::section::Section;
use crate::digest::Digest;
use crate::limits::Bounded;
use crate::names::PluginName;

/// The name of the file, which lies beside `mistersmith.toml`.
pub const LOCK_FILE: &str = "mistersmith.lock";

/// The form of the file.
const VERSION: Bounded<u32> = Bounded {
    default: 1,
    min: 1,
    max: 1,
};

/// The files of one plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Pin {
    /// The component.
    pub component: Digest,
    /// The manifest.
    pub manifest: Digest,
}

impl Pin {
    /// The files that differ, in the words of the lock.
    pub fn differences(&self, other: &Self) -> Vec<&'static str> {
        let files = [
            ("component", self.component != other.component),
            ("manifest", self.manifest != other.manifest),
        ];
        let different = files.into_iter().filter(|(_, differs)| *differs);
        different.map(|(file, _)| file).collect()
    }
}

/// The pinned plugins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lock {
    /// By name.
    pub plugins: BTreeMap<String, Pin>,
}

/// The lock's verdict on a plugin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "state")]
pub enum Pinned {
    /// Its files are those that are pinned.
    Same,
    /// These of its files are others, `component` or `manifest` or both.
    Differs {
        /// Their names in the lock.
        files: Vec<&'static str>,
    },
    /// It is not in the lock.
    NotPinned,
    /// It is in the lock, and not in the folder.
    Gone,
}

impl Lock {
    /// Reads the content of a lock file. Fails with every mistake at once: pins that cannot be read
    /// pin nothing.
    pub fn parse(file: &Path, bytes: Vec<u8>) -> Result<Self, Findings> {
        Document::new(file, bytes)?.walk(|root| {
            let version = root.need("version", "version = 1");
            let version = version.and_then(|item| item.integer(VERSION));
            let plugins = root.section("plugins").map(|section| plugins(&section));
            root.close();
            version?;
            Some(Self {
                plugins: plugins.unwrap_or_default(),
            })
        })
    }

    /// The file that says this.
    pub fn text(&self) -> String {
        let mut text = format!(
            "# Written by `mistersmith lock`: a host beside this file runs these plugins only.\n\
             version = {}\n",
            VERSION.default
        );
        for (
            name,
            Pin {
                component,
                manifest,
            },
        ) in &self.plugins
        {
            let _ = write!(
                text,
                "\n[plugins.{name}]\ncomponent = \"{component}\"\nmanifest = \"{manifest}\"\n"
            );
        }
        text
    }

    /// The lock's verdict on a plugin with these files.
    pub fn state(&self, plugin: &str, files: &Pin) -> Pinned {
        let Some(pinned) = self.plugins.get(plugin) else {
            return Pinned::NotPinned;
        };
        match pinned.differences(files) {
            same if same.is_empty() => Pinned::Same,
            files => Pinned::Differs { files },
        }
    }

    /// Why a plugin with these files is held, and the fix; nothing when it is what is pinned.
    pub fn holds(&self, plugin: &str, files: &Pin) -> Option<String> {
        let what = match self.state(plugin, files) {
            Pinned::Same => return None,
            Pinned::NotPinned | Pinned::Gone => format!("it is not pinned in {LOCK_FILE}"),
            Pinned::Differs { files } => {
                let (files, verb) = match files.as_slice() {
                    [one] => ((*one).to_owned(), "is not what"),
                    all => (all.join(" and "), "are not what"),
                };
                format!("its {files} {verb} {LOCK_FILE} pins")
            }
        };
        Some(format!(
            "{what}; if they are wanted, run: mistersmith lock {plugin}"
        ))
    }
}

fn plugins(section: &Section<'_>) -> BTreeMap<String, Pin> {
    let entries = section.entries().into_iter();
    let pins = entries.filter_map(|(name, item)| {
        if let Err(error) = PluginName::check(name) {
            item.note(error.to_string(), "delete it");
            return None;
        }
        Some((name.to_owned(), pin(&item)?))
    });
    pins.collect()
}

fn pin(item: &Item<'_>) -> Option<Pin> {
    let section = Section::of(item, "run: mistersmith lock")?;
    let example = "\"sha256:<64 digits>\"";
    let read = |key| {
        let item = section.need(key, &format!("{key} = {example}, by: mistersmith lock"))?;
        let digest = item.text(example)?.parse().ok();
        if digest.is_none() {
            item.note(
                format!("{} is not a SHA-256 digest", item.shown()),
                "run: mistersmith lock",
            );
        }
        digest
    };
    let (component, manifest) = (read("component"), read("manifest"));
    section.close();
    Some(Pin {
        component: component?,
        manifest: manifest?,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn pin(component: &str, manifest: &str) -> Pin {
        Pin {
            component: Digest::of(component.as_bytes()),
            manifest: Digest::of(manifest.as_bytes()),
        }
    }

    fn parse(text: &str) -> Result<Lock, Findings> {
        Lock::parse(Path::new(LOCK_FILE), text.as_bytes().to_vec())
    }

    #[test]
    fn what_is_written_is_read() {
        let plugins = [("echo", pin("a", "b")), ("word-count", pin("c", "d"))];
        let plugins = plugins.map(|(name, pin)| (name.to_owned(), pin));
        let lock = Lock {
            plugins: plugins.into(),
        };
        assert_eq!(parse(&lock.text()).unwrap(), lock);
        assert_eq!(parse(&Lock::default().text()).unwrap(), Lock::default());
        mistersmith_testing::golden("config/golden/lock.toml", &lock.text());
    }

    #[test]
    fn a_plugin_is_held_unless_both_files_are_the_pinned_ones() {
        let lock = Lock {
            plugins: [("echo".to_owned(), pin("a", "b"))].into(),
        };
        let held = |plugin: &str, files| lock.holds(plugin, &files).unwrap_or_default();
        for (plugin, files, text) in [
            ("echo", pin("a", "b"), ""),
            (
                "echo",
                pin("x", "b"),
                "its component is not what mistersmith.lock pins",
            ),
            (
                "echo",
                pin("a", "x"),
                "its manifest is not what mistersmith.lock pins",
            ),
            (
                "echo",
                pin("b", "a"),
                "its component and manifest are not what mistersmith.lock pins",
            ),
            (
                "other",
                pin("a", "b"),
                "it is not pinned in mistersmith.lock",
            ),
        ] {
            let held = held(plugin, files);
            assert_eq!(held.split(';').next(), Some(text));
            let fix = format!("run: mistersmith lock {plugin}");
            assert_eq!(held.is_empty(), !held.ends_with(&fix), "{held}");
        }
    }

    #[test]
    fn what_cannot_be_read_pins_nothing() {
        let good = Lock {
            plugins: [("echo".to_owned(), pin("a", "b"))].into(),
        };
        let good = good.text();
        for (text, said) in [
            (String::new(), "version: it is missing"),
            (good.replace("version = 1", "version = 2"), "2 is too much"),
            (good.replace("sha256:", "sha1:"), "is not a SHA-256 digest"),
            (good.replace("manifest", "manifesto"), "did you mean"),
            (good.replace("plugins.echo", "plugins.Echo"), "\"Echo\""),
            (
                good.replace("component = ", "component "),
                "mistersmith.lock:5",
            ),
            (format!("{good}{good}"), "duplicate"),
            (format!("{good}more = 1\n"), "more: this key is not known"),
        ] {
            let findings = parse(&text).unwrap_err().to_string();
            assert!(findings.contains(said), "{said:?} is not in: {findings}");
        }
    }
}
