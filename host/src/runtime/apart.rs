//! A thread of its own for a call that computes long, which the system lets wait for others.

use std::panic::resume_unwind;
use std::thread;
use std::time::Duration;

use tokio::runtime::Handle;

use crate::limits::NICE;

/// Runs work of the current task on a thread that is less urgent than those that serve messages, and waits
/// for it. The thread ends with the work: a process without privileges cannot make it more urgent again.
///
/// Threads that are started from here are as little urgent. So no host function may have the runtime block
/// a thread of its pool: that would stay, and serve messages later.
pub(super) fn apart<T: Send>(mut work: impl FnMut() -> T + Send) -> T {
    let runtime = Handle::current();
    let done = thread::scope(|scope| {
        let thread = thread::Builder::new().name("aside".to_owned());
        let thread = thread.spawn_scoped(scope, || {
            give_way();
            let _inside = runtime.enter();
            work()
        });
        thread.ok().map(thread::ScopedJoinHandle::join)
    });
    match done {
        Some(Ok(result)) => result,
        Some(Err(panic)) => resume_unwind(panic),
        // The system has no thread left.
        None => work(),
    }
}

/// Makes the calling thread less urgent.
#[cfg(target_os = "linux")]
fn give_way() {
    use rustix::process::{getpriority_process, setpriority_process};
    // Without a number it is the thread, not the process. The system cuts what is beyond its least priority,
    // and where it refuses all stay as urgent.
    let now = getpriority_process(None).unwrap_or_default();
    let _ = setpriority_process(None, now + i32::from(NICE));
}

/// Elsewhere the priority is that of the whole process.
#[cfg(not(target_os = "linux"))]
fn give_way() {}

/// How long the calling thread has computed. What it waited for others is not in it.
pub(super) fn computed() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    #[tokio::test]
    async fn work_runs_on_a_thread_that_gives_way_and_inside_of_the_runtime() {
        let here = thread::current().id();
        let (there, inside) = apart(|| (thread::current().id(), Handle::try_current().is_ok()));
        assert_ne!(here, there);
        assert!(inside);
        #[cfg(target_os = "linux")]
        {
            let nice = || rustix::process::getpriority_process(None).unwrap();
            assert_eq!(apart(nice), (nice() + i32::from(NICE)).min(19));
        }
    }

    #[tokio::test]
    async fn a_panic_comes_back() {
        let panic = std::panic::catch_unwind(|| apart(|| -> u32 { panic!("there") }));
        assert_eq!(*panic.unwrap_err().downcast::<&str>().unwrap(), "there");
    }
}
