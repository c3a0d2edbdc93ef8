//! Runs cargo and parses its output.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::Command;

use crate::cli::output;
use crate::cli::usage::usage;

/// The compilation target of plugins.
const TARGET: &str = "wasm32-wasip2";

/// Interval at which the progress bar moves without news, so that it does not look stuck.
const TICK: Duration = Duration::from_millis(120);

/// The cargo of this machine.
pub(super) struct Cargo {
    /// The target folder of all plugins, shared so that their dependencies are compiled once.
    target: PathBuf,
    quiet: bool,
}

/// One plugin in the metadata of cargo.
#[derive(Debug)]
pub(super) struct Package {
    /// Its folder.
    pub(super) folder: PathBuf,
    /// Its Cargo.toml.
    pub(super) manifest: PathBuf,
    /// The root of its workspace: often its own folder.
    pub(super) workspace: PathBuf,
    /// Its name for `cargo build -p`.
    id: String,
}

/// The output of one cargo build.
#[derive(Debug, Default)]
pub(super) struct Built {
    /// The component of each Cargo.toml.
    pub(super) components: BTreeMap<PathBuf, PathBuf>,
    /// Each Cargo.toml of which a library was compiled, component or not.
    pub(super) libraries: BTreeSet<PathBuf>,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<MetadataPackage>,
    workspace_root: PathBuf,
}

#[derive(Deserialize)]
struct MetadataPackage {
    id: String,
    manifest_path: PathBuf,
}

/// One line of `cargo build --message-format=json`.
#[derive(Deserialize)]
#[serde(tag = "reason", rename_all = "kebab-case")]
enum Message {
    CompilerArtifact {
        manifest_path: PathBuf,
        filenames: Vec<PathBuf>,
    },
    #[serde(other)]
    Other,
}

impl Cargo {
    /// Checks that this machine can compile plugins, before anything is compiled.
    #[expect(clippy::disallowed_methods, reason = "the variable is one of cargo")]
    pub(super) async fn find(plugins: &Path, quiet: bool) -> anyhow::Result<Cargo> {
        let libraries = Command::new("rustc")
            .args(["--print", "target-libdir", "--target", TARGET])
            .current_dir(plugins)
            .kill_on_drop(true)
            .output()
            .await
            .map_err(|error| {
                usage(format!(
                    "cannot run rustc: {error}; install Rust from https://rustup.rs"
                ))
            })?;
        let folder = String::from_utf8_lossy(&libraries.stdout);
        if !libraries.status.success() || !Path::new(folder.trim()).is_dir() {
            return Err(usage(format!(
                "the {TARGET} target is not installed; run: rustup target add {TARGET}"
            )));
        }
        let target = match std::env::var_os("CARGO_TARGET_DIR") {
            Some(target) if !target.is_empty() => PathBuf::from(target),
            _ => plugins.join("target"),
        };
        let target = std::path::absolute(&target)
            .with_context(|| format!("cannot use the target folder {}", target.display()))?;
        Ok(Cargo { target, quiet })
    }

    /// Reads the metadata of the package in `folder`.
    pub(super) async fn package(&self, folder: &Path) -> anyhow::Result<Package> {
        let manifest = folder.join("Cargo.toml");
        let answer = Command::new("cargo")
            .args(["metadata", "--no-deps", "--format-version", "1"])
            .arg("--manifest-path")
            .arg(&manifest)
            .current_dir(folder)
            .kill_on_drop(true)
            .output()
            .await
            .context("cannot run cargo")?;
        if !answer.status.success() {
            let said = String::from_utf8_lossy(&answer.stderr);
            bail!("{}", said.trim().trim_start_matches("error: "));
        }
        let metadata: Metadata =
            serde_json::from_slice(&answer.stdout).context("cannot read what cargo says")?;
        // Cargo resolves symbolic links in some of its paths and not in others.
        let here = manifest
            .canonicalize()
            .with_context(|| format!("cannot read {}", manifest.display()))?;
        let package = metadata
            .packages
            .into_iter()
            .find(|package| package.manifest_path.canonicalize().ok().as_ref() == Some(&here));
        let Some(package) = package else {
            bail!("{} describes no package", manifest.display());
        };
        Ok(Package {
            folder: folder.to_path_buf(),
            manifest: package.manifest_path,
            workspace: metadata.workspace_root,
            id: package.id,
        })
    }

    /// Compiles packages of the workspace at `root`. Compiler output goes to standard error. A
    /// failed package does not prevent compiling the others.
    pub(super) async fn build(
        &self,
        root: &Path,
        packages: impl Iterator<Item = &Package>,
        progress: &Progress,
    ) -> anyhow::Result<Built> {
        let mut command = Command::new("cargo");
        command
            .args(["build", "--release", "--keep-going", "--lib"])
            .args(["--target", TARGET])
            .args(["--message-format", "json-render-diagnostics"])
            .arg("--target-dir")
            .arg(&self.target)
            .current_dir(root)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        if self.quiet {
            command.arg("--quiet");
        }
        for package in packages {
            command.args(["--package", &package.id]);
        }
        if progress.bar.is_some() {
            // Cargo sees a pipe, and would print without colour.
            command.args(["--color", "always"]).stderr(Stdio::piped());
        }
        let mut child = command.spawn().context("cannot run cargo")?;
        let (messages, said) = (child.stdout.take(), child.stderr.take());
        let (built, shown) = tokio::join!(artifacts(messages, progress), progress.show(said));
        shown?;
        // Its exit code says nothing more than the artifacts do.
        child.wait().await.context("cannot wait for cargo")?;
        built
    }
}

/// Collects the components from cargo's messages.
async fn artifacts(
    messages: Option<impl AsyncRead + Unpin>,
    progress: &Progress,
) -> anyhow::Result<Built> {
    let mut built = Built::default();
    let Some(messages) = messages else {
        return Ok(built);
    };
    let mut lines = BufReader::new(messages).lines();
    while let Some(line) = lines
        .next_line()
        .await
        .context("cannot read cargo's messages")?
    {
        // A build script or a macro may print anything between the messages.
        let Ok(Message::CompilerArtifact {
            manifest_path,
            filenames,
        }) = serde_json::from_str(&line)
        else {
            continue;
        };
        let component = filenames.into_iter().find(|file| {
            file.extension()
                .is_some_and(|extension| extension == "wasm")
        });
        if let Some(component) = component {
            progress.advance();
            built.components.insert(manifest_path.clone(), component);
        }
        built.libraries.insert(manifest_path);
    }
    Ok(built)
}

/// A progress bar on a terminal, otherwise nothing.
pub(super) struct Progress {
    bar: Option<ProgressBar>,
}

impl Progress {
    /// A bar over `plugins` plugins, drawn on standard error if that is a terminal.
    pub(super) fn new(plugins: usize) -> Progress {
        let bar = output::is_watched().then(|| {
            let bar = ProgressBar::new(plugins as u64);
            if let Ok(style) = ProgressStyle::with_template(
                "{spinner} building [{bar:20}] {pos}/{len} {elapsed} {wide_msg}",
            ) {
                bar.set_style(style.progress_chars("=> "));
            }
            bar.enable_steady_tick(TICK);
            bar
        });
        Progress { bar }
    }

    fn advance(&self) {
        if let Some(bar) = &self.bar {
            bar.inc(1);
        }
    }

    /// Shows cargo's output: its current step in the bar, the rest above it.
    async fn show(&self, said: Option<impl AsyncRead + Unpin>) -> anyhow::Result<()> {
        let (Some(bar), Some(said)) = (&self.bar, said) else {
            return Ok(());
        };
        let mut lines = BufReader::new(said).lines();
        while let Some(line) = lines.next_line().await.context("cannot read from cargo")? {
            match doing(&line) {
                Some(step) => bar.set_message(step),
                None => bar.suspend(|| output::remark(&line)),
            }
        }
        Ok(())
    }

    pub(super) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// The current step of cargo, if `line` is a status line.
fn doing(line: &str) -> Option<String> {
    const STEPS: [&str; 9] = [
        "Compiling",
        "Finished",
        "Blocking",
        "Updating",
        "Downloading",
        "Downloaded",
        "Locking",
        "Adding",
        "Fresh",
    ];
    let mut plain = String::new();
    let mut escape = false;
    for character in line.chars() {
        match character {
            '\x1b' => escape = true,
            _ if escape => escape = !character.is_ascii_alphabetic(),
            _ => plain.push(character),
        }
    }
    let step = plain.trim();
    let verb = step.split(' ').next()?;
    (STEPS.contains(&verb) && plain.starts_with(' ')).then(|| step.to_string())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn steps_are_told_from_diagnostics() {
        assert_eq!(
            doing("\x1b[1m\x1b[92m   Compiling\x1b[0m serde v1.0.2"),
            Some("Compiling serde v1.0.2".to_string())
        );
        assert_eq!(
            doing("    Finished `release`"),
            Some("Finished `release`".into())
        );
        assert_eq!(doing("error[E0425]: cannot find value"), None);
        assert_eq!(doing("Compiling is what it says"), None);
        assert_eq!(doing(""), None);
    }

    #[tokio::test]
    async fn components_are_found_between_other_output() {
        let said = concat!(
            "a build script talks\n",
            r#"{"reason":"compiler-artifact","manifest_path":"/d/Cargo.toml","filenames":["/t/libd.rlib"]}"#,
            "\n",
            r#"{"reason":"compiler-artifact","manifest_path":"/x/Cargo.toml","filenames":["/t/x.wasm"]}"#,
            "\n",
            r#"{"reason":"build-finished","success":true}"#,
            "\n",
        );
        let built = artifacts(Some(said.as_bytes()), &Progress { bar: None })
            .await
            .unwrap();
        assert_eq!(
            built.components,
            BTreeMap::from([("/x/Cargo.toml".into(), "/t/x.wasm".into())])
        );
        assert_eq!(built.libraries.len(), 2);
    }
}
