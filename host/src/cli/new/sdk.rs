//! The SDK dependency of a new plugin.

use std::path::{Path, PathBuf};

use anyhow::Context;

use mistersmith_core::files::read_text;
use mistersmith_core::limits::{MAX_MANIFEST, MAX_SMALL_FILE};

/// The sources of the SDK at the compilation of this program: path and text.
const FILES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/sdk.rs"));

/// The package's name, which identifies a checkout.
const NAME_LINE: &str = "name = \"mistersmith-sdk\"";

/// The dependency of a plugin in the folder `plugins` (absolute, without links) on the SDK, as
/// TOML: the SDK of the checkout around the folder, else a copy beside the plugins.
pub(super) fn dependency(plugins: &Path) -> anyhow::Result<String> {
    let path = match in_checkout(plugins) {
        Some(path) => path,
        None => unpack(plugins)?,
    };
    Ok(format!("{{ path = {:?} }}", path.display().to_string()))
}

/// The path from a plugin's folder to the SDK of the checkout around it.
fn in_checkout(plugins: &Path) -> Option<PathBuf> {
    let mut up = PathBuf::from("..");
    for folder in plugins.ancestors() {
        let manifest = folder.join("guest-sdk/Cargo.toml");
        let ours = read_text(&manifest, MAX_MANIFEST).is_ok_and(|text| text.contains(NAME_LINE));
        if ours {
            return Some(up.join("guest-sdk"));
        }
        up.push("..");
    }
    None
}

/// Writes the embedded SDK below the plugins folder; returns the path from a plugin's folder.
///
/// The folder is hidden, so that it is not taken for a plugin, and has the version in its name, so
/// that a newer program does not change the SDK of older plugins.
fn unpack(plugins: &Path) -> anyhow::Result<PathBuf> {
    let inside = Path::new(".sdk").join(format!("mistersmith-sdk-{}", version()));
    let folder = plugins.join(&inside);
    for (path, text) in FILES {
        let path = folder.join(path);
        write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(Path::new("..").join(inside))
}

/// Writes a file unless it has this text already: cargo would compile it again.
fn write(path: &Path, text: &str) -> std::io::Result<()> {
    if read_text(path, MAX_SMALL_FILE).is_ok_and(|there| there == text) {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    std::fs::write(path, text)
}

/// The version in the embedded Cargo.toml.
fn version() -> &'static str {
    let manifest = FILES.iter().find(|(path, _)| *path == "Cargo.toml");
    let lines = manifest.map(|(_, text)| text.lines()).into_iter().flatten();
    lines
        .filter_map(|line| line.strip_prefix("version = \"")?.strip_suffix('"'))
        .next()
        .unwrap_or(env!("CARGO_PKG_VERSION"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_embedded_sdk_is_whole() {
        for path in ["Cargo.toml", "src/lib.rs", "wit/world.wit"] {
            assert!(FILES.iter().any(|(name, _)| *name == path), "{path}");
        }
        let (_, manifest) = FILES
            .iter()
            .find(|(path, _)| *path == "Cargo.toml")
            .unwrap();
        assert!(manifest.contains(NAME_LINE));
        assert!(
            !manifest.contains("workspace = true"),
            "it must stand alone"
        );
        assert!(manifest.contains(&format!("version = \"{}\"", version())));
    }

    #[test]
    fn a_checkout_is_found_from_below() {
        let root = tempfile::tempdir().unwrap();
        let plugins = root.path().join("a/plugins");
        std::fs::create_dir_all(&plugins).unwrap();
        assert_eq!(in_checkout(&plugins), None);
        let sdk = root.path().join("guest-sdk");
        std::fs::create_dir(&sdk).unwrap();
        std::fs::write(sdk.join("Cargo.toml"), NAME_LINE).unwrap();
        let path = in_checkout(&plugins).unwrap();
        assert_eq!(path, Path::new("../../../guest-sdk"));
        std::fs::create_dir(plugins.join("x")).unwrap();
        assert!(plugins.join("x").join(path).join("Cargo.toml").exists());
    }

    #[test]
    fn without_a_checkout_it_is_unpacked_once() {
        let plugins = tempfile::tempdir().unwrap();
        let dependency = || dependency(plugins.path()).unwrap();
        let first = dependency();
        assert!(first.starts_with("{ path = \"../.sdk/mistersmith-sdk-"));
        let folder = plugins
            .path()
            .join(unpack(plugins.path()).unwrap().strip_prefix("..").unwrap());
        let changed = |path: &str| folder.join(path).metadata().unwrap().modified().unwrap();
        let before = changed("src/lib.rs");
        std::fs::write(folder.join("Cargo.toml"), "damaged").unwrap();
        assert_eq!(dependency(), first);
        assert_eq!(changed("src/lib.rs"), before);
        let manifest = std::fs::read_to_string(folder.join("Cargo.toml")).unwrap();
        assert!(manifest.contains(NAME_LINE));
    }
}
