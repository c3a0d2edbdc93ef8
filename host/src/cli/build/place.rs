//! Placement of a compiled component beside its manifest.

use std::path::{Component, Path, PathBuf};

use anyhow::{Context, bail};

use crate::cli::draft;
use mistersmith_core::files;
use mistersmith_core::limits::{MAX_COMPONENT, MAX_MANIFEST};

/// A component beside its manifest.
#[derive(Debug)]
pub(crate) struct Placed {
    /// Its path.
    pub(crate) path: PathBuf,
    /// Its size in bytes.
    pub(crate) size: u64,
    /// Whether it differs from the component before.
    pub(crate) changed: bool,
}

/// Copies `artifact` into the plugin's `folder`, under the name in the manifest.
///
/// The copy is complete and on disk before it takes the name. An identical file is left alone,
/// because a host that watches the folder would reload the plugin needlessly.
pub(super) fn component(folder: &Path, plugin: &str, artifact: &Path) -> anyhow::Result<Placed> {
    let path = folder.join(file_name(folder, plugin)?);
    let data = files::read(artifact, MAX_COMPONENT);
    let data = data.with_context(|| format!("cannot read {}", artifact.display()))?;
    let size = data.len() as u64;
    let same_length = std::fs::metadata(&path).is_ok_and(|there| there.len() == size);
    let changed = !same_length || files::read(&path, size).ok().as_ref() != Some(&data);
    if changed {
        draft::write(&path, &data).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(Placed {
        path,
        size,
        changed,
    })
}

/// The file name of the component: `[plugin] component`, or `<name>.wasm`.
///
/// Reads only this one key. `check` reports other mistakes of a manifest; they do not prevent
/// compiling.
fn file_name(folder: &Path, plugin: &str) -> anyhow::Result<PathBuf> {
    let manifest = folder.join("plugin.toml");
    let default = PathBuf::from(format!("{plugin}.wasm"));
    let text = match files::read_text(&manifest, MAX_MANIFEST) {
        Ok(text) => text,
        Err(error) if error.is_absent() => return Ok(default),
        Err(error) => {
            return Err(error).with_context(|| format!("cannot read {}", manifest.display()));
        }
    };
    let table: toml::Table = text.parse().with_context(|| {
        format!(
            "cannot read {}; `mistersmith check` says more",
            manifest.display()
        )
    })?;
    let named = table
        .get("plugin")
        .and_then(|plugin| plugin.get("component"));
    let Some(named) = named.and_then(toml::Value::as_str) else {
        return Ok(default);
    };
    let path = PathBuf::from(named);
    // Otherwise a manifest could make this command write anywhere.
    let inside = path
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    if named.is_empty() || !inside {
        bail!(
            "plugin.component {named:?} in {} is not a file of the plugin's folder",
            manifest.display()
        );
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn plugin(manifest: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("plugin.toml"), manifest).unwrap();
        std::fs::write(folder.path().join("artifact"), "one").unwrap();
        folder
    }

    #[test]
    fn it_takes_the_name_that_the_manifest_gives() {
        for (manifest, name) in [
            ("[plugin]\nname = \"x\"", "x.wasm"),
            ("[plugin]\ncomponent = \"other.wasm\"", "other.wasm"),
        ] {
            let folder = plugin(manifest);
            let artifact = folder.path().join("artifact");
            let first = component(folder.path(), "x", &artifact).unwrap();
            assert_eq!(first.path, folder.path().join(name));
            assert!(first.changed && first.size == 3);
            assert!(!component(folder.path(), "x", &artifact).unwrap().changed);
            std::fs::write(&artifact, "two").unwrap();
            assert!(component(folder.path(), "x", &artifact).unwrap().changed);
            assert_eq!(std::fs::read_to_string(first.path).unwrap(), "two");
            assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 3);
        }
    }

    #[test]
    fn it_never_leaves_the_folder() {
        for name in ["../x.wasm", "/tmp/x.wasm", ""] {
            let folder = plugin(&format!("[plugin]\ncomponent = {name:?}"));
            let error = component(folder.path(), "x", &folder.path().join("artifact"));
            assert!(error.unwrap_err().to_string().contains("is not a file"));
        }
    }
}
