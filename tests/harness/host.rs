//! A host under test: the real program, in a folder of its own.

use std::path::{Path, PathBuf};
use std::process::{ChildStderr, ExitStatus, Stdio};
use std::time::Instant;

use serde_json::Value;
use tempfile::TempDir;

use super::cli::{self, Ran};
use super::logs::Logs;
use super::nats::{Cluster, Nats, nats_server};
use super::outside::Outside;
use super::plugin::Plugin;
use super::process::{Owned, is_alive, pause, program, signal};
use super::proxy::Proxy;
use super::wait::until;

/// The configuration of a host before it runs.
#[derive(Debug)]
pub struct Host {
    folder: TempDir,
    name: String,
    nats: String,
    lines: Vec<String>,
    raw: Vec<String>,
    plugins: Vec<Plugin>,
    variables: Vec<(&'static str, String)>,
    arguments: Vec<String>,
    shell: Option<&'static str>,
    outside: Option<Outside>,
}

impl Host {
    /// A host that connects to this server.
    pub fn new(nats: &Nats) -> Self {
        Self::on(&[nats.url()], Some((**nats).clone()))
    }

    /// A host that connects to this cluster.
    pub fn clustered(nats: &Cluster) -> Self {
        Self::on(&nats.urls(), Some((**nats).clone()))
    }

    /// A host without a configured server.
    pub fn alone() -> Self {
        // The host would search for a server program by itself.
        nats_server();
        let mut host = Self::on(&[], None);
        host.nats.clear();
        host
    }

    fn on(urls: &[String], outside: Option<Outside>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("plugins")).unwrap();
        share_compiled(&folder.path().join(".mistersmith"));
        Self {
            folder,
            name: "h1".to_owned(),
            nats: format!("servers = {urls:?}"),
            lines: vec![
                "heartbeat = \"1s\"".to_owned(),
                "grace = \"10s\"".to_owned(),
            ],
            raw: Vec::new(),
            plugins: Vec::new(),
            variables: Vec::new(),
            arguments: Vec::new(),
            shell: None,
            outside,
        }
    }

    pub fn named(mut self, name: &str) -> Self {
        self.name = name.to_owned();
        self
    }

    /// Adds a plugin with the component of that name.
    pub fn plugin(self, name: &str, describe: impl FnOnce(Plugin) -> Plugin) -> Self {
        self.with(describe(Plugin::new(name)))
    }

    /// Adds any plugin.
    pub fn with(mut self, plugin: Plugin) -> Self {
        self.plugins.push(plugin);
        self
    }

    /// Sets a line of `[host]`, in place of the one with the same key.
    pub fn line(mut self, line: &str) -> Self {
        let key = |line: &str| line.split('=').next().map(str::trim).map(str::to_owned);
        self.lines.retain(|old| key(old) != key(line));
        self.lines.push(line.to_owned());
        self
    }

    /// Sets the lines of `[nats]`.
    pub fn nats(mut self, lines: &str) -> Self {
        self.nats = lines.to_owned();
        self
    }

    /// Connects it through these proxies instead.
    pub fn through(self, proxies: &[&Proxy]) -> Self {
        let urls: Vec<String> = proxies.iter().map(|proxy| proxy.url()).collect();
        self.nats(&format!("servers = {urls:?}"))
    }

    /// Adds further text to `mistersmith.toml`.
    pub fn config(mut self, toml: &str) -> Self {
        self.raw.push(toml.to_owned());
        self
    }

    pub fn variable(mut self, name: &'static str, value: &str) -> Self {
        self.variables.push((name, value.to_owned()));
        self
    }

    /// Starts the program through this shell script, in which it is `"$@"`.
    pub fn shell(mut self, script: &'static str) -> Self {
        self.shell = Some(script);
        self
    }

    /// Adds a file to the host's folder.
    pub fn file(self, name: &str, content: impl AsRef<[u8]>) -> Self {
        std::fs::write(self.folder.path().join(name), content).unwrap();
        self
    }

    /// The host's folder, the working directory of its commands.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Writes the files without starting the program: for commands.
    pub fn written(self) -> Running {
        let mut config = format!(
            "[host]\nname = \"{}\"\n{}\n",
            self.name,
            self.lines.join("\n")
        );
        if !self.nats.is_empty() {
            config.push_str(&format!("\n[nats]\n{}\n", self.nats));
        }
        config.extend(self.raw.iter().map(|raw| format!("\n{raw}\n")));
        std::fs::write(self.folder.path().join("mistersmith.toml"), config).unwrap();
        for plugin in &self.plugins {
            plugin.write(&self.folder.path().join("plugins"));
        }
        Running {
            host: self,
            child: None,
            logs: Logs::default(),
        }
    }

    /// Starts the host, and waits until its agents are ready.
    pub async fn run(self) -> Running {
        let mut running = self.written();
        running.start();
        running.wait_ready().await;
        running
    }

    /// Starts the host without waiting.
    pub fn start(self) -> Running {
        let mut running = self.written();
        running.start();
        running
    }
}

/// A running host. Dropping it kills the process.
#[derive(Debug)]
pub struct Running {
    host: Host,
    child: Option<Owned>,
    pub logs: Logs,
}

impl Running {
    /// Starts the program, also again after it has ended.
    pub fn start(&mut self) {
        let errors = self.start_unread();
        self.logs = Logs::follow(errors);
    }

    /// Starts the program; its standard error is read by the test, or not at all.
    pub fn start_unread(&mut self) -> ChildStderr {
        let binary = crate::program("mistersmith");
        let mut command = match self.host.shell {
            None => program(binary),
            Some(script) => {
                let mut shell = program("/bin/sh");
                shell.args(["-c", script, "sh"]).arg(&binary);
                shell
            }
        };
        command
            .args(["run", "--log-format", "json"])
            .args(&self.host.arguments)
            .current_dir(self.folder())
            .env_remove("NATS_URL")
            .env_remove("NATS_CREDS")
            .env_remove("MISTERSMITH_LOG")
            .envs(
                self.host
                    .variables
                    .iter()
                    .map(|(name, value)| (name, value)),
            )
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let errors = child.stderr.take().unwrap();
        self.child = Some(Owned::new(child));
        errors
    }

    /// Waits until every agent of every awaited plugin is ready, and its subscriptions are there.
    pub async fn wait_ready(&mut self) {
        let plugins: Vec<(String, u32)> = self
            .host
            .plugins
            .iter()
            .filter(|plugin| plugin.awaited)
            .map(|plugin| (plugin.name.clone(), plugin.instances))
            .collect();
        for (plugin, instances) in plugins {
            self.wait_plugin(&plugin, instances).await;
        }
        self.wait_log(
            |line| line.message().contains("host ready"),
            "the host is ready",
        )
        .await;
    }

    /// Waits until a plugin is loaded and its agents on this host are ready.
    pub async fn wait_plugin(&mut self, plugin: &str, instances: u32) {
        let loaded = |line: &super::logs::Line| {
            line.message() == "plugin loaded" && line.field("plugin") == plugin
        };
        self.wait_log(loaded, &format!("{plugin} is loaded")).await;
        let Some(outside) = self.host.outside.clone() else {
            return;
        };
        let name = self.host.name.clone();
        outside.agents_ready(plugin, &name, instances).await;
    }

    async fn wait_log(&mut self, wanted: impl Fn(&super::logs::Line) -> bool, what: &str) {
        let logs = self.logs.clone();
        until(what, async || {
            let found = logs.all().into_iter().find(&wanted);
            if found.is_none()
                && let Some(status) = self.exited()
            {
                panic!(
                    "the host ended ({status}) before: {what}\n{}",
                    logs.tail(40)
                );
            }
            found
        })
        .await;
    }

    pub fn name(&self) -> &str {
        &self.host.name
    }

    pub fn folder(&self) -> &Path {
        self.host.folder()
    }

    pub fn data(&self) -> PathBuf {
        self.folder().join(".mistersmith")
    }

    pub fn plugins(&self) -> PathBuf {
        self.folder().join("plugins")
    }

    /// The host id in the data folder.
    pub fn host_id(&self) -> String {
        std::fs::read_to_string(self.data().join("host_id"))
            .unwrap()
            .trim()
            .to_owned()
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("the host runs").id()
    }

    /// Writes a plugin into the folder of the running host.
    pub fn drop_in(&self, plugin: &Plugin) {
        plugin.write(&self.plugins());
    }

    /// Removes a plugin from the folder.
    pub fn take_out(&self, plugin: &str) {
        std::fs::remove_dir_all(self.plugins().join(plugin)).unwrap();
    }

    pub fn exited(&mut self) -> Option<ExitStatus> {
        self.child.as_mut().expect("the host was started").exited()
    }

    /// Waits until the process has ended; returns the exit code.
    pub async fn ended(&mut self) -> Option<i32> {
        let child = self.child.as_mut().expect("the host was started");
        child.ended("the host").await.code()
    }

    /// Sends SIGTERM, which starts the drain.
    pub fn terminate(&self) {
        signal(self.pid(), "TERM");
    }

    /// Drains the host and waits; returns the exit code and the duration.
    pub async fn stop(&mut self) -> (Option<i32>, std::time::Duration) {
        let begun = Instant::now();
        self.terminate();
        let code = self.ended().await;
        (code, begun.elapsed())
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.child.as_mut().expect("the host was started").kill();
    }

    pub fn pause(&self) {
        pause(self.pid());
    }

    pub fn resume(&self) {
        signal(self.pid(), "CONT");
    }

    /// Runs another command in the same folder.
    pub async fn cli(&self, args: &[&str]) -> Ran {
        cli::run(self.folder(), &self.host.variables, args).await
    }

    /// Runs another command in the same folder, with `input` on its standard input.
    pub async fn cli_fed(&self, args: &[&str], input: &[u8]) -> Ran {
        cli::run_fed(self.folder(), &self.host.variables, args, input).await
    }

    /// The file in which the host's own server is described for other commands: URL, user,
    /// password, pid.
    pub fn own_server(&self) -> Option<Value> {
        let text = std::fs::read_to_string(self.data().join("nats.json")).ok()?;
        serde_json::from_str(&text).ok()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!(
                "--- log of host {} ---\n{}",
                self.host.name,
                self.logs.tail(60)
            );
        }
        self.child = None;
        // The host's own server ends with the host; a test of exactly that must not leave one
        // behind.
        if let Some(pid) = self.own_server().and_then(|server| server["pid"].as_u64()) {
            let pid = u32::try_from(pid).unwrap();
            let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            if is_alive(pid) && name.trim() == "nats-server" {
                signal(pid, "KILL");
            }
        }
    }
}

/// Shares the compilation cache among all hosts: otherwise each test would compile the same
/// components.
fn share_compiled(data: &Path) {
    let shared = crate::target().join("tmp").join("compiled");
    std::fs::create_dir_all(&shared).unwrap();
    std::fs::create_dir_all(data).unwrap();
    std::os::unix::fs::symlink(&shared, data.join("compiled")).unwrap();
}
