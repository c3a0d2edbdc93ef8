//! Bringing one version of a plugin to life, beside everything else that the host does.

use std::sync::Arc;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::config::PluginSpec;

use super::Shared;
use super::loading::{self, Problem};
use super::unit::Unit;

/// A plugin that is being loaded or replaced.
pub(super) struct Job {
    stop: CancellationToken,
    task: JoinHandle<Done>,
}

/// What came of a job.
pub(super) struct Done {
    /// What runs now: also after a failure, if something ran before.
    pub(super) unit: Option<Unit>,
    /// What was done, `loaded` or `replaced`, or why not.
    pub(super) result: Result<&'static str, Problem>,
}

impl Job {
    /// Starts the version of this manifest, in place of what runs.
    pub(super) fn start(shared: Arc<Shared>, spec: Arc<PluginSpec>, unit: Option<Unit>) -> Self {
        let stop = CancellationToken::new();
        let task = tokio::spawn(work(shared, spec, unit, stop.clone()));
        Self { stop, task }
    }

    pub(super) fn is_finished(&self) -> bool {
        self.task.is_finished()
    }

    /// Waits for its end; cancel safe. To be asked no more when it has answered.
    pub(super) async fn finish(&mut self) -> Done {
        (&mut self.task).await.unwrap_or_else(|error| Done {
            unit: None,
            result: Err(Problem::Passing(format!(
                "the host made a mistake: {error}"
            ))),
        })
    }

    /// Leaves it where it is, so that what runs can be ended.
    pub(super) async fn interrupt(mut self) -> Done {
        self.stop.cancel();
        self.finish().await
    }
}

async fn work(
    shared: Arc<Shared>,
    spec: Arc<PluginSpec>,
    mut unit: Option<Unit>,
    stop: CancellationToken,
) -> Done {
    let result = tokio::select! {
        result = bring_up(&shared, spec, &mut unit) => result,
        () = stop.cancelled() => Err(Problem::Passing("interrupted".to_owned())),
    };
    Done { unit, result }
}

async fn bring_up(
    shared: &Arc<Shared>,
    spec: Arc<PluginSpec>,
    unit: &mut Option<Unit>,
) -> Result<&'static str, Problem> {
    let version = loading::load(shared, spec).await?;
    if let Some(unit) = unit {
        unit.replace(version).await?;
        return Ok("replaced");
    }
    let fresh = unit.insert(Unit::new(shared.clone(), version));
    match fresh.start().await {
        Ok(()) => Ok("loaded"),
        Err(error) => {
            // What was started of it ends with it.
            *unit = None;
            Err(error.into())
        }
    }
}
