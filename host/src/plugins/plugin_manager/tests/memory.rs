//! The plugin manager's port in memory: a plugins folder and plugins.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot, watch};

use mistersmith_core::config::{Candidate, Finding};
use mistersmith_core::limits;
use mistersmith_core::names::PluginName;

use super::super::super::loading::Compiling;
use super::super::super::watch::Fingerprint;
use super::super::*;
use crate::testing::plugin_spec;

/// A plugin manager and its surroundings.
pub(super) struct Lab {
    pub(super) manager: PluginManager<MemoryPort>,
    pub(super) host: Arc<Host>,
    loads: mpsc::UnboundedReceiver<Load>,
    leaves: mpsc::UnboundedReceiver<Leave>,
}

pub(super) struct Host {
    /// The plugins in the folder, by the sizes of their files.
    folder: Mutex<Vec<(String, u64)>>,
    /// The problems of the folder.
    findings: Mutex<Findings>,
    /// The lock.
    pins: Mutex<Arc<Pins>>,
    /// The mistake in the manifests of all plugins.
    mistake: Mutex<Option<String>>,
    audits: Mutex<Vec<Value>>,
    /// Plugins that ended: the revision, and the reason.
    ended: Mutex<Vec<(String, StopReason)>>,
    /// A part of every running plugin has exited unexpectedly.
    broken: AtomicBool,
    /// How long a mend takes.
    mending: Mutex<Duration>,
    mended: AtomicUsize,
    /// Agents that a command has shut down.
    down: Mutex<BTreeSet<AgentId>>,
    claimed: Mutex<Vec<AgentId>>,
    given_up: Mutex<Vec<AgentId>>,
    loads: mpsc::UnboundedSender<Load>,
    leaves: mpsc::UnboundedSender<Leave>,
}

/// A revision that is being loaded.
pub(super) struct Load {
    pub(super) version: String,
    /// The revision that it replaces.
    pub(super) replaces: Option<String>,
    pub(super) down: BTreeSet<AgentId>,
    pub(super) tries: u32,
    pub(super) late: watch::Sender<bool>,
    done: oneshot::Sender<Result<(), Problem>>,
}

/// A removed plugin that is ending.
pub(super) struct Leave {
    /// The revision that ran.
    pub(super) version: Option<String>,
    done: oneshot::Sender<()>,
}

pub(super) struct MemoryPort(Arc<Host>);

pub(super) struct MemoryFolder(Arc<Host>);

pub(in super::super) struct MemoryPlugin {
    host: Arc<Host>,
    spec: Arc<PluginSpec>,
}

impl Load {
    pub(super) fn succeeds(self) {
        assert!(self.done.send(Ok(())).is_ok());
    }

    pub(super) fn fails(self, problem: Problem) {
        assert!(self.done.send(Err(problem)).is_ok());
    }

    /// Whether the load was interrupted.
    pub(super) fn was_interrupted(&self) -> bool {
        self.done.is_closed()
    }
}

impl Leave {
    pub(super) fn ends(self) {
        assert!(self.done.send(()).is_ok());
    }
}

/// Waits until all tasks that can make progress have done so.
pub(super) async fn settled() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

impl Lab {
    /// A folder with these plugins, not scanned yet.
    pub(super) fn of(plugins: &[(&str, u64)]) -> Self {
        let (loads_in, loads) = mpsc::unbounded_channel();
        let (leaves_in, leaves) = mpsc::unbounded_channel();
        let host = Arc::new(Host {
            folder: Mutex::default(),
            findings: Mutex::default(),
            pins: Mutex::new(Arc::new(Pins::Absent)),
            mistake: Mutex::default(),
            audits: Mutex::default(),
            ended: Mutex::default(),
            broken: AtomicBool::new(false),
            mending: Mutex::default(),
            mended: AtomicUsize::new(0),
            down: Mutex::default(),
            claimed: Mutex::default(),
            given_up: Mutex::default(),
            loads: loads_in,
            leaves: leaves_in,
        });
        let mut lab = Self {
            manager: PluginManager::over(MemoryPort(host.clone())),
            host,
            loads,
            leaves,
        };
        lab.holds(plugins);
        lab
    }

    /// A folder with one plugin, whose revision 1 runs.
    pub(super) async fn running() -> Self {
        let mut lab = Self::of(&[("echo", 1)]);
        lab.look().await;
        lab.load().succeeds();
        lab.look().await;
        assert_eq!(lab.manager.count(), [1, 0, 0]);
        lab
    }

    /// Replaces the plugins in the folder.
    pub(super) fn holds(&mut self, plugins: &[(&str, u64)]) {
        let plugins = plugins.iter();
        *self.host.folder.lock() = plugins.map(|(n, size)| ((*n).to_owned(), *size)).collect();
    }

    /// Runs one scan of the folder and everything that follows from it.
    pub(super) async fn look(&mut self) {
        settled().await;
        self.manager.scan().await;
        settled().await;
    }

    /// The revision that is being loaded.
    pub(super) fn load(&mut self) -> Load {
        self.loads.try_recv().expect("a version is loaded")
    }

    /// Asserts that no revision is being loaded.
    pub(super) fn no_load(&mut self) {
        if let Ok(load) = self.loads.try_recv() {
            panic!("version {} is loaded", load.version);
        }
    }

    /// Scans until a revision is being loaded; returns it and the time that took.
    pub(super) async fn until_load(&mut self) -> (Load, Duration) {
        let begun = Instant::now();
        while begun.elapsed() < 2 * limits::COMPILE_RETRY_MOST {
            self.look().await;
            if let Ok(load) = self.loads.try_recv() {
                return (load, begun.elapsed());
            }
        }
        panic!("no version is loaded");
    }

    /// The removed plugin that is ending.
    pub(super) fn leave(&mut self) -> Leave {
        self.leaves.try_recv().expect("a plugin ends")
    }

    pub(super) fn nothing_leaves(&mut self) {
        assert!(self.leaves.try_recv().is_err());
    }

    /// The changes recorded since the last call.
    pub(super) fn changes(&self) -> Vec<String> {
        let audits = std::mem::take(&mut *self.host.audits.lock());
        let change = |entry: &Value| entry["change"].as_str().unwrap().to_owned();
        audits.iter().map(change).collect()
    }

    /// The plugins that ended since the last call.
    pub(super) fn ended(&self) -> Vec<(String, StopReason)> {
        std::mem::take(&mut self.host.ended.lock())
    }
}

impl Host {
    pub(super) fn set_mistake(&self, mistake: Option<&str>) {
        *self.mistake.lock() = mistake.map(str::to_owned);
    }

    pub(super) fn set_pins(&self, pins: Pins) {
        *self.pins.lock() = Arc::new(pins);
    }

    pub(super) fn set_unreadable(&self, unreadable: bool) {
        let mut findings = Findings::default();
        if unreadable {
            findings.push(Finding {
                file: "plugins".into(),
                line: 0,
                key: String::new(),
                problem: "it cannot be read".to_owned(),
                fix: "mount it".to_owned(),
            });
        }
        *self.findings.lock() = findings;
    }

    pub(super) fn set_broken(&self) {
        self.broken.store(true, Ordering::Relaxed);
    }

    pub(super) fn set_mending(&self, takes: Duration) {
        *self.mending.lock() = takes;
    }

    pub(super) fn mended(&self) -> usize {
        self.mended.load(Ordering::Relaxed)
    }

    pub(super) fn set_down(&self, ids: &[&str]) {
        *self.down.lock() = ids.iter().map(|id| id.parse().unwrap()).collect();
    }

    pub(super) fn set_claimed(&self, ids: &[&str]) {
        *self.claimed.lock() = ids.iter().map(|id| id.parse().unwrap()).collect();
    }

    pub(super) fn given_up(&self) -> Vec<String> {
        let ids = std::mem::take(&mut *self.given_up.lock());
        ids.iter().map(ToString::to_string).collect()
    }
}

impl PluginPort for MemoryPort {
    type Running = MemoryPlugin;
    type Folder = MemoryFolder;

    fn folder(&self) -> MemoryFolder {
        MemoryFolder(self.0.clone())
    }

    fn path(&self) -> &Path {
        Path::new("plugins")
    }

    async fn read(&self, seen: &Seen, _: &[&PluginSpec]) -> Result<Read, Problem> {
        if let Some(mistake) = &*self.0.mistake.lock() {
            return Err(Problem::Files(mistake.clone()));
        }
        let folder = self.0.folder.lock();
        let (name, size) = folder.iter().find(|(name, _)| *name == seen.name).unwrap();
        let spec = plugin_spec(name, &size.to_string());
        Ok(Read::Spec(Box::new(spec)))
    }

    fn suggest(&self, _: Candidate) {}

    async fn bring_up(
        &self,
        wanted: Wanted,
        running: &mut Option<MemoryPlugin>,
        compiling: &Compiling,
    ) -> Result<Change, Problem> {
        let Wanted { spec, down, .. } = wanted;
        let (done, ended) = oneshot::channel();
        let load = Load {
            version: spec.version.clone(),
            replaces: running.as_ref().map(|r| r.spec.version.clone()),
            down,
            tries: compiling.tries,
            late: compiling.late.clone(),
            done,
        };
        let _ = self.0.loads.send(load);
        let gone = |_| Err(Problem::Passing("the test is over".to_owned()));
        ended.await.unwrap_or_else(gone)?;
        let host = self.0.clone();
        match running.replace(MemoryPlugin { host, spec }) {
            Some(_) => Ok(Change::Replaced),
            None => Ok(Change::Loaded),
        }
    }

    fn outlasts_drain(&self, _: &PluginSpec) -> Option<String> {
        None
    }

    fn audit(&self, entry: Value) {
        self.0.audits.lock().push(entry);
    }

    async fn claimed(&self) -> Option<Vec<AgentId>> {
        Some(self.0.claimed.lock().clone())
    }

    async fn give_up(&self, ids: Vec<AgentId>) {
        self.0.given_up.lock().extend(ids);
    }

    async fn leave(&self, _: &PluginName, running: Option<MemoryPlugin>) {
        let (done, over) = oneshot::channel();
        let version = running.map(|running| running.spec.version.clone());
        let _ = self.0.leaves.send(Leave { version, done });
        let _ = over.await;
    }
}

impl Folder for MemoryFolder {
    async fn next(&mut self) -> Looked {
        tokio::time::sleep(limits::SCAN).await;
        Looked {
            seen: self.0.folder.lock().iter().map(seen).collect(),
            findings: self.0.findings.lock().clone(),
            pins: self.0.pins.lock().clone(),
        }
    }
}

fn seen((name, size): &(String, u64)) -> Seen {
    Seen {
        name: name.clone(),
        candidate: Candidate {
            name: name.clone(),
            dir: "plugins".into(),
            manifest: None,
            components: Vec::new(),
            source: false,
            bare: false,
        },
        fingerprint: Fingerprint::of(*size),
    }
}

impl Running for MemoryPlugin {
    fn spec(&self) -> &Arc<PluginSpec> {
        &self.spec
    }

    fn agents(&self) -> usize {
        1
    }

    fn claims_id(&self, id: &AgentId) -> bool {
        id.as_str() == format!("{}-001", self.spec.name)
    }

    async fn shut_down(&self) -> BTreeSet<AgentId> {
        self.host.down.lock().clone()
    }

    async fn is_broken(&self) -> bool {
        self.host.broken.load(Ordering::Relaxed)
    }

    async fn mend(&mut self) -> Result<(), Problem> {
        let takes = *self.host.mending.lock();
        tokio::time::sleep(takes).await;
        self.host.broken.store(false, Ordering::Relaxed);
        self.host.mended.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    async fn stop(self, reason: StopReason, _: Duration) {
        let version = self.spec.version.clone();
        self.host.ended.lock().push((version, reason));
    }
}
