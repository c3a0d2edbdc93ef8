//! The confinement of the process that compiles, in force before it reads the component.
//!
//! The limits are hard limits, and the capability to raise them is dropped with them.

use std::io;
use std::time::Duration;

use rustix::process::{
    Resource, Rlimit, getpriority_process, getrlimit, setpriority_process, setrlimit,
};

use mistersmith_core::limits::NICE;

/// Limits the CPU time and the memory of this process and its threads, lowers its priority, and
/// drops capabilities, core dumps and the right to write files.
///
/// # Errors
/// The system refuses. Then nothing should be compiled.
pub(super) fn bound(cpu: Duration, memory: u64) -> io::Result<()> {
    // A process without privileges cannot make itself more urgent again.
    let now = getpriority_process(None).unwrap_or_default();
    let _ = setpriority_process(None, now + i32::from(NICE));
    yield_memory();
    let seconds = cpu.as_secs().max(1);
    // The first limit is a signal of its own, by which the host knows what happened.
    limit(Resource::Cpu, seconds, seconds.saturating_add(1))?;
    limit(Resource::Core, 0, 0)?;
    limit(Resource::Fsize, 0, 0)?;
    // Elsewhere it counts other things, or is refused.
    if cfg!(target_os = "linux") {
        limit(Resource::Data, memory, memory)?;
    }
    give_up_rights()
}

/// Forbids to open files and sockets and to start processes. Called when all that is needed is open
/// and started.
///
/// # Errors
/// The system refuses.
pub(super) fn close_doors() -> io::Result<()> {
    limit(Resource::Nofile, 0, 0)?;
    limit(Resource::Nproc, 0, 0)
}

fn limit(resource: Resource, soft: u64, hard: u64) -> io::Result<()> {
    let now = getrlimit(resource).maximum.unwrap_or(u64::MAX);
    let new = Rlimit {
        current: Some(soft.min(now)),
        maximum: Some(hard.min(now)),
    };
    Ok(setrlimit(resource, new)?)
}

/// Makes the system end this process before the host when memory is short.
fn yield_memory() {
    // Not there elsewhere, and in some containers not writable: then the limit alone counts.
    let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
}

/// Without these even the superuser cannot raise a hard limit.
#[cfg(target_os = "linux")]
fn give_up_rights() -> io::Result<()> {
    use rustix::thread::{
        CapabilitySet, CapabilitySets, set_capabilities, set_name, set_no_new_privs,
    };
    // The name of the program file is no name when it was started as `/proc/self/exe`.
    let _ = set_name(c"mistersmith");
    set_no_new_privs(true)?;
    let none = CapabilitySet::empty();
    let sets = CapabilitySets {
        effective: none,
        permitted: none,
        inheritable: none,
    };
    Ok(set_capabilities(None, sets)?)
}

/// Elsewhere there are no such rights.
#[cfg(not(target_os = "linux"))]
fn give_up_rights() -> io::Result<()> {
    Ok(())
}
