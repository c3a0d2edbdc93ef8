//! Ends the process when one input takes too long: a check that never returns cannot be
//! interrupted, and a test that hangs says nothing.

use std::io::Write as _;
use std::path::Path;
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use super::keep;

/// How long the check of one input may take. Far more than any needs on a busy machine.
pub(super) const LIMIT: Duration = Duration::from_secs(30);

type Running = Mutex<Option<(Instant, Vec<u8>)>>;

/// Watches the check of one target.
pub(super) struct Watchdog(Arc<Running>);

impl Watchdog {
    pub(super) fn start(folder: &Path) -> Self {
        let running = Arc::new(Mutex::new(None));
        let (seen, folder) = (Arc::downgrade(&running), folder.to_owned());
        std::thread::spawn(move || watch(&seen, &folder));
        Self(running)
    }

    /// Runs the check of this input.
    pub(super) fn guard(&self, input: &[u8], check: impl FnOnce()) {
        struct Done<'a>(&'a Running);
        impl Drop for Done<'_> {
            fn drop(&mut self) {
                *self.0.lock().unwrap() = None;
            }
        }
        *self.0.lock().unwrap() = Some((Instant::now(), input.to_vec()));
        let _done = Done(&self.0);
        check();
    }
}

/// Until the watchdog is gone.
fn watch(running: &Weak<Running>, folder: &Path) {
    while let Some(running) = running.upgrade() {
        let late = running.lock().unwrap().clone();
        if let Some((since, input)) = late
            && since.elapsed() > LIMIT
        {
            let file = keep(folder, "slow", &input);
            let file = file.display();
            let _ = writeln!(
                std::io::stderr(),
                "an input takes more than {LIMIT:?}: {file}"
            );
            std::process::abort();
        }
        drop(running);
        std::thread::sleep(Duration::from_millis(200));
    }
}
