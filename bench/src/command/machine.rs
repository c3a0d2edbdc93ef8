//! The machine and the programs of a measurement.

use std::fs;
use std::path::Path;

use serde::Serialize;

use crate::Settings;
use mistersmith_core::files::read_text;
use mistersmith_core::limits::MAX_SMALL_FILE;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// The circumstances of a measurement.
#[derive(Debug, Serialize)]
pub(super) struct Machine {
    at: String,
    mistersmith: &'static str,
    profile: &'static str,
    nats_server: String,
    processor: String,
    processors: usize,
    memory_mib: u64,
    system: String,
    /// The load average of the minute before.
    load: String,
    program_bytes: u64,
    component_bytes: u64,
}

/// Inspects this machine.
pub(super) fn inspect(settings: &Settings, nats_server: String) -> anyhow::Result<Machine> {
    let read = |path| read_text(Path::new(path), MAX_SMALL_FILE).unwrap_or_default();
    let processor = value(&read("/proc/cpuinfo"), "model name");
    let memory = value(&read("/proc/meminfo"), "MemTotal");
    let memory = memory.trim_end_matches("kB").trim().parse::<u64>();
    let load = read("/proc/loadavg");
    Ok(Machine {
        at: OffsetDateTime::now_utc().format(&Rfc3339)?,
        mistersmith: env!("CARGO_PKG_VERSION"),
        profile: if cfg!(debug_assertions) {
            "debug"
        } else {
            "release"
        },
        nats_server,
        processor,
        processors: std::thread::available_parallelism()?.get(),
        memory_mib: memory.unwrap_or_default() / 1024,
        system: format!("Linux {}", read("/proc/sys/kernel/osrelease").trim()),
        load: load.split(' ').next().unwrap_or_default().to_owned(),
        program_bytes: fs::metadata(&settings.host)?.len(),
        component_bytes: fs::metadata(&settings.component)?.len(),
    })
}

impl Machine {
    /// On one line.
    pub(super) fn summary(&self) -> String {
        format!(
            "mistersmith {} ({} build, {:.1} MiB), nats-server {}, {} × {}, {} MiB, {}, load \
             before {}, {}",
            self.mistersmith,
            self.profile,
            self.program_bytes as f64 / 1024.0 / 1024.0,
            self.nats_server,
            self.processors,
            self.processor,
            self.memory_mib,
            self.system,
            self.load,
            self.at
        )
    }
}

/// The value of the first line `key : value`.
fn value(text: &str, key: &str) -> String {
    let lines = text.lines().filter_map(|line| line.split_once(':'));
    let mut found = lines.filter(|(name, _)| name.trim() == key);
    found.next().map_or_else(
        || "unknown".to_owned(),
        |(_, value)| value.trim().to_owned(),
    )
}
