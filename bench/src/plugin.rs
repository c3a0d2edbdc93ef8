//! The plugins that a scenario runs: manifests written for it, around the component `bench`.

use std::fs;
use std::path::Path;

use anyhow::Context;

/// A plugin of a scenario.
#[derive(Debug, Clone)]
pub(super) struct Plugin {
    name: String,
    instances: u32,
    version: u32,
    tables: String,
}

impl Plugin {
    pub(super) fn new(name: impl Into<String>, instances: u32) -> Self {
        Self {
            name: name.into(),
            instances,
            version: 1,
            tables: String::new(),
        }
    }

    /// A subscription; with lines more, such as `queue = "x"`.
    pub(super) fn subscribe(mut self, subject: &str, lines: &str) -> Self {
        let table = format!("[[subscribe]]\nsubject = \"{subject}\"\n{lines}\n");
        self.tables.push_str(&table);
        self
    }

    /// Work of a domain.
    pub(super) fn work(mut self, domain: &str, task: &str) -> Self {
        let table = format!("[[work]]\ndomain = \"{domain}\"\ntask = \"{task}\"\n");
        self.tables.push_str(&table);
        self
    }

    /// The same, where the first attempt is the last.
    pub(super) fn work_once(mut self, domain: &str, task: &str) -> Self {
        self = self.work(domain, task);
        self.tables.push_str("max_deliver = 1\n");
        self
    }

    /// Every agent answers questions that are put to many.
    pub(super) fn scatter(mut self) -> Self {
        self.tables.push_str("[scatter]\n");
        self
    }

    /// A stage of pipelines.
    pub(super) fn stage(mut self, stage: &str, next: Option<&str>) -> Self {
        let next = next.map(|next| format!("\"{next}\"")).unwrap_or_default();
        let table = format!("[[pipeline]]\nstage = \"{stage}\"\nnext = [{next}]\n");
        self.tables.push_str(&table);
        self
    }

    /// Another version of it; the code of each is different, though it does the same.
    pub(super) fn version(mut self, version: u32) -> Self {
        self.version = version;
        self
    }

    pub(super) fn instances(&self) -> u32 {
        self.instances
    }

    fn manifest(&self) -> String {
        format!(
            "[plugin]\nname = \"{}\"\nversion = \"{}.0.0\"\ninstances = {}\n{}\
             [permissions]\npublish = [\"bench.out\"]\n\
             kv = [{{ bucket = \"BENCH\", keys = [\"value\"], access = \"read\" }}]\n\
             [limits]\nmemory = \"8MiB\"\n",
            self.name, self.version, self.instances, self.tables
        )
    }

    /// Writes it into a plugins folder. The component of each plugin and version differs in a
    /// section without meaning, so that none is taken for another that was compiled before.
    pub(super) fn write(&self, component: &[u8], plugins: &Path) -> anyhow::Result<()> {
        let folder = plugins.join(&self.name);
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let mark = format!("{}-{}", self.name, self.version);
        for (file, content) in [
            (format!("{}.wasm", self.name), marked(component, &mark)),
            ("plugin.toml".to_owned(), self.manifest().into_bytes()),
        ] {
            // By a rename: a host may be looking.
            let (draft, path) = (folder.join(".draft"), folder.join(file));
            fs::write(&draft, content)
                .and_then(|()| fs::rename(&draft, &path))
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(())
    }
}

/// The component with a custom section at its end: 0, the length of the rest, the length of the
/// name, the name. The mark is short enough for lengths of one byte.
fn marked(component: &[u8], mark: &str) -> Vec<u8> {
    let mark: &[u8] = mark.as_bytes();
    let mark = mark.get(..100).unwrap_or(mark);
    let length = u8::try_from(mark.len()).unwrap_or_default();
    [component, &[0, length + 1, length], mark].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_a_section_of_its_own() {
        assert_eq!(marked(b"wasm", "ab"), b"wasm\0\x03\x02ab");
        assert_ne!(marked(b"wasm", "a-1"), marked(b"wasm", "a-2"));
    }
}
