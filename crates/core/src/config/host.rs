//! `mistersmith.toml` and the environment: one [`HostSpec`].

use std::path::{Path, PathBuf};

use super::document::Document;
use super::environment::HostEnv;
use super::item::Item;
use super::section::Section;
use super::{
    Finding, Findings, HostSpec, JetstreamSpec, LOCK_FILE, NatsSpec, PolicySpec, ceilings, files,
    jetstream, nats,
};
use crate::limits::{AGENTS, GRACE, HEARTBEAT, MAX_LABEL, METRICS};

/// The file that is read when none is named, if it is there.
const DEFAULT_FILE: &str = "mistersmith.toml";

/// Reads the configuration of the host: the file at `path`, or `mistersmith.toml` in the current
/// folder if there is one, and the environment over it. Relative paths begin at the file's folder.
///
/// Fails with every mistake at once. The plugins and the data folder need not exist.
pub fn load_host(path: Option<&Path>, env: &HostEnv) -> Result<HostSpec, Findings> {
    let mut findings = Findings::default();
    let mut spec = default_spec(Path::new(""));
    let file = path.unwrap_or(Path::new(DEFAULT_FILE));
    if path.is_some() || file.exists() {
        let read =
            Document::read(file, None).and_then(|document| document.walk(|root| host(&root, file)));
        match read {
            Ok(read) => spec = read,
            Err(found) => findings.extend(found),
        }
    }
    spec.compiler.clone_from(&env.compiler);
    findings.extend(nats::apply_environment(&mut spec.nats, env));
    if findings.is_empty() {
        findings.extend(nats::plaintext(&spec.nats).map(|problem| {
            Finding {
                file: file.to_owned(),
                line: 0,
                key: "nats.servers".to_owned(),
                problem,
                fix: "write tls:// before it, or set plaintext = true in [nats] if the network is \
                  safe"
                    .to_owned(),
            }
        }));
    }
    if findings.is_empty() && spec.nats.servers.is_empty() && spec.jetstream.domain.is_some() {
        findings.push(Finding {
            file: file.to_owned(),
            line: 0,
            key: "jetstream.domain".to_owned(),
            problem: "a domain is chosen among servers, and none is named: the host starts its own"
                .to_owned(),
            fix: "name the servers in [nats] or in NATS_URL, or delete the domain".to_owned(),
        });
    }
    if findings.is_empty() {
        Ok(spec)
    } else {
        Err(findings)
    }
}

fn default_spec(base: &Path) -> HostSpec {
    HostSpec {
        name: None,
        compiler: PathBuf::new(),
        plugins: base.join("plugins"),
        data: base.join(".mistersmith"),
        lock: base.join(LOCK_FILE),
        agents: AGENTS.default,
        heartbeat: HEARTBEAT.default,
        metrics: METRICS.default,
        grace: GRACE.default,
        nats: NatsSpec::default(),
        jetstream: JetstreamSpec::default(),
        policy: PolicySpec::default(),
    }
}

fn host(root: &Section<'_>, file: &Path) -> Option<HostSpec> {
    let base = file.parent().unwrap_or(Path::new(""));
    let mut spec = default_spec(base);
    if let Some(section) = root.section("host") {
        own(&section, base, &mut spec);
    }
    if let Some(section) = root.section("nats") {
        spec.nats = nats::read(&section, base);
    }
    if let Some(section) = root.section("jetstream") {
        spec.jetstream = jetstream::read(&section, spec.heartbeat);
    }
    if let Some(section) = root.section("policy") {
        spec.policy = ceilings::read(&section);
    }
    root.close();
    Some(spec)
}

/// Reads `[host]`. What is wrong is noted, and then the whole file counts for nothing.
fn own(section: &Section<'_>, base: &Path, spec: &mut HostSpec) {
    spec.name = section.get("name").and_then(|item| name(&item));
    let folder = |key, example| {
        section
            .get(key)
            .and_then(|item| files::folder(&item, base, example))
    };
    if let Some(plugins) = folder("plugins", "\"plugins\"") {
        spec.plugins = plugins;
    }
    if let Some(data) = folder("data", "\".mistersmith\"") {
        spec.data = data;
    }
    if let Some(agents) = section.get("agents").and_then(|item| item.integer(AGENTS)) {
        spec.agents = agents;
    }
    if let Some(heartbeat) = section
        .get("heartbeat")
        .and_then(|item| item.duration(HEARTBEAT))
    {
        spec.heartbeat = heartbeat;
    }
    if let Some(metrics) = section
        .get("metrics")
        .and_then(|item| item.duration(METRICS))
    {
        spec.metrics = metrics;
    }
    if let Some(grace) = section.get("grace").and_then(|item| item.duration(GRACE)) {
        spec.grace = grace;
    }
    section.close();
}

/// The name becomes a part of the names of connections.
fn name(item: &Item<'_>) -> Option<String> {
    let text = item.text("\"kitchen\"")?;
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if text.is_empty() || text.len() > MAX_LABEL || !text.bytes().all(allowed) {
        let fix = format!("write 1 to {MAX_LABEL} of a-z, A-Z, 0-9, \"-\", \"_\" and \".\"");
        item.note(format!("{} is not a name of a host", item.shown()), fix);
        return None;
    }
    Some(text.to_owned())
}
