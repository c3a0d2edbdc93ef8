//! CPU time and memory of a process, from `/proc`.

use std::fs;
use std::time::Duration;

use anyhow::{Context, anyhow};

/// Clock ticks of `/proc/<pid>/stat` in a second: the same on every Linux of the last twenty years.
const TICKS: u64 = 100;

/// CPU time of a process since its start, its ended threads included; exact to 10 ms.
pub(super) fn cpu(pid: u32) -> anyhow::Result<Duration> {
    let stat = read(pid, "stat")?;
    // Behind the name, which is in parentheses and may hold anything: state is field 3.
    let fields = stat.rsplit_once(')').map(|(_, rest)| rest);
    let mut fields = fields.unwrap_or_default().split_whitespace().skip(11);
    let mut ticks = || fields.next().and_then(|field| field.parse::<u64>().ok());
    let (Some(user), Some(system)) = (ticks(), ticks()) else {
        return Err(anyhow!("/proc/{pid}/stat is not understood: {stat}"));
    };
    Ok(Duration::from_millis((user + system) * 1000 / TICKS))
}

/// Bytes of a process that are in memory.
pub(super) fn resident(pid: u32) -> anyhow::Result<u64> {
    let status = read(pid, "status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| {
        line.trim()
            .trim_end_matches("kB")
            .trim()
            .parse::<u64>()
            .ok()
    });
    kib.map(|kib| kib * 1024)
        .ok_or_else(|| anyhow!("/proc/{pid}/status does not tell the resident memory"))
}

fn read(pid: u32, file: &str) -> anyhow::Result<String> {
    let path = format!("/proc/{pid}/{file}");
    fs::read_to_string(&path).with_context(|| format!("cannot read {path}: the process has ended"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_process_has_used_something() {
        let own = std::process::id();
        let mut sum = 0_u64;
        while cpu(own).unwrap() < Duration::from_millis(20) {
            sum = std::hint::black_box(sum + 1);
        }
        assert!(resident(own).unwrap() > 1 << 20);
        assert!(cpu(u32::MAX).is_err());
    }
}
