//! The epoch clock of the engine: at each tick guests yield and their CPU budgets are checked.
//!
//! It stops while no call runs, so that an idle host does not wake the processor. The first call
//! after a pause starts it again: without that, a guest that computes would never be interrupted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::thread::{self, JoinHandle, Thread};

use wasmtime::{Engine, EngineWeak};

use mistersmith_core::limits::EPOCH_TICK;

/// The clock stops after so many ticks without a call.
const QUIET: u32 = 50;

/// No call for a while; the clock is stopped.
const STILL: u8 = 0;
/// No call since the last tick.
const IDLE: u8 = 1;
/// Calls run.
const BUSY: u8 = 2;

/// Signals the clock that a call runs. Cheap enough for each call.
#[derive(Debug, Clone)]
pub(super) struct EpochSignal {
    state: Arc<AtomicU8>,
    clock: Option<Thread>,
}

impl EpochSignal {
    /// A call begins, or goes on computing.
    pub(super) fn notify(&self) {
        if self.state.load(Ordering::Relaxed) == BUSY {
            return;
        }
        if self.state.swap(BUSY, Ordering::AcqRel) == STILL
            && let Some(clock) = &self.clock
        {
            clock.unpark();
        }
    }

    /// Of a clock that nobody has started; for what is measured without an engine.
    #[cfg(test)]
    pub(super) fn alone() -> Self {
        Self {
            state: Arc::new(AtomicU8::new(BUSY)),
            clock: None,
        }
    }
}

/// Advances the epoch of an engine. Ends when it is dropped, or with the engine.
pub(super) struct Ticker {
    signal: EpochSignal,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    pub(super) fn start(engine: &Engine) -> std::io::Result<Self> {
        let engine = engine.weak();
        let stop = Arc::new(AtomicBool::new(false));
        let state = Arc::new(AtomicU8::new(BUSY));
        let (stopped, seen) = (Arc::clone(&stop), Arc::clone(&state));
        let thread = thread::Builder::new()
            .name("epochs".to_owned())
            .spawn(move || tick(&engine, &stopped, &seen))?;
        let clock = Some(thread.thread().clone());
        Ok(Self {
            signal: EpochSignal { state, clock },
            stop,
            thread: Some(thread),
        })
    }

    pub(super) fn signal(&self) -> &EpochSignal {
        &self.signal
    }
}

fn tick(engine: &EngineWeak, stop: &AtomicBool, state: &AtomicU8) {
    let mut quiet = 0;
    while !stop.load(Ordering::Acquire) {
        if quiet < QUIET {
            thread::park_timeout(EPOCH_TICK);
        } else if swap(state, IDLE, STILL) {
            // A signal between the two has changed the state, and its waking is kept for us.
            while state.load(Ordering::Acquire) == STILL && !stop.load(Ordering::Acquire) {
                thread::park();
            }
        }
        if advance(engine).is_none() {
            return;
        }
        quiet = if swap(state, BUSY, IDLE) {
            0
        } else {
            quiet + 1
        };
    }
}

fn swap(state: &AtomicU8, from: u8, to: u8) -> bool {
    state
        .compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire)
        .is_ok()
}

fn advance(engine: &EngineWeak) -> Option<()> {
    engine.upgrade()?.increment_epoch();
    Some(())
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // It only sleeps and counts; it cannot fail.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::{Duration, Instant};

    use super::*;

    /// Waits for a condition, and fails when it does not come.
    fn wait_for(what: &str, condition: impl Fn() -> bool) {
        let begun = Instant::now();
        while !condition() {
            assert!(begun.elapsed() < Duration::from_secs(20), "{what}");
            thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn it_stands_still_while_no_call_runs() {
        let engine = Engine::default();
        let ticker = Ticker::start(&engine).unwrap();
        let signal = ticker.signal().clone();
        for _ in 0..3 {
            wait_for("it stands still", || {
                signal.state.load(Ordering::Acquire) == STILL
            });
            signal.notify();
            wait_for("it goes on", || {
                signal.state.load(Ordering::Acquire) == IDLE
            });
        }
    }

    #[test]
    fn it_ends_when_it_is_dropped_while_it_stands_still() {
        let engine = Engine::default();
        let ticker = Ticker::start(&engine).unwrap();
        let signal = ticker.signal().clone();
        wait_for("it stands still", || {
            signal.state.load(Ordering::Acquire) == STILL
        });
        drop(ticker);
    }

    #[test]
    fn it_ends_with_the_engine() {
        let engine = Engine::default();
        let mut ticker = Ticker::start(&engine).unwrap();
        let weak = engine.weak();
        drop(engine);
        ticker.signal().notify();
        let thread = ticker.thread.take().unwrap();
        thread.join().unwrap();
        assert!(weak.upgrade().is_none());
    }
}
