//! The task that loads, replaces or repairs one plugin.
//!
//! Each plugin has a task of its own, so that a slow compilation or busy agents hold up no other
//! plugin.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::loading::{Compiling, Problem};
use super::manager_port::{Change, PluginPort, Running, Wanted};

/// A plugin that is being loaded or replaced.
pub(super) struct LoadTask<U> {
    stop: CancellationToken,
    task: JoinHandle<Done<U>>,
    /// True while its component takes long to compile.
    late: watch::Receiver<bool>,
}

/// The input of a load task.
pub(super) struct Order<U> {
    /// The revision to load.
    pub(super) wanted: Wanted,
    /// The running plugin to replace.
    pub(super) unit: Option<U>,
    /// How often compiling its component has failed.
    pub(super) tries: u32,
}

/// The outcome of a load task.
pub(super) struct Done<U> {
    /// The plugin that runs now; after a failure, the one that ran before.
    pub(super) unit: Option<U>,
    /// The action taken, `loaded` or `replaced`, or the problem.
    pub(super) result: Result<Change, Problem>,
}

impl<U: Running> LoadTask<U> {
    /// Starts the revision of this manifest.
    pub(super) fn start<P: PluginPort<Running = U>>(port: Arc<P>, order: Order<U>) -> Self {
        let (stop, late) = (CancellationToken::new(), watch::Sender::new(false));
        let is_late = late.subscribe();
        let tries = order.tries;
        let compiling = Compiling { tries, late };
        let task = tokio::spawn(work(port, order, compiling, stop.clone()));
        Self {
            stop,
            task,
            late: is_late,
        }
    }

    /// Restarts the parts of a running plugin that exited unexpectedly.
    pub(super) fn mend(mut unit: U) -> Self {
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            let result = tokio::select! {
                result = unit.mend() => result.map(|()| Change::Mended),
                () = stopped.cancelled() => Err(interrupted()),
            };
            let unit = Some(unit);
            Done { unit, result }
        });
        Self {
            stop,
            task,
            late: watch::channel(false).1,
        }
    }

    pub(super) fn is_finished(&self) -> bool {
        self.task.is_finished()
    }

    /// Whether its component takes long to compile.
    pub(super) fn is_late(&self) -> bool {
        *self.late.borrow()
    }

    /// Waits for its end; returns `None` if its component takes long to compile.
    pub(super) async fn finish_soon(&mut self) -> Option<Done<U>> {
        let mut late = self.late.clone();
        tokio::select! {
            biased;
            done = self.finish() => Some(done),
            Ok(_) = late.wait_for(|late| *late) => None,
        }
    }

    /// Waits for its end; cancel safe. Must not be called again after it has returned.
    pub(super) async fn finish(&mut self) -> Done<U> {
        (&mut self.task).await.unwrap_or_else(|error| Done {
            unit: None,
            result: Err(Problem::Passing(format!(
                "internal error: the load task of this plugin panicked: {error}; it is tried again; \
                 please report this with the log"
            ))),
        })
    }

    /// Stops the task at its current step, so that the running plugin can be ended.
    pub(super) async fn interrupt(mut self) -> Done<U> {
        self.stop.cancel();
        self.finish().await
    }
}

async fn work<P: PluginPort>(
    port: Arc<P>,
    order: Order<P::Running>,
    compiling: Compiling,
    stop: CancellationToken,
) -> Done<P::Running> {
    let Order {
        wanted, mut unit, ..
    } = order;
    let result = tokio::select! {
        result = port.bring_up(wanted, &mut unit, &compiling) => result,
        () = stop.cancelled() => Err(interrupted()),
    };
    Done { unit, result }
}

fn interrupted() -> Problem {
    Problem::Passing("interrupted".to_owned())
}
