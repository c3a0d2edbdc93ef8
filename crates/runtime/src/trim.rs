//! Returns freed memory to the system after many agents have ended.
//!
//! The allocator keeps freed memory per thread until that thread allocates again, also when other
//! threads have freed it: <https://github.com/microsoft/mimalloc/issues/214>
//! So each serving thread returns its share when it is idle next; otherwise a host that had many
//! agents would keep their memory.

use std::cell::Cell;
use std::sync::atomic::{AtomicU32, Ordering};

use super::audited;

/// The number of requests to return memory.
static ROUND: AtomicU32 = AtomicU32::new(0);

thread_local! {
    /// The last request that this thread has served.
    static DONE: Cell<u32> = const { Cell::new(0) };
}

/// Makes every serving thread return memory when it is idle next.
pub fn trim() {
    ROUND.fetch_add(1, Ordering::Relaxed);
}

/// Called by a thread that is about to wait for work.
pub fn trim_when_idle() {
    let round = ROUND.load(Ordering::Relaxed);
    if DONE.replace(round) != round {
        audited::give_memory_back();
    }
}
