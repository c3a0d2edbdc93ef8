//! The workspace membership of a new plugin: its own cargo workspace or an existing one.
//!
//! Cargo refuses both a package inside a workspace that does not list it, and a workspace nested in
//! a workspace that does.

use std::path::Path;

use mistersmith_core::files::read_text;
use mistersmith_core::limits::MAX_MANIFEST;
use mistersmith_core::names::PluginName;

/// Makes a plugin's Cargo.toml stand alone: independent of the workspaces around it, with a profile
/// for a small component that ends when it panics.
const OWN: &str = "
[workspace]

[profile.release]
lto = true
codegen-units = 1
panic = \"abort\"
strip = true
";

/// The end of the Cargo.toml of a plugin in `plugins` (absolute, without links).
pub(super) fn section(plugins: &Path, name: &PluginName) -> String {
    let plugin = plugins.join(name.as_str());
    let member = plugins.ancestors().any(|folder| lists(folder, &plugin));
    if member {
        String::new()
    } else {
        OWN.to_string()
    }
}

/// Whether `folder` is a workspace that already has `plugin` as a member.
fn lists(folder: &Path, plugin: &Path) -> bool {
    let Ok(text) = read_text(&folder.join("Cargo.toml"), MAX_MANIFEST) else {
        return false;
    };
    let (Ok(table), Ok(path)) = (text.parse::<toml::Table>(), plugin.strip_prefix(folder)) else {
        return false;
    };
    let listed = |key| {
        let list = table.get("workspace")?.get(key)?.as_array()?;
        let mut patterns = list.iter().filter_map(toml::Value::as_str);
        Some(patterns.any(|pattern| matches(pattern, path)))
    };
    listed("members").unwrap_or(false) && !listed("exclude").unwrap_or(false)
}

/// Whether `pattern` matches `path`, for the common subset of cargo's patterns: `*` for one folder.
fn matches(pattern: &str, path: &Path) -> bool {
    let parts: Vec<_> = path.iter().collect();
    let wanted: Vec<&str> = pattern.split('/').filter(|part| *part != ".").collect();
    parts.len() == wanted.len()
        && parts
            .iter()
            .zip(wanted)
            .all(|(part, wanted)| wanted == "*" || *part == wanted)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_plugin_is_alone_unless_it_is_listed() {
        let cases = [
            ("", "", true),
            ("", "[workspace]\nmembers = [\"*\"]", false),
            ("", "[workspace]\nmembers = [\"echo\"]", true),
            ("[workspace]\nmembers = [\"plugins/*\"]", "", false),
            (
                "[workspace]\nmembers = [\"host\"]\nexclude = [\"plugins\"]",
                "",
                true,
            ),
            (
                "[workspace]\nmembers = [\"plugins/*\"]\nexclude = [\"plugins/new\"]",
                "",
                true,
            ),
            ("not toml", "", true),
        ];
        for (above, here, alone) in cases {
            let root = tempfile::tempdir().unwrap();
            let plugins = root.path().join("plugins");
            std::fs::create_dir(&plugins).unwrap();
            std::fs::write(root.path().join("Cargo.toml"), above).unwrap();
            if !here.is_empty() {
                std::fs::write(plugins.join("Cargo.toml"), here).unwrap();
            }
            let section = section(&plugins, &"new".parse().unwrap());
            assert_eq!(section.contains("[workspace]"), alone, "{above:?} {here:?}");
        }
    }
}
