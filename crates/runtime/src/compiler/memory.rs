//! The memory for compiling: half of that of the machine, or of the container.

use std::path::Path;

use mistersmith_core::files;
use mistersmith_core::limits::{
    COMPILE_BASE, COMPILE_MEMORY, COMPILE_PARALLEL, COMPILE_PER_BYTE, MAX_SMALL_FILE,
};

/// The least memory for an attempt, in bytes: a small component takes half of it.
const LEAST: u64 = 128 << 20;

/// Memory for all that is compiled at the same time, in bytes.
pub(super) fn budget() -> u64 {
    let machine = files::read_text(Path::new("/proc/meminfo"), MAX_SMALL_FILE).ok();
    let machine = machine.as_deref().and_then(total);
    share(machine, container())
}

/// Memory for one component of this size, in bytes, when all together have so much.
pub(super) fn of(size: u64, budget: u64) -> u64 {
    let wanted = COMPILE_BASE.saturating_add(size.saturating_mul(COMPILE_PER_BYTE));
    wanted.min(COMPILE_MEMORY).min(budget)
}

/// Half of the smaller one; what is not known does not count.
fn share(machine: Option<u64>, container: Option<u64>) -> u64 {
    let most = COMPILE_MEMORY.saturating_mul(COMPILE_PARALLEL as u64);
    let known = machine.into_iter().chain(container).min();
    known.map_or(most, |bytes| (bytes / 2).clamp(LEAST, most))
}

/// `MemTotal` of `/proc/meminfo`, in bytes.
fn total(text: &str) -> Option<u64> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// The least limit on memory of the control groups that this process is in, in bytes.
fn container() -> Option<u64> {
    let groups = files::read_text(Path::new("/proc/self/cgroup"), MAX_SMALL_FILE).ok()?;
    limit(Path::new("/sys/fs/cgroup"), &groups)
}

/// The same, for a system whose groups are in this folder; `groups` says which this process is in.
fn limit(root: &Path, groups: &str) -> Option<u64> {
    let read = |path: &Path| -> Option<u64> {
        let text = files::read_text(path, MAX_SMALL_FILE).ok()?;
        // `max` is no limit; the older system writes a huge number.
        text.trim().parse().ok()
    };
    let limits = groups.lines().flat_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(kind), Some(path)) = (parts.next(), parts.next()) else {
            return Vec::new();
        };
        let (base, file) = match kind {
            "" => (root.to_owned(), "memory.max"),
            "memory" => (root.join("memory"), "memory.limit_in_bytes"),
            _ => return Vec::new(),
        };
        // In a container the path may be that of the machine, so that only the root is there.
        let path = Path::new(path.trim_start_matches('/'));
        let folders = path.ancestors().map(|folder| base.join(folder));
        folders.map(|folder| folder.join(file)).collect()
    });
    limits.filter_map(|path| read(&path)).min()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const GIB: u64 = 1 << 30;

    #[test]
    fn all_together_have_half_of_what_there_is() {
        assert_eq!(share(Some(8 * GIB), None), 4 * GIB);
        assert_eq!(share(Some(8 * GIB), Some(GIB)), GIB / 2);
        assert_eq!(share(None, Some(1 << 20)), LEAST);
        assert_eq!(share(None, None), 32 * GIB);
        assert_eq!(share(Some(1 << 50), None), 32 * GIB);
    }

    #[test]
    fn one_has_what_its_size_asks_for_and_no_more_than_there_is() {
        let base = COMPILE_BASE;
        assert_eq!(of(0, 32 * GIB), base);
        assert_eq!(of(1 << 20, 32 * GIB), base + (COMPILE_PER_BYTE << 20));
        assert_eq!(of(u64::MAX, 32 * GIB), COMPILE_MEMORY);
        assert_eq!(of(0, LEAST), LEAST);
    }

    #[test]
    fn the_memory_of_the_machine_is_read() {
        let text = "MemTotal:       24622600 kB\nMemFree:        22000000 kB\n";
        assert_eq!(total(text), Some(24_622_600 * 1024));
        assert_eq!(total("MemFree: 1 kB\n"), None);
        assert!(budget() >= LEAST);
    }

    #[test]
    fn the_limits_of_control_groups_are_found_from_the_inside_out() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let write = |path: &str, text: &str| {
            let path = root.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        assert_eq!(limit(root, "0::/a/b\n"), None);
        write("a/b/memory.max", "max\n");
        write("a/memory.max", "4096\n");
        write("memory.max", "8192\n");
        assert_eq!(limit(root, "0::/a/b\n"), Some(4096));
        assert_eq!(limit(root, "0::/elsewhere\n"), Some(8192), "a container");
        assert_eq!(limit(root, "4:cpu:/a\n"), None);
        write("memory/x/memory.limit_in_bytes", "2048\n");
        assert_eq!(limit(root, "7:memory:/x\n0::/a\n"), Some(2048));
        assert_eq!(limit(root, "no groups"), None);
    }
}
