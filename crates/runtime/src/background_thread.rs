//! A background thread of low priority for one poll of a call that computes long.
//!
//! It exists for one piece of work and never serves messages: without privileges a thread cannot
//! raise its priority again.

use std::panic::resume_unwind;
use std::thread;
use std::time::Duration;

use tokio::runtime::Handle;

use mistersmith_core::limits::NICE;

/// Runs work of the current task on a thread of lower priority than those that serve messages, and
/// waits for it. The thread ends with the work.
///
/// Threads that are started from here inherit the priority. So no host function may use
/// `spawn_blocking`: tokio would keep such a thread in its pool, and serve messages with it later.
pub(super) fn on_background_thread<T: Send>(mut work: impl FnMut() -> T + Send) -> T {
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

/// Lowers the priority of the calling thread.
#[cfg(target_os = "linux")]
fn give_way() {
    use rustix::process::{getpriority_process, setpriority_process};
    // Without an id this is the thread, not the process. The system clamps the value to its lowest
    // priority; where it refuses, the priority stays as it is.
    let now = getpriority_process(None).unwrap_or_default();
    let _ = setpriority_process(None, now + i32::from(NICE));
}

/// Elsewhere the priority is that of the whole process.
#[cfg(not(target_os = "linux"))]
fn give_way() {}

/// The CPU time of the calling thread; waits are not included.
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
        let (there, inside) =
            on_background_thread(|| (thread::current().id(), Handle::try_current().is_ok()));
        assert_ne!(here, there);
        assert!(inside);
        #[cfg(target_os = "linux")]
        {
            let nice = || rustix::process::getpriority_process(None).unwrap();
            assert_eq!(
                on_background_thread(nice),
                (nice() + i32::from(NICE)).min(19)
            );
        }
    }

    #[tokio::test]
    async fn a_panic_comes_back() {
        let panic =
            std::panic::catch_unwind(|| on_background_thread(|| -> u32 { panic!("there") }));
        assert_eq!(*panic.unwrap_err().downcast::<&str>().unwrap(), "there");
    }
}
