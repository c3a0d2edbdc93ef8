//! The lab of a scenario: its own nats-server, folders, hosts and native handler.
//!
//! Dropping the lab, or what it started, ends them; so does the end of this process, by guards and
//! closed pipes. A process that survived would take part in the next measurement.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use async_nats::{Client, Subscriber};
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, Command};

use super::client::options;
use super::cluster::Servers;
use super::host_process::HostProcess;
use super::native::{Job, Order};
use super::plugin::Plugin;
use super::{Bench, Settings, client, process};
use mistersmith_nats::server::ServerConnection;

/// How long the first answer may take.
const ANSWER_WAIT: Duration = Duration::from_secs(30);

/// A server and a folder for one scenario.
pub(super) struct Lab {
    folder: PathBuf,
    host: PathBuf,
    native: PathBuf,
    component: Vec<u8>,
    server: Servers,
    /// A connection for what the scenario itself sends.
    pub(super) client: Client,
}

impl Lab {
    pub(super) async fn open(bench: &Bench<'_>, scenario: &str) -> anyhow::Result<Self> {
        Self::start(bench, scenario, None).await
    }

    /// On so many servers of this program.
    pub(super) async fn open_on(
        bench: &Bench<'_>,
        scenario: &str,
        server: &Path,
        size: usize,
    ) -> anyhow::Result<Self> {
        let lab = Self::start(bench, scenario, Some((server, size))).await?;
        lab.stores(size).await?;
        Ok(lab)
    }

    async fn start(
        bench: &Bench<'_>,
        scenario: &str,
        chosen: Option<(&Path, usize)>,
    ) -> anyhow::Result<Self> {
        bench.report("starting a nats-server");
        let Settings {
            folder,
            host,
            native,
            component,
            servers,
            ..
        } = bench.settings;
        let folder = folder.join(scenario);
        let data = folder.join("nats");
        fs::create_dir_all(&data).with_context(|| format!("cannot make {}", data.display()))?;
        let bytes = fs::read(component)
            .with_context(|| format!("cannot read the component {}", component.display()))?;
        let server = match chosen {
            Some((server, size)) => Servers::chosen(server, &data, size).await?,
            None => Servers::own(&data, servers).await?,
        };
        Ok(Self {
            client: connect(server.connection()).await?,
            folder,
            host: host.clone(),
            native: native.clone(),
            component: bytes,
            server,
        })
    }

    /// Waits until the servers store what is to be stored on each of so many.
    async fn stores(&self, replicas: usize) -> anyhow::Result<()> {
        let probe = json!({"name": "PROBE", "subjects": ["probe"], "num_replicas": replicas});
        let begun = Instant::now();
        while let Err(error) = self.make_stream(probe.clone()).await {
            if begun.elapsed() > ANSWER_WAIT {
                return Err(error.context("the servers store nothing"));
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let delete = self
            .client
            .request("$JS.API.STREAM.DELETE.PROBE", "".into());
        delete.await?;
        Ok(())
    }

    pub(super) fn connection(&self) -> &ServerConnection {
        self.server.connection()
    }

    pub(super) fn component(&self) -> &[u8] {
        &self.component
    }

    /// A further connection.
    pub(super) async fn connect(&self) -> anyhow::Result<Client> {
        connect(self.connection()).await
    }

    /// The plugins folder of a host.
    pub(super) fn plugins(&self, host: &str) -> PathBuf {
        self.folder.join(host).join("plugins")
    }

    /// Starts a host with these plugins, in its folder of an earlier start if it has had one, and
    /// waits until all of its agents are ready.
    pub(super) async fn host(&self, name: &str, plugins: &[Plugin]) -> anyhow::Result<HostProcess> {
        let agents: u32 = plugins.iter().map(Plugin::instances).sum();
        let mut events = self.ready_events().await?;
        let begun = Instant::now();
        let mut host = self.launch(name, plugins)?;
        host.ready(&mut events, agents as usize, begun).await?;
        Ok(host)
    }

    /// The subscription to the events of agents that become ready.
    pub(super) async fn ready_events(&self) -> anyhow::Result<Subscriber> {
        let events = self.client.subscribe("agent.*.ready").await?;
        client::settle(&self.client).await?;
        Ok(events)
    }

    /// Starts a host with these plugins, and waits for nothing.
    pub(super) fn launch(&self, name: &str, plugins: &[Plugin]) -> anyhow::Result<HostProcess> {
        let folder = self.folder.join(name);
        let place = self.plugins(name);
        // What an earlier start had, and this one has not.
        let _ = fs::remove_dir_all(&place);
        fs::create_dir_all(&place)?;
        for plugin in plugins {
            plugin.write(&self.component, &place)?;
        }
        let log = folder.join("log");
        let errors = File::create(&log)?;
        let child = self.spawn_host(&folder, &place, errors)?;
        HostProcess::of(child, &folder, log)
    }

    fn spawn_host(&self, folder: &Path, plugins: &Path, errors: File) -> anyhow::Result<Child> {
        let ServerConnection {
            url,
            user,
            password,
            ..
        } = self.connection();
        let url = url.trim_start_matches("nats://");
        Command::new(&self.host)
            .args(["run", "-q", "--log-format", "text", "--data"])
            .arg(folder.join("data"))
            .arg("--plugins")
            .arg(plugins)
            .current_dir(folder)
            .env("NATS_URL", format!("nats://{user}:{password}@{url}"))
            .env_remove("NATS_CREDS")
            .env_remove("MISTERSMITH_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(errors)
            .kill_on_drop(true)
            .spawn()
            .context("cannot start a host")
    }

    /// Starts a native handler for these jobs, and waits until it listens.
    pub(super) async fn native(&self, jobs: Vec<Job>) -> anyhow::Result<NativeProcess> {
        let mut child = Command::new(&self.native)
            .arg("--native")
            .current_dir(&self.folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .spawn()
            .context("cannot start the native handler")?;
        let (Some(mut orders), Some(says)) = (child.stdin.take(), child.stdout.take()) else {
            bail!("the native handler has no pipes");
        };
        let order = Order {
            connection: self.connection().clone(),
            jobs,
        };
        let line = format!("{}\n", serde_json::to_string(&order)?);
        orders.write_all(line.as_bytes()).await?;
        let mut lines = BufReader::new(says).lines();
        let said = tokio::time::timeout(ANSWER_WAIT, lines.next_line()).await;
        if said.context("the native handler says nothing")??.as_deref()
            != Some(super::native::READY)
        {
            bail!("the native handler has ended");
        }
        Ok(NativeProcess {
            pid: child.id().unwrap_or_default(),
            _child: child,
            _orders: orders,
        })
    }

    /// Makes a stream; by hand, because the client library's own way fails on servers before 2.10.
    pub(super) async fn make_stream(&self, config: serde_json::Value) -> anyhow::Result<()> {
        let name = config.get("name").and_then(|name| name.as_str());
        let subject = format!("$JS.API.STREAM.CREATE.{}", name.unwrap_or_default());
        let asked = self.client.request(subject, config.to_string().into());
        let made = asked.await?;
        let said = String::from_utf8_lossy(&made.payload);
        anyhow::ensure!(
            !said.contains("\"error\""),
            "a stream cannot be made: {said}"
        );
        Ok(())
    }

    /// Makes a stream for the subjects of the native handler, as the host makes one for its own.
    pub(super) async fn store_native(&self) -> anyhow::Result<()> {
        self.make_stream(json!({
            "name": "NATIVE", "subjects": ["native.>"], "storage": "file", "num_replicas": 1,
            "retention": "limits", "discard": "old", "max_consumers": -1, "max_msgs": -1,
            "max_bytes": -1, "max_age": 0, "max_msgs_per_subject": -1,
        }))
        .await
    }

    /// Waits until a request on a subject is answered.
    pub(super) async fn answers(&self, subject: &str) -> anyhow::Result<()> {
        let begun = Instant::now();
        while begun.elapsed() < ANSWER_WAIT {
            let asked = client::ask(&self.client, subject, "").await;
            if asked.is_ok() {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        bail!("nobody answers on {subject}");
    }

    /// Waits until a counting receiver answers: its first answer resets the count.
    pub(super) async fn answers_number(&self, subject: &str) -> anyhow::Result<()> {
        let begun = Instant::now();
        while client::ask(&self.client, subject, "?").await.is_err() {
            anyhow::ensure!(begun.elapsed() < ANSWER_WAIT, "nobody counts on {subject}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Ok(())
    }

    /// Ends the server and removes the folder. What was started must have been ended before.
    pub(super) async fn close(self) {
        self.server.stop().await;
        let _ = fs::remove_dir_all(&self.folder);
    }
}

async fn connect(connection: &ServerConnection) -> anyhow::Result<Client> {
    options(connection)
        .name("mistersmith-bench")
        .connect(&connection.url)
        .await
        .context("cannot connect to the nats-server of the benchmark")
}

/// The native handler in a process of its own. It ends when its orders end.
pub(super) struct NativeProcess {
    pid: u32,
    _child: Child,
    _orders: ChildStdin,
}

impl NativeProcess {
    /// CPU time since its start.
    pub(super) fn cpu(&self) -> anyhow::Result<Duration> {
        process::cpu(self.pid)
    }
}
